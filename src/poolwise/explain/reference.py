"""How a program gets at a function: by importing it, or by writing it out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from _poolwise_worker.seeded import Seeded
from poolwise.explain.importing import CannotWrite, Reference, by_import, is_name
from poolwise.explain.literals import literal
from poolwise.explain.source import written_out
from poolwise.task import name_of


def reference(function: Callable[..., object]) -> Reference:
    """Return the best reference there is: an import, else source, else a stub that says so."""
    if isinstance(function, Seeded):
        return _seeded_stub(function)
    try:
        if _is_spread(function):
            return _spread(vars(function)["func"])
        if isinstance(function, functools.partial):
            return _partial(function)
        return by_import(function) or written_out(function)
    except CannotWrite as error:
        return stub(function, str(error))


def stub(function: Callable[..., object], reason: str) -> Reference:
    """Return a place to put the function, where it can be neither imported nor written out."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    own = getattr(function, "__name__", "function")
    bound = own if isinstance(own, str) and is_name(own) else "function"
    return _place(
        bound,
        f"put {bound} into a module, and import it here",
        f"{_one_line(name)} cannot be imported: put it into a module, and import it here.",
        f"It is not written out as {_one_line(reason)}.",
    )


def _place(bound: str, to_do: str, *told: str) -> Reference:
    """Return a function of that name which only says what is to be done, below what is told."""
    body = f'    raise NotImplementedError("{to_do}")'
    lines = ("", *(f"# {each}" for each in told), f"def {bound}(*arguments):", body)
    return Reference(bound, lines, frozenset({bound}))


def _seeded_stub(function: Seeded) -> Reference:
    """Return a place for a function with ``seed=``, whether it can be imported or not."""
    name = _one_line(name_of(function))
    bound = stub(function.func, "").call
    return _place(
        bound,
        f"seed random numbers in {bound}, and import it here",
        f"seed={function.seed} is not written out: poolwise seeds random numbers for each call.",
        f"Have {name} take them from a random.Random of its own, seeded by its input.",
    )


def _is_spread(function: object) -> bool:
    """Whether the command wraps it around a function, to pass names; it is to the right of here."""
    kind = type(function)
    return (kind.__module__, kind.__qualname__) == ("poolwise.cli.call", "Spread")


def _spread(function: Callable[..., object]) -> Reference:
    """Return how to call `function` with a dict of arguments."""
    inner = reference(function)
    name = "with_names"
    while name in inner.names:
        name += "_"
    lines = ("", "", f"def {name}(arguments):", f"    return {inner.call}(**arguments)")
    return Reference(name, (*inner.lines, *lines), inner.names | {name}, inner.future, inner.usual)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _partial(function: functools.partial[Any]) -> Reference:
    inner = reference(function.func)
    arguments = [literal(value) for value in function.args]
    arguments += [f"{name}={literal(value)}" for name, value in function.keywords.items()]
    if "partial" in inner.names or not all(map(is_name, function.keywords)):
        raise CannotWrite("the names of its arguments stand in the way")
    return Reference(
        f"partial({', '.join([inner.call, *arguments])})",
        ("from functools import partial", *inner.lines),
        inner.names | {"partial"},
        inner.future,
        inner.usual,
    )
