"""The public names: what `poolwise.__all__` promises, importing keeps."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files
from importlib.util import find_spec
from types import FunctionType, ModuleType

import pytest

import poolwise


def test_the_main_names_are_public() -> None:
    assert {"map", "Executor", "Plan", "advise", "last_run"} <= set(poolwise.__all__)
    assert len(set(poolwise.__all__)) == len(poolwise.__all__)


def test_every_public_name_can_be_had() -> None:
    assert not [name for name in poolwise.__all__ if not hasattr(poolwise, name)]
    assert set(poolwise.__all__) <= set(dir(poolwise))


def test_a_star_import_brings_every_public_name() -> None:
    namespace: dict[str, object] = {}
    exec("from poolwise import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(poolwise.__all__)


def test_no_public_name_is_hidden_by_a_module_of_that_name() -> None:
    # Importing `poolwise.x` sets the attribute `x` of `poolwise`, in front of a lazy name `x`.
    modules = [name for name in poolwise.__all__ if find_spec(f"poolwise.{name}") is not None]
    assert not [name for name in modules if not isinstance(getattr(poolwise, name), ModuleType)]


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match=r"poolwise.*no_such_name"):
        _ = poolwise.no_such_name
    with pytest.raises(ImportError, match="no_such_name"):
        exec("from poolwise import no_such_name")


def test_importing_poolwise_loads_no_room_until_a_name_is_used() -> None:
    program = """
import sys, poolwise
rooms = [name for name in sys.modules if name.startswith(("poolwise.", "_poolwise_worker"))]
assert not rooms, rooms
poolwise.Plan
assert any(name.startswith("poolwise.") for name in sys.modules)
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def _undocumented(name: str, thing: object) -> Iterator[str]:
    """The name of `thing` and of each public method of it that has no text of its own."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return  # a module, a constant: what its type says is no text about it
    # `dataclass` writes "Name(field, ...)" where there is no text.
    if not thing.__doc__ or thing.__doc__.startswith(f"{thing.__name__}("):
        yield name
    if inspect.isclass(thing):
        for attribute in dir(thing):
            if not attribute.startswith("_") and _is_ours(thing, attribute):
                member = inspect.getattr_static(thing, attribute)
                if not inspect.getdoc(getattr(member, "__func__", member)):
                    yield f"{name}.{attribute}"


def _is_ours(cls: type, attribute: str) -> bool:
    """Whether `attribute` is a method or property that a class of this project defines."""
    owner = next(base for base in cls.__mro__ if attribute in vars(base))
    kinds = (FunctionType, classmethod, staticmethod, property, cached_property)
    return owner.__module__.startswith("poolwise") and isinstance(vars(owner)[attribute], kinds)


def test_every_public_name_and_method_says_what_it_is_for() -> None:
    assert not [
        missing
        for name in poolwise.__all__
        for missing in _undocumented(f"poolwise.{name}", getattr(poolwise, name))
    ]


def test_a_missing_docstring_is_seen() -> None:
    class Bare:
        def method(self) -> None: ...

        @property
        def value(self) -> int: ...

        @classmethod
        def make(cls) -> None: ...

        def told(self) -> None:
            """Text."""

    Bare.__module__ = "poolwise.example"
    assert list(_undocumented("Bare", Bare)) == ["Bare", "Bare.make", "Bare.method", "Bare.value"]


def test_the_installed_package_is_typed() -> None:
    assert files("poolwise").joinpath("py.typed").is_file()


def test_two_threads_may_begin_with_different_parts() -> None:
    program = """
import poolwise, sys, threading
barrier, wrong = threading.Barrier(4), []

def begin(name):
    barrier.wait()
    try:
        getattr(poolwise, name)
    except BaseException as error:
        wrong.append(error)

names = "map", "Executor", "advise", "Queue"
threads = [threading.Thread(target=begin, args=[name]) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit(repr(wrong) if wrong else 0)
"""
    for _ in range(10):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
