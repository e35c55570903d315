"""What holds for one mechanism holds for all: every law, every mechanism, with real workers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from law_calls import act, act_or_die

from poolwise.ipc import Inbox
from poolwise.mechanisms import Sink, WorkerOptions, mechanism
from poolwise.mechanisms.thread import ThreadMechanism, ThreadPool
from poolwise.task import Batch, BatchId, Exit, Outcomes
from poolwise.testing import LAWS, End, Law, Opened, Subject, check_mechanism, sink
from poolwise.units import Seconds
from thorough import thorough

SUBJECTS = [
    pytest.param(Subject(mechanism(name), workers, threads), id=f"{name}-{workers}x{threads}")
    for name, workers, threads in [("inline", 1, 1), ("thread", 1, 1), ("thread", 4, 1)]
] + [
    pytest.param(
        Subject(mechanism("process"), workers, threads, method),
        id=f"process-{workers}x{threads}-{method}",
    )
    for workers, threads, method in [
        (1, 1, None),
        (2, 1, "forkserver"),
        (2, 1, "spawn"),
        (2, 4, "fork"),
        *thorough((2, 1, "fork"), (2, 4, "forkserver"), (2, 4, "spawn")),
    ]
]
PROCESSES = [subject for subject in SUBJECTS if str(subject.id).startswith("process")]

#: Examples share a pool, whose workers cost far more than an example.
few = partial(settings, deadline=None, suppress_health_check=[HealthCheck.too_slow])

small = st.one_of(
    st.tuples(st.just("return"), st.none() | st.integers() | st.text(max_size=9)),
    st.tuples(st.just("size"), st.sampled_from([0, 1, 1000, 70_000])),
    st.tuples(st.just("raise"), st.text(max_size=9)),
    st.tuples(st.sampled_from(["stop", "interrupt"]), st.none()),
    st.tuples(st.just("exit"), st.integers(0, 9)),
)
#: Sizes on both sides of what a socket holds.
sized = st.tuples(st.just("size"), st.sampled_from([200_000, 500_000]))
batches = st.lists(st.lists(small, min_size=1, max_size=30), min_size=1, max_size=8)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.fault
def test_law(law: Law, subject: Subject) -> None:
    law(subject)


def in_a_loop(function: Callable[[Any], Any], argument: Any) -> tuple[Any, object, object]:
    try:
        return function(argument), None, None
    except BaseException as error:
        return None, type(error), error.args


def shown(end: End) -> tuple[Any, object, object]:
    assert end.kind == "done"
    if end.error is None:
        return end.value, None, None
    return None, type(end.error), end.error.args


#: What a loop does not survive: in the owner's own thread, the rest of the batch comes back.
ENDS_A_LOOP = ("interrupt", "exit")


@pytest.mark.parametrize("kind", ENDS_A_LOOP)
@pytest.mark.fault
def test_what_ends_a_loop_ends_an_inline_batch(kind: str) -> None:
    with Subject(mechanism("inline"), 1, 1).open().start() as opened:
        batch = opened.send(act, [("return", 1), (kind, 0), ("return", 2), ("return", 3)])
        kinds = [end.kind for end in opened.sink.ends_of(batch)]
        assert kinds == ["done", "done", "returned", "returned"]


@pytest.mark.fault
def test_an_inline_batch_that_ended_early_says_nothing_to_a_sink_that_closed_its_pool() -> None:
    with Subject(mechanism("inline")).open().start() as opened:
        done = opened.sink.done

        def close_at_once(batch: BatchId, first: int, outcomes: Outcomes) -> None:
            done(batch, first, outcomes)
            opened.pool.close(grace=None)

        opened.sink.done = close_at_once  # type: ignore[method-assign]
        batch = opened.send(act, [("interrupt", None), ("return", 1)])
        assert list(opened.sink.ends[batch.id]) == [0]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_outcomes_are_those_of_a_loop(subject: Subject) -> None:
    with subject.open().start() as opened:

        @few(max_examples=40)
        @given(batches, st.lists(sized, max_size=3))
        def compare(actions: list[list[Any]], large: list[Any]) -> None:
            if subject.mechanism.name == "inline":
                actions = [
                    [each for each in batch if each[0] not in ENDS_A_LOOP] for batch in actions
                ]
            sent = [opened.send(act, batch) for batch in [*actions, large] if batch]
            opened.wait(lambda: opened.sink.has_ended(*sent))
            for batch in sent:
                ends = map(shown, opened.sink.ends_of(batch))
                assert list(ends) == [in_a_loop(act, action) for action in batch.columns[0]]

        compare()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_several_arguments_stay_together(subject: Subject) -> None:
    with subject.open().start() as opened:
        ends = opened.run(pow, [2, 3, 4], [5, 6, 7], [10, 100, 1000])
        assert [end.value for end in ends] == [2, 29, 384]


#: What the owner does next: send a batch of so many calls, take back one of those sent, listen,
#: expect nothing more.
moves = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 40)),
        st.tuples(st.just("take back"), st.integers(0, 10)),
        st.tuples(st.just("listen"), st.none()),
        st.tuples(st.just("nothing more"), st.none()),
    ),
    max_size=30,
)


def play(opened: Opened, played: list[Any], function: Callable[..., Any], actions: Any) -> None:
    """Make the moves; then every call has exactly one end, and what came back is a tail."""
    sent: list[Batch] = []
    for move, argument in played:
        if move == "send":
            sent.append(opened.send(function, [actions(index) for index in range(argument)]))
        elif move == "take back" and sent:
            opened.pool.take_back(sent[-1 - argument % len(sent)].id)
        elif move == "nothing more":
            opened.pool.nothing_more()
        else:
            opened.inbox.wait(0)
    opened.wait(lambda: opened.sink.has_ended(*sent))
    for batch in sent:
        ends = opened.sink.ends_of(batch)
        kinds = [end.kind for end in ends]
        assert kinds == sorted(kinds, key=["done", "lost", "returned"].index)
        for action, end in zip(batch.columns[0], ends, strict=True):
            if end.kind == "done":
                assert shown(end) == in_a_loop(act, action)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_call_ends_once_whatever_is_taken_back(subject: Subject) -> None:
    def actions(index: int) -> tuple[str, Any]:
        return ("raise", index) if index % 3 == 2 else ("return", index)

    with subject.open().start() as opened:

        @few(max_examples=60)
        @given(moves)
        def check(played: list[Any]) -> None:
            play(opened, played, act, actions)

        check()


@pytest.mark.parametrize("subject", PROCESSES)
@pytest.mark.fault
def test_each_call_ends_once_whoever_dies(subject: Subject) -> None:
    with subject.open().start() as opened:

        @few(max_examples=12)
        @given(moves, st.integers(1, 30))
        def check(played: list[Any], deadly: int) -> None:
            def actions(index: int) -> tuple[str, Any]:
                return ("kill", None) if index == deadly else ("return", index)

            play(opened, played, act_or_die, actions)

        check()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_batches_sent_before_there_is_a_worker_wait_for_one(subject: Subject) -> None:
    with subject.open() as opened:
        if str(subject.mechanism.name) == "inline":
            return
        early = opened.send(act, [("return", 1)])
        unwanted = opened.send(act, [("return", 2)] * 3)
        opened.pool.take_back(unwanted.id)
        assert [end.kind for end in opened.sink.ends_of(unwanted)] == ["returned"] * 3
        opened.start()
        opened.wait(lambda: opened.sink.has_ended(early))
        assert opened.sink.ends_of(early)[0].value == 1


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.fault
def test_a_sink_may_close_the_pool_from_any_report(subject: Subject) -> None:
    with subject.open().start() as opened:
        done = opened.sink.done

        def close_at_once(batch: BatchId, first: int, outcomes: Outcomes) -> None:
            done(batch, first, outcomes)
            opened.pool.close(grace=None)

        opened.sink.done = close_at_once  # type: ignore[method-assign]
        opened.send(act, [("return", 1)])
        opened.wait(lambda: not opened.pool.workers)
        assert opened.sink.reports == subject.workers + 1
        with pytest.raises(RuntimeError):
            opened.pool.grow(1)


def test_the_checks_are_one_function_for_users() -> None:
    check_mechanism(mechanism("thread"), workers=2)


# ---- laws that are broken are seen --------------------------------------------------------------


class Wrapping(ThreadMechanism):
    """Threads, with one method of the pool or of the sink replaced."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self._replaced = replaced

    def open(self, options: WorkerOptions, sink: Sink, inbox: Inbox, /) -> ThreadPool:
        pool = super().open(options, sink, inbox)
        for name, function in self._replaced.items():
            setattr(pool, name, partial(function, pool, getattr(pool, name)))
        return pool


def reporting_by_itself(pool: Any, post: Any, batch: BatchId, first: int, o: Outcomes) -> None:
    pool._sink.done(batch, first, o)
    pool._inbox.post(lambda: None)


def reporting_twice(pool: Any, finish: Any, batch: BatchId, first: int, o: Outcomes) -> None:
    finish(batch, first, o)
    pool._sink.done(batch, first, o)


def reporting_backwards(pool: Any, finish: Any, batch: BatchId, first: int, o: Outcomes) -> None:
    errors = {len(o.values) - 1 - position: error for position, error in o.errors.items()}
    finish(batch, first, Outcomes(o.values[::-1], errors, o.service))


def counting_twice(pool: Any, finish: Any, batch: BatchId, first: int, o: Outcomes) -> None:
    finish(batch, first, Outcomes(o.values, o.errors, 1000 * o.service))


def returning_too_much(pool: Any, returned: Any, batch: BatchId, count: int) -> None:
    returned(batch, count + 1)


def starting_one_more(pool: Any, grow: Any, workers: int) -> None:
    grow(workers + 1)


def ending_for_good(pool: Any, nothing_more: Any) -> None:
    for _ in range(pool._serving):
        pool._tokens.put(None)
    pool._serving, pool._start = 0, lambda number: False


def growing_when_closed(pool: Any, grow: Any, workers: int) -> None:
    if not pool._closed:
        grow(workers)


def leaving_a_descriptor(pool: Any, close: Any, *, grace: Seconds | None) -> None:
    if not pool._closed:
        left.extend(os.pipe())
    close(grace=grace)


def leaving_a_thread(pool: Any, close: Any, *, grace: Seconds | None) -> None:
    if not pool._closed:
        threading.Thread(target=let_go.wait, daemon=True).start()
    close(grace=grace)


def not_waiting(pool: Any, close: Any, *, grace: Seconds | None) -> None:
    close(grace=0.0)


let_go = threading.Event()
left: list[int] = []


@pytest.mark.parametrize(
    ("law", "replaced"),
    [
        ("each_worker_is_ready_once", {"grow": starting_one_more}),
        ("every_call_ends_once", {"_finish": reporting_twice}),
        ("outcomes_are_in_call_order", {"_finish": reporting_backwards}),
        ("service_is_the_time_in_calls", {"_finish": counting_twice}),
        ("what_has_not_started_can_be_taken_back", {"_return": returning_too_much}),
        ("reports_come_to_the_waiting_owner", {"_post": reporting_by_itself}),
        ("what_comes_after_all_is_run", {"nothing_more": ending_for_good}),
        ("closing_waits_for_what_runs", {"close": not_waiting}),
        ("closing_leaves_nothing", {"grow": growing_when_closed}),
        ("closing_leaves_nothing", {"close": leaving_a_descriptor}),
        ("closing_leaves_nothing", {"close": leaving_a_thread}),
    ],
)
@pytest.mark.leaves("what the broken mechanism leaves; ended here as far as possible")
def test_a_broken_law_is_seen(
    law: str, replaced: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "DEADLINE", 1.0)  # what is waited for here never comes
    checks = {check.__name__: check for check in LAWS}
    let_go.clear()
    try:
        with pytest.raises(AssertionError):
            checks[law](Subject(Wrapping(**replaced)))
    finally:
        let_go.set()
        while left:
            os.close(left.pop())


@pytest.mark.fault
def test_an_exit_is_kept_with_the_calls_it_cost() -> None:
    subject = Subject(mechanism("process"))
    with subject.open().start() as opened:
        (end,) = opened.run(act_or_die, [("kill", None)])
        assert end == End("lost", exit=Exit(end.exit.pid if end.exit else 0, signal=9))
