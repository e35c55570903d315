"""How a program gets at a function: by importing it, or by writing it out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from _poolwise_worker.seeded import Seeded
from poolwise.explain.importing import CannotWrite, Reference, by_import, is_name
from poolwise.explain.literals import literal
from poolwise.explain.source import written_out


def reference(function: Callable[..., object]) -> Reference:
    """Return the best reference there is: an import, else source, else a stub that says so."""
    if isinstance(function, Seeded):
        return stub(function.func, "its random numbers are seeded for each call")
    try:
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
    lines = (
        f"# {_one_line(name)} cannot be imported: put it into a module, and import it here.",
        f"# It is not written out as {_one_line(reason)}.",
        f"def {bound}(*arguments):",
        f'    raise NotImplementedError("put {bound} into a module, and import it here")',
    )
    return Reference(bound, ("", *lines), frozenset({bound}))


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
    )
