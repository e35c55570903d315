"""For whoever writes a mechanism: a sink that remembers, and the laws as checks.

::

    from poolwise.testing import check_mechanism


    def test_my_mechanism() -> None:
        check_mechanism(MyMechanism(), workers=2)

The laws are those of ``mechanisms/README.md``, in the order in which that page tells them. Each is
a function that takes a `Subject` and raises `AssertionError` where it is broken, so that a test
suite can run laws × mechanisms: they are listed in `LAWS`.
"""

from __future__ import annotations

from poolwise.mechanisms import Mechanism
from poolwise.testing.laws import (
    LAWS,
    Law,
    a_death_loses_only_what_had_started,
    closing_leaves_nothing,
    closing_waits_for_what_runs,
    deaths_leave_no_call_without_end,
    each_worker_is_ready_once,
    every_call_ends_once,
    opening_starts_nothing,
    outcomes_are_in_call_order,
    reports_come_to_the_waiting_owner,
    service_is_the_time_in_calls,
    what_comes_after_all_is_run,
    what_has_not_started_can_be_taken_back,
)
from poolwise.testing.sink import DEADLINE, End, RecordingSink
from poolwise.testing.subject import Opened, Subject

__all__ = [
    "DEADLINE",
    "LAWS",
    "End",
    "Law",
    "Opened",
    "RecordingSink",
    "Subject",
    "a_death_loses_only_what_had_started",
    "check_mechanism",
    "closing_leaves_nothing",
    "closing_waits_for_what_runs",
    "deaths_leave_no_call_without_end",
    "each_worker_is_ready_once",
    "every_call_ends_once",
    "opening_starts_nothing",
    "outcomes_are_in_call_order",
    "reports_come_to_the_waiting_owner",
    "service_is_the_time_in_calls",
    "what_comes_after_all_is_run",
    "what_has_not_started_can_be_taken_back",
]


def check_mechanism(mechanism: Mechanism, *, workers: int = 1, threads_per_worker: int = 1) -> None:
    """Hold a mechanism to every law, with real workers; takes a second or two.

    Laws about death are tried only where calls run in another process. Raises `AssertionError`
    at the first law that is broken.
    """
    for law in LAWS:
        law(Subject(mechanism, workers, threads_per_worker))
