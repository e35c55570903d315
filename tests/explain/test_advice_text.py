"""What an advice says, by its meaning."""

from __future__ import annotations

from dataclasses import replace

import pytest
from explain_records import (
    NOT_PICKLABLE,
    a_machine,
    a_profile,
    a_record,
    forecasts_for,
    read,
)

from poolwise.cost import Ceilings, Forecast
from poolwise.explain import explain_advice
from poolwise.explain.advice_text import call_lines, change_lines, textbook_answer
from poolwise.explain.changes import Change, find_changes
from poolwise.explain.words import bound_by
from poolwise.plan import Plan
from poolwise.task import Refusal

LOOP = Plan("inline")


def _advice(*, total: int | None = 1_512, cpus: float = 2.0, gil: bool = True, **profile):
    task, machine = a_profile(**profile), a_machine(cpus, gil)
    record = a_record(task, machine, total=total)
    forecasts = forecasts_for(task, machine, total)
    return record, forecasts, str(explain_advice(record, forecasts))


def _row(text: str, plan: Plan) -> str:
    """The line of the table that is about `plan`."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"{plan}  ")]
    return row


def test_the_plan_to_take_comes_first_with_its_makespan_and_the_others_compared() -> None:
    _, forecasts, text = _advice()
    first, second, *_ = text.splitlines()
    assert first.startswith(f"USE      {forecasts[0].plan}")
    assert first.endswith("for 1,512 inputs")
    assert "as fast as a plain loop" in second
    assert "threads (the textbook answer)" in second
    assert "processes" in second


def test_a_plan_is_not_compared_with_its_own_kind() -> None:
    _, forecasts, text = _advice(wait=0.01, compute=0.0)
    assert forecasts[0].plan.mechanism == "thread"
    assert "× threads (the" not in text.splitlines()[1]


def test_why_says_where_a_call_spends_its_time_and_where_each_kind_of_plan_stops() -> None:
    _, _, text = _advice()
    assert "one call waits 5.1 ms and computes 2.4 ms holding the GIL" in text
    why = " ".join(text.split("\n\n")[1].split())
    assert "threads stop at 427 (GIL)" in why
    assert "processes stop at 266 (2 at once)" in why
    assert "(2 usable CPUs are full)" in why


def test_why_names_no_ceiling_where_what_was_measured_is_far_from_all() -> None:
    task, machine = a_profile(), a_machine()
    plan = next(each.plan for each in forecasts_for(task, machine, 1_512) if "×" in str(each.plan))
    forecasts = forecasts_for(task, machine, 1_512, measured={plan: 2_000.0})
    why = explain_advice(a_record(task, machine, total=1_512), forecasts)
    assert "2,000 (as measured: no ceiling explains it)" in " ".join(str(why).split())


def test_every_candidate_has_a_row_the_chosen_one_first_then_by_makespan() -> None:
    _, forecasts, text = _advice()
    rows = [_row(text, each.plan) for each in forecasts]
    lines = text.splitlines()
    assert [lines.index(row) for row in rows] == sorted(lines.index(row) for row in rows)
    assert _row(text, LOOP).endswith("one at a time")
    assert _row(text, Plan("thread", 32)).endswith("GIL")
    assert _row(text, Plan("process", 2)).endswith("2 calls at once")


def test_refused_candidates_are_listed_with_the_reason_and_what_would_do() -> None:
    record = a_record(a_profile())
    forecasts = forecasts_for(a_profile(), a_machine(), 1_512, refused={"process": NOT_PICKLABLE})
    text = str(explain_advice(record, forecasts))
    refused = [each for each in forecasts if each.refusal is not None]
    assert len(refused) > 2
    assert _row(text, refused[0].plan).endswith(f"refused: {NOT_PICKLABLE}")
    assert all(_row(text, each.plan).endswith("refused: as above") for each in refused[1:])
    assert "processes" not in text.splitlines()[1]


def test_measured_stands_beside_the_forecast_only_if_something_was_measured() -> None:
    _, _, plain = _advice()
    assert "measured*" not in plain
    plan = Plan("thread", 16)
    forecasts = forecasts_for(a_profile(), a_machine(), 1_512, measured={plan: 402.0})
    text = str(explain_advice(a_record(a_profile()), forecasts))
    assert "measured*" in text
    assert "402" in _row(text, plan)
    assert "no input ran twice" in text


def test_an_unknown_number_of_inputs_is_forecast_per_thousand() -> None:
    _, _, text = _advice(total=None)
    assert "per 1,000 inputs" in text.splitlines()[0]
    assert "per 1,000" in next(line for line in text.splitlines() if line.startswith("plan "))


def test_here_is_the_machine_as_this_process_may_use_it() -> None:
    _, _, text = _advice(cpus=0.5)
    assert "CPython 3.13.1, GIL on · 0.5 usable CPUs (cgroup quota) · 1.6 GB free" in text
    _, _, text = _advice(gil=False, held=(0.0, 0.0))
    assert "GIL off" in text
    assert "holding the GIL" not in text


def test_an_unknown_amount_of_memory_is_left_out() -> None:
    record, forecasts, _ = _advice()
    facts = replace(record.machine.facts, free_memory=None)
    record = replace(record, machine=replace(record.machine, facts=facts))
    assert "free\n" not in str(explain_advice(record, forecasts))


def test_the_text_ends_with_how_to_pin_and_with_the_code_that_does_it_by_hand() -> None:
    record, forecasts, text = _advice()
    spec = forecasts[0].plan.spec
    assert f'--plan {spec}    plan="{spec}"' in text
    explanation = explain_advice(record, forecasts)
    assert text.endswith(explanation.code.rstrip())
    assert "; .code alone)" in text
    in_command = str(explain_advice(record, forecasts, for_command=True))
    assert in_command == text.replace("; .code alone)", "; --code alone)")


def test_a_loop_that_is_best_says_what_a_start_would_cost() -> None:
    _, forecasts, text = _advice(wait=0.0, compute=1e-6, pickling=1e-7, total=2_000)
    assert forecasts[0].plan == LOOP
    assert text.startswith("USE      plain loop")
    assert "starting 2 processes takes" in text
    assert "the loop is done in 2 ms" in text
    assert _row(text, Plan("process", 2)).endswith("start-up")


def test_what_the_sample_cost_and_that_its_results_are_kept() -> None:
    record, forecasts, text = _advice()
    assert "14 inputs ran in 100 ms, results kept" in text
    failing = replace(record, failed=1)
    assert "1 error among them" in str(explain_advice(failing, forecasts))
    assert "none are left" not in text
    all_of_them = replace(record, total=14)
    assert "kept; none are left to verify plans on" in str(explain_advice(all_of_them, forecasts))


@pytest.mark.parametrize(
    ("held", "phrase"),
    [
        ((0.95, 1.0), "computes 2.4 ms holding the GIL"),
        ((0.0, 0.05), "computes 2.4 ms with the GIL released"),
        ((0.45, 0.55), "1.2 ms of it holding the GIL"),
        ((0.0, 1.0), "at most 2.4 ms of it holding the GIL (not measured closer)"),
        ((0.2, 1.0), "480 µs to 2.4 ms of it holding the GIL"),
    ],
)
def test_how_the_gil_is_held_is_said_as_well_as_it_is_known(
    held: tuple[float, float], phrase: str
) -> None:
    assert phrase in call_lines(a_profile(held=held), gil=True)[0]
    assert "GIL" not in call_lines(a_profile(held=held), gil=False)[0]


def test_helpers_and_pure_waiting_are_named() -> None:
    assert "child processes use 3 ms" in call_lines(a_profile(helpers=3e-3), gil=True)[1]
    # Of a call of a few microseconds, that is the clock.
    assert len(call_lines(a_profile(wait=0.0, compute=2e-6, helpers=4.6e-6), gil=True)) == 1
    assert call_lines(a_profile(wait=0.0), gil=False) == ["one call computes 2.4 ms"]


def test_the_textbook_answers_threads_for_waiting_and_processes_for_computing() -> None:
    assert textbook_answer(a_profile(wait=1.0)) == "threads"
    assert textbook_answer(a_profile(wait=0.0)) == "processes"
    assert textbook_answer(None) is None


# ---- what binds ----------------------------------------------------------------------------------


def test_start_up_binds_where_it_takes_the_larger_part() -> None:
    plan = Plan("process", 2)
    limits = Ceilings(cores=100.0)
    assert bound_by(Forecast(plan, limits, startup=0.06, makespan=0.1)) == "start-up"
    assert bound_by(Forecast(plan, limits, startup=0.06, makespan=1.0)) == "cores"


def test_fewer_inputs_than_slots_bind_where_nothing_lower_does() -> None:
    forecast = Forecast(Plan("thread", 8), Ceilings(concurrency=80.0, gil=60.0), makespan=0.1)
    assert bound_by(forecast, 4) == "few inputs"
    assert bound_by(forecast, 7) == "GIL"
    assert bound_by(forecast, 800) == "GIL"


def test_a_ceiling_that_was_missed_by_far_does_not_explain() -> None:
    limits = Ceilings(gil=1_000.0)
    near = Forecast(Plan("thread", 8), limits, makespan=1.0, predicted=1_000.0, measured=700.0)
    assert bound_by(near) == "GIL"
    assert bound_by(replace(near, measured=300.0)) == "no ceiling"


# ---- what would change it ------------------------------------------------------------------------


def test_below_the_break_even_a_plan_that_starts_faster_is_taken() -> None:
    record, forecasts, text = _advice()
    assert forecasts[0].plan.mechanism == "process"
    fewer = next(each for each in find_changes(record, forecasts) if each.kind == "fewer_inputs")
    assert fewer.forecast.plan.mechanism == "thread"
    assert f"inputs: {fewer.forecast.plan} (workers take" in text
    assert "below" in text
    # The forecasts on both sides of it say the same.
    task, machine = a_profile(), a_machine()
    below = forecasts_for(task, machine, int(0.8 * fewer.inputs))
    above = forecasts_for(task, machine, int(1.3 * fewer.inputs))
    assert below[0].plan.mechanism == "thread"
    assert above[0].plan.mechanism == "process"


def test_above_the_break_even_a_plan_that_runs_faster_is_taken() -> None:
    record, forecasts, text = _advice(wait=0.0, compute=1e-6, pickling=1e-7, total=2_000)
    more = next(each for each in find_changes(record, forecasts) if each.kind == "more_inputs")
    assert more.forecast.plan == Plan("process", 2)
    assert "inputs: 2 processes (workers take" in text
    assert "above about" in text


@pytest.mark.parametrize(
    ("inputs", "said"), [(44, "44 inputs"), (144, "about 140 inputs"), (166_234, "about 170,000")]
)
def test_a_break_even_is_no_more_exact_than_the_forecasts(inputs: int, said: str) -> None:
    change = Change("more_inputs", inputs, Forecast(LOOP, makespan=1.0))
    assert f"above {said}" in change_lines([Forecast(LOOP)], [change])[0]


def test_that_one_input_wants_a_plain_loop_is_no_news() -> None:
    record, forecasts, _ = _advice(wait=0.05, compute=0.0, total=5)
    assert forecasts[0].plan.mechanism == "thread"
    assert "fewer_inputs" not in {change.kind for change in find_changes(record, forecasts)}


def test_with_fewer_inputs_than_slots_there_is_nothing_else_that_stops() -> None:
    _, _, text = _advice(wait=0.05, compute=0.0, total=5)
    assert "(no more inputs)" in " ".join(text.split())
    assert _row(text, Plan("thread", 8)).endswith("few inputs")


def test_without_the_gil_threads_would_do() -> None:
    record, forecasts, text = _advice()
    change = next(each for each in find_changes(record, forecasts) if each.kind == "free_threaded")
    assert change.forecast.plan.mechanism == "thread"
    assert not change.same
    assert f"free-threaded build: {change.forecast.plan} would do" in text


def test_what_does_not_hold_the_gil_gains_nothing_without_it() -> None:
    _, _, text = _advice(wait=0.0, held=(0.0, 0.0))
    assert "free-threaded build: no gain" in text


def test_a_build_without_the_gil_is_not_told_what_it_would_change() -> None:
    _, _, text = _advice(gil=False, held=(0.0, 0.0))
    assert "free-threaded" not in text


def test_no_change_is_claimed_where_the_forecasts_say_something_else_than_the_choice() -> None:
    record, forecasts, _ = _advice()
    loop = next(each for each in forecasts if each.plan == LOOP)
    kinds = {change.kind for change in find_changes(record, (loop, *forecasts))}
    assert not kinds & {"fewer_inputs", "more_inputs"}


# ---- thin records --------------------------------------------------------------------------------


def test_a_record_without_a_profile_has_no_why() -> None:
    _, forecasts, _ = _advice()
    text = str(explain_advice(a_record(None), forecasts))
    assert text.startswith("USE")
    assert "WHY" not in text
    assert "changes" not in text


def test_no_forecasts_at_all_and_nothing_but_refusals() -> None:
    refused = Forecast(LOOP, refusal=Refusal("read is not a function"))
    for forecasts in ((), (refused,)):
        text = str(explain_advice(a_record(a_profile()), forecasts))
        assert text.startswith("USE      no plan: every candidate is refused")
        assert "pin" not in text.partition("by hand")[0]
    assert "read is not a function" in text


def test_the_explained_function_is_the_one_in_the_code() -> None:
    assert read.__name__ in _advice()[2].partition("by hand")[2]


def test_a_plan_that_is_forecast_to_be_shorter_and_not_taken_has_a_reason() -> None:
    record, forecasts, text = _advice()
    assert "†" not in text  # the plan to take is the shortest
    chosen, other, *rest = forecasts
    nearly = replace(other, makespan=0.96 * chosen.makespan)
    text = str(explain_advice(record, (chosen, nearly, *rest)))
    assert _row(text, other.plan).endswith(" †")
    assert text.count("†") == 2
    assert "† shorter than the plan to take, but by less than forecasts err (5 %)" in text


def test_one_that_looks_as_long_needs_none() -> None:
    record, (chosen, other, *rest), _ = _advice()
    same = replace(other, makespan=chosen.makespan * (1 - 1e-9))
    assert "†" not in str(explain_advice(record, (chosen, same, *rest)))
