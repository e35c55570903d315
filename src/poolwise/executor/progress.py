"""Showing how far a run is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from poolwise.plan import Plan


class Progress(Protocol):
    """Is told what happens; called by the owner of the run only."""

    def start(self, total: int | None) -> None:
        """The first input is about to be drawn; `total` inputs will come, if that is known."""
        ...

    def update(self, calls: int, failures: int) -> None:
        """So many more inputs are done, and so many of them have failed."""
        ...

    def show_plan(self, plan: Plan) -> None:
        """The plan in force is `plan` (told again and again, mostly unchanged)."""
        ...

    def close(self) -> None:
        """The run is over, or was ended."""
        ...


def make_progress(wanted: bool | Callable[[int, int | None], object]) -> Progress | None:
    """Return what `progress=` asks for."""
    return None
