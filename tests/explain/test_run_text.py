"""What the text of a run says, by its meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest
from explain_records import (
    NOT_PICKLABLE,
    REMEMBERED,
    a_machine,
    a_profile,
    a_record,
    a_run,
    forecasts_for,
)

from poolwise.executor.record import Phase, PlanUse
from poolwise.explain import explain_run
from poolwise.plan import Plan
from poolwise.probe import Payload

LOOP = Plan("inline")
DIMENSIONS = ("isolation", "cost", "communication", "concurrency", "suited to", "implementation")


def _dimension(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return line.removeprefix(name).strip()


def test_the_headline_says_what_ran_in_what_time_against_the_forecast() -> None:
    record = a_run()
    first, second, *_ = str(explain_run(record)).splitlines()
    assert (
        first == f"{record.plan} finished 1,512 inputs of read in 2.00 s (forecast 1.94 s, +3 %):"
    )
    assert second == "1,510 results, 2 errors, each input started once, 0 dead workers."


def test_dead_workers_are_counted() -> None:
    text = str(explain_run(replace(a_run(), lost_workers=1)))
    assert ", 1 dead worker." in text
    text = str(explain_run(replace(a_run(), killed_workers=3)))
    assert ", 3 workers killed for a limit or a cancelled call." in text
    assert "dead" not in text


def test_a_forecast_for_an_unknown_number_of_inputs_is_not_compared() -> None:
    assert "forecast" not in str(explain_run(replace(a_run(), total=None))).splitlines()[0]


@pytest.mark.parametrize(
    ("elapsed", "said"),
    [(1.94, "±0 %"), (1.0, "-48 %"), (19.4, "10× that")],
)
def test_how_far_off_the_forecast_was(elapsed: float, said: str) -> None:
    assert said in str(explain_run(replace(a_run(), elapsed=elapsed))).splitlines()[0]


def test_the_timeline_has_a_line_for_each_phase() -> None:
    text = str(explain_run(a_run()))
    assert "  0.00 s  pilot in the caller: 14 calls\n" in text
    assert "  0.09 s  16 threads\n" in text
    short = str(explain_run(replace(a_run(), elapsed=0.3)))
    assert "   90 ms  16 threads\n" in short


def test_a_long_timeline_is_cut_in_the_middle_and_says_so() -> None:
    phases = tuple(Phase(float(at), f"phase {at}") for at in range(100))
    text = str(explain_run(replace(a_run(), phases=phases, elapsed=100.0)))
    assert "phase 0\n" in text
    assert "phase 99\n" in text
    assert "phase 50\n" not in text
    assert "… 82 more …" in text


def test_what_bound_it_and_the_rate_against_the_forecast() -> None:
    record = a_run()
    (line,) = [
        line for line in str(explain_run(record)).splitlines() if line.startswith("bound by")
    ]
    assert "cores: 788 calls/s (forecast 8" in line
    assert f"{record.plan.concurrency} slots" in line
    assert "inside calls" in line


def test_how_many_calls_ran_under_which_plan() -> None:
    record = a_run()
    assert f"1,498 in {record.plan} · 14 in a plain loop" in str(explain_run(record))
    alone = replace(record, uses=record.uses[1:])
    assert "\ncalls " not in str(explain_run(alone))


def test_what_was_not_taken_is_one_plan_of_each_other_kind() -> None:
    lines = str(explain_run(a_run())).partition("not taken")[2].partition("\n\n")[0]
    line = " ".join(lines.split())
    assert line.count("+") == 3
    assert "threads +" in line
    assert "(GIL)" in line
    assert "2 processes +" in line
    assert "plain loop +" in line


def test_refused_kinds_are_listed_once_with_their_reason() -> None:
    forecasts = forecasts_for(a_profile(), a_machine(), 1_512, refused={"process": NOT_PICKLABLE})
    text = str(explain_run(a_run(forecasts=forecasts)))
    assert text.count(str(NOT_PICKLABLE)) == 1
    assert f"processes, processes × threads: {NOT_PICKLABLE}" in text


def test_a_plan_in_force_that_is_not_the_best_of_the_last_look_is_the_one_explained() -> None:
    record = a_run()
    text = str(explain_run(replace(record, plan=LOOP)))
    assert "one at a time" in text
    lines = text.partition("not taken")[2].partition("\n\n")[0]
    assert "threads -" in lines  # shorter, and not taken
    assert "(not clearly shorter: forecasts err)" in lines
    assert "plain loop" not in lines


def test_an_explanation_prints_whole_and_is_short_in_a_list_of_things() -> None:
    explanation = explain_run(a_run())
    assert str(explanation) == explanation.text
    assert len(repr(explanation).splitlines()) == 1
    assert str(explanation).splitlines()[0] in repr(explanation)


# ---- the six dimensions --------------------------------------------------------------------------


def test_each_dimension_has_its_line() -> None:
    text = str(explain_run(a_run()))
    for name in DIMENSIONS:
        assert _dimension(text, name)
    assert "stays in its worker; 14 calls ran in this process" in _dimension(text, "isolation")
    assert "2 worker processes" in _dimension(text, "cost")
    assert "3.63 s of CPU" in _dimension(text, "cost")
    assert "1.2 KB in, 90 B out a call" in _dimension(text, "communication")
    assert "GIL held 31 % of a call" in _dimension(text, "concurrency")
    assert "68 % waiting, the rest computing holding the GIL" in _dimension(text, "suited to")


@pytest.mark.parametrize("plan", [LOOP, Plan("thread", 4), Plan("process", 2, 3, 16)])
def test_the_dimensions_of_every_mechanism(plan: Plan) -> None:
    text = str(explain_run(replace(a_run(), plan=plan, pinned=True, forecasts=(), profile=None)))
    shares = plan.mechanism != "process"
    assert _dimension(text, "isolation").startswith("none") == shares
    assert _dimension(text, "communication").startswith("none") == shares
    assert ("batches of 16" in _dimension(text, "implementation")) == (plan.batch_size is not None)
    assert "suited to" not in text  # nothing was measured


def test_what_was_not_measured_is_not_given_a_figure() -> None:
    profile = replace(a_profile(), payload=Payload(), gil_low=0.0, gil_high=2.4e-3)
    text = str(explain_run(replace(a_run(profile), plan=Plan("process", 2))))
    assert "was not measured" in _dimension(text, "communication")
    assert "at most 32 % of a call" in _dimension(text, "concurrency")


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        (a_profile(wait=1.0), "work that waits: 100 % of a call"),
        (a_profile(wait=0.0), "work that computes holding the GIL"),
        (a_profile(wait=0.0, held=(0.0, 0.0)), "work that computes with the GIL released"),
        (a_profile(wait=0.0, held=(0.5, 0.5)), "work that computes partly holding the GIL"),
        (a_profile(wait=0.0, helpers=1.0), "threads or child processes of its own"),
    ],
)
def test_the_kind_of_work(profile, said: str) -> None:
    assert said in _dimension(str(explain_run(a_run(profile))), "suited to")


def test_a_build_without_the_gil_says_so() -> None:
    profile = a_profile(held=(0.0, 0.0))
    text = str(explain_run(a_run(profile, a_machine(gil=False))))
    assert "no GIL in this build" in _dimension(text, "concurrency")
    assert "holding the GIL" not in text


# ---- the end of the text -------------------------------------------------------------------------


def test_the_text_ends_with_what_was_not_checked_and_how_to_pin() -> None:
    record = a_run()
    *_, unchecked, pin = str(explain_run(record)).splitlines()
    assert unchecked == "not checked: effects outside Python (files, databases)"
    assert pin == f'pin plan="{record.plan.spec}" · the same by hand: .code'


def test_the_text_says_what_was_too_large_to_be_looked_at_in_full() -> None:
    *_, unchecked, _ = str(explain_run(replace(a_run(), partly=("TABLE",)))).splitlines()
    assert unchecked.endswith("(files, databases), all of what is large (TABLE)")
    *_, unchecked, _ = str(explain_run(replace(a_run(), partly=tuple("abcde")))).splitlines()
    assert unchecked.endswith("all of what is large (a, b, c and 2 more)")


def test_a_command_is_told_how_to_pin_in_a_command() -> None:
    record = a_run()
    in_python = str(explain_run(record)).splitlines()
    in_command = str(explain_run(record, for_command=True)).splitlines()
    assert in_command == [*in_python[:-1], f"pin --plan {record.plan.spec}"]


# ---- runs that did not go all the way ------------------------------------------------------------


def test_an_unfinished_run_says_how_far_it_got() -> None:
    record = replace(a_run(), finished=False, done=600, failed=1, started=640)
    text = str(explain_run(record))
    assert "not finished, 601 of 1,512 inputs of read done in 2.00 s" in text
    assert "39 started or sent and without an end" in text


def test_more_inputs_than_the_given_total_are_not_a_share_of_it() -> None:
    record = replace(a_run(), finished=False, total=100)
    assert "not finished, 1,512 inputs" in str(explain_run(record))


def test_no_inputs_is_one_line() -> None:
    record = replace(
        a_record(None, total=0), plan=LOOP, phases=(), uses=(), started=0, done=0, elapsed=0.0
    )
    assert str(explain_run(replace(record, finished=True))) == "no inputs: nothing ran"


def test_a_run_that_nobody_has_iterated_yet_is_one_line() -> None:
    record = replace(a_record(None), phases=(), uses=(), started=0, done=0, elapsed=0.0)
    assert "nothing has run yet" in str(explain_run(record))
    assert "as asked for" in str(explain_run(replace(record, pinned=True)))
    assert len(str(explain_run(record)).splitlines()) == 1


def test_a_tiny_run_that_ended_in_the_pilot_is_told_in_few_words() -> None:
    record = replace(
        a_record(a_profile(), total=14),
        plan=LOOP,
        phases=(Phase(0.0, "pilot in the caller: 14 calls"),),
        started=14,
        finished=True,
    )
    text = str(explain_run(record))
    assert "plain loop finished 14 inputs" in text
    assert "over in the pilot, before there was a plan to choose" in text
    assert not any(f"{name} " in text for name in DIMENSIONS)
    assert len(text.splitlines()) < 10


def test_a_pinned_run_has_no_forecast_and_says_so() -> None:
    plan = Plan("thread", 8)
    record = replace(
        a_run(),
        plan=plan,
        pinned=True,
        profile=None,
        forecasts=(),
        forecast=None,
        uses=(PlanUse(plan, 1_512, 2.0, 15.0, 3.0),),
    )
    text = str(explain_run(record))
    assert "forecast" not in text
    assert "not taken" not in text
    assert "bound by   not known (a pinned plan is not measured): 756 calls/s" in text


def test_a_ceiling_that_was_missed_by_far_is_not_said_to_have_bound_the_run() -> None:
    record = a_run()
    slow = (PlanUse(record.plan, 400, 1.9, 28.0, 3.6),)
    text = str(explain_run(replace(record, uses=slow)))
    assert "bound by   no ceiling: 211 calls/s (forecast" in text
    assert "; cores would allow" in text


def test_it_says_from_which_run_the_plan_comes_and_that_it_is_kept() -> None:
    run = a_run()
    text = str(explain_run(run))
    assert "wisdom" not in text
    assert "remembered" not in text
    text = str(explain_run(replace(run, remembered=REMEMBERED, kept=True)))
    assert f"from wisdom: 2 processes × 4 threads, by {REMEMBERED.run}" in text
    assert REMEMBERED.run.startswith("a run of 1,512 inputs in 2 s, 2020-09-1")
    assert "remembered for this function here · pin plan=" in text
