"""Processes that user code forks while an arena is in use.

Such a child has the same views, of the same pages. Its parent does not hear when they die there, so
what is live at a fork is never written again. The child shares the arena by accident: it neither
writes to it nor gives anything back.
"""

from __future__ import annotations

import atexit
import os
from itertools import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class End(Protocol):
        """A writer or a reader; `foreign` once it is not its process's own any more."""

        foreign: bool

        def settle(self) -> None:
            """Release what is dead."""


#: Every end that is not closed, and every closed reader that has views still, which keeps it alive.
#: Changed and copied by single operations, which are atomic.
ends: set[End] = set()

#: One entry for each fork under way, in whichever thread.
under_way: list[None] = []

#: Views made in another epoch than the present may live in a child too. Each number is current
#: once, so it does not matter in which order two threads that fork at once write it.
epoch = 0
_epochs = count(1)


def may_be_seen_elsewhere(since: int) -> bool:
    """Tell whether a child may have what was made in the epoch `since`."""
    return since != epoch or bool(under_way)


def _before() -> None:
    for end in list(ends):
        end.settle()  # what is dead already is not live at this fork
    under_way.append(None)


def _after_in_parent() -> None:
    global epoch
    epoch = next(_epochs)  # first: what was made while the fork was under way is older
    under_way.pop()


def _let_go() -> None:
    for end in list(ends):
        end.foreign = True
    ends.clear()


def _after_in_child() -> None:
    under_way.clear()
    _let_go()


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
# What dies later has nobody to tell, and might find these modules taken apart.
atexit.register(_let_go)
