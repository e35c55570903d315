"""Functions that bring along what they use: a worker has that before it has the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from _poolwise_worker import script
from _poolwise_worker.apply import apply, applying
from _poolwise_worker.state import ModuleState, bring


class Brought:
    """A state. A worker that reads it brings its modules there, and has what a pickle calls with
    the function that it reads next.
    """

    __slots__ = ("_state",)

    def __init__(self, state: ModuleState) -> None:
        self._state = state

    def __reduce__(self) -> tuple[object, ModuleState]:
        return bring, self._state

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: that there is something to call is what `pickle` asks for."""
        return function


class Carried:
    """In the place of a function. A worker reads the state first: by then the function is there,
    also one that a module has only had since it was reloaded.
    """

    __slots__ = ("_brought", "_function")

    def __init__(self, brought: Brought, function: Callable[..., Any]) -> None:
        self._brought, self._function = brought, function

    def __reduce__(self) -> tuple[Brought, tuple[object]]:
        return self._brought, (self._function,)

    @property
    def function(self) -> Callable[..., Any]:
        """The function itself."""
        return self._function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function here: its call came back from a process and runs in a thread."""
        return self._function(*args, **kwargs)


class Applying:
    """The function of a task that brings large values for a function to workers, once to each.

    What a worker reads is `apply` itself; named after the function that they are for.
    """

    def __init__(self, state: ModuleState, name: str) -> None:
        self._brought = Brought(state)
        self.__qualname__ = name
        #: The variables of ``__main__`` that functions of its calls need not bring.
        self.left = frozenset(state[1].get(script.NAME, ()))

    def __reduce__(self) -> tuple[object, tuple[object]]:
        return self._brought, (apply,)

    def __call__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call `function`."""
        return apply(function, args, kwargs)


class ApplyingOne(Applying):
    """The function of a task whose calls are all of one function, which goes to each worker once,
    with what it uses; in its place, calls bring ``None``.
    """

    def __init__(self, state: ModuleState, function: Callable[..., Any], name: str) -> None:
        super().__init__(state, name)
        # In slots, so that nobody who walks through a task comes upon it and brings the same again.
        self._carried = Carried(self._brought, function)

    def __reduce__(self) -> tuple[object, tuple[object]]:
        return applying, (self._carried,)

    def __call__(self, function: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function."""
        return self._carried(*args, **kwargs)
