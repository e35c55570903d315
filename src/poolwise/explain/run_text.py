"""A run as text: what happened and when, what bound it, what was not taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from poolwise.cost import Forecast
from poolwise.executor.record import Phase, PlanUse, RunRecord
from poolwise.explain.dimensions import dimension_lines
from poolwise.explain.table import listed, paragraph
from poolwise.explain.words import (
    NO_CEILING,
    best_of_each_family,
    bound_by,
    calls_per_second,
    family,
    longer,
    near,
    possible,
    residual,
    share,
    time,
)
from poolwise.task import Refusal
from poolwise.units import PerSecond, Seconds, plural

_INDENT = 11

#: Where long lists are broken.
_WIDTH = 84

#: So many large variables are named.
_NAMED = 3

#: Lines of the timeline that are shown of a long one, at its start and at its end.
_FIRST, _LAST = 12, 6


def run_text(record: RunRecord, *, for_command: bool = False) -> str:
    """Return the whole text; short where there is little to tell. `for_command`: in words of the
    command line.
    """
    if not record.started:
        return _nothing_ran(record)
    parts = [headline(record), timeline(record.phases, record.elapsed), outcome_lines(record)]
    if not _ended_in_the_pilot(record):
        parts += [dimension_lines(record)]
    parts += [
        [
            _unchecked(record),
            *_memory_lines(record, for_command),
        ]
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _unchecked(record: RunRecord) -> str:
    """Say where calls may have effects that nobody looked for."""
    text = "not checked: effects outside Python (files, databases)"
    if not record.partly:
        return text
    more = len(record.partly) - _NAMED
    named = ", ".join(record.partly[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{text}, all of what is large ({named})"


def _memory_lines(record: RunRecord, for_command: bool) -> Iterator[str]:
    """Say where the plan comes from, if from an earlier run, and how to have it again."""
    if record.remembered is not None:
        known = record.remembered
        yield f"from wisdom: {known.plan}, by {known.run}"
    if for_command:
        pin = f"pin --plan {record.plan.spec}"
    else:
        pin = f'pin plan="{record.plan.spec}" · the same by hand: .code'
    yield f"remembered for this function here · {pin}" if record.kept else pin


def _nothing_ran(record: RunRecord) -> str:
    if record.finished:
        return "no inputs: nothing ran"
    planned = f"{record.plan}, as asked for" if record.pinned else "the plan follows from the work"
    return f"nothing has run yet, iterating starts it; {planned}"


def _ended_in_the_pilot(record: RunRecord) -> bool:
    """Whether the work was over before there was anything to choose."""
    return record.finished and not record.pinned and not record.forecasts


# ---- the headline --------------------------------------------------------------------------------


def headline(record: RunRecord) -> list[str]:
    """Return what ran in what time, and what came of it."""
    ended = record.done + record.failed
    time_taken = time(record.elapsed)
    if record.finished:
        first = f"{record.plan} finished {plural(ended, 'input')} of {record.task.name} in "
        first += time_taken + _against_forecast(record)
    else:
        known = record.total is not None and record.total >= ended
        of = f"{ended:,} of {record.total:,}" if known else f"{ended:,}"
        first = f"{record.plan}: not finished, {of} inputs of {record.task.name} done in "
        first += time_taken
    return [f"{first}:", f"{', '.join(_counts(record))}."]


def _against_forecast(record: RunRecord) -> str:
    """Compare with the forecast. Without a known total it was for another number of inputs."""
    if record.forecast is None or record.total is None:
        return ""
    off = residual(record.elapsed, record.forecast)
    return "" if off is None else f" (forecast {time(record.forecast)}, {off})"


def _counts(record: RunRecord) -> Iterator[str]:
    yield plural(record.done, "result")
    yield plural(record.failed, "error")
    under_way = record.started - record.done - record.failed
    if under_way > 0:
        yield f"{under_way:,} started or sent and without an end"
    if record.retried:
        yield f"{plural(record.retried, 'call')} started again"
    else:
        yield "each input started once"
    if record.lost_workers or (record.plan.mechanism == "process" and not record.killed_workers):
        yield f"{plural(record.lost_workers, 'dead worker')}"
    if record.killed_workers:
        yield f"{plural(record.killed_workers, 'worker')} killed for a limit or a cancelled call"


# ---- the timeline --------------------------------------------------------------------------------


def timeline(phases: Sequence[Phase], elapsed: Seconds) -> list[str]:
    """Return one line per phase; the middle of a long list is left out, and said to be."""
    milliseconds = elapsed < 1.0
    lines = [f"{_at(each.at, milliseconds)}  {each.text}" for each in phases]
    if len(lines) > _FIRST + _LAST + 1:
        left_out = len(lines) - _FIRST - _LAST
        lines[_FIRST:-_LAST] = [f"{'':>8}  … {left_out:,} more …"]
    return lines


def _at(at: Seconds, milliseconds: bool) -> str:
    return f"{at * 1e3:5.0f} ms" if milliseconds else f"{at:6.2f} s"


# ---- what bound it, what was not taken -----------------------------------------------------------


def outcome_lines(record: RunRecord) -> list[str]:
    """Return what bound the run, which plans ran how many calls, and what was not taken."""
    if _ended_in_the_pilot(record):
        return ["over in the pilot, before there was a plan to choose"]
    current = _current(record)
    return [
        *paragraph("bound by", list(bound_lines(record, current)), indent=_INDENT),
        *paragraph("calls", use_lines(record.uses), indent=_INDENT),
        *paragraph("not taken", not_taken_lines(record, current), indent=_INDENT),
        *paragraph("refused", refused_lines(record.forecasts), indent=_INDENT),
    ]


def _current(record: RunRecord) -> Forecast | None:
    """Return the forecast of the plan in force.

    It need not be the best of the last look: what runs is left only for something clearly better.
    """
    return next((each for each in record.forecasts if each.plan == record.plan), None)


def bound_lines(record: RunRecord, current: Forecast | None) -> Iterator[str]:
    """Return what bound the plan in force, and the rate it reached against its forecast."""
    reached = _reached([use for use in record.uses if use.plan == record.plan])
    if current is None:
        why = "it was not compared" if record.forecasts else "nothing was chosen yet"
        why = "a pinned plan is not measured" if record.pinned else why
        if reached:
            yield f"not known ({why}): {calls_per_second(reached)} calls/s"
        return
    ceiling, reason = (
        current.ceilings.lowest,
        bound_by(replace(current, measured=None, startup=0.0)),
    )
    predicted = f"forecast {calls_per_second(current.rate)}"
    if reached and not near(reached, ceiling):
        predicted += f"; {reason} would allow {calls_per_second(ceiling)}"
        reason = NO_CEILING
    elif ceiling > 1.01 * current.rate:
        predicted += f", at most {calls_per_second(ceiling)}"
    rates = f"{calls_per_second(reached)} calls/s ({predicted})" if reached else predicted
    yield "; ".join(each for each in (f"{reason}: {rates}", _busy(record)) if each)


def _reached(uses: Sequence[PlanUse]) -> PerSecond:
    calls, wall = sum(use.calls for use in uses), sum(use.wall for use in uses)
    return calls / wall if wall > 0.0 else 0.0


def _busy(record: RunRecord) -> str | None:
    """Say how much of the time of all slots passed inside calls."""
    uses = [use for use in record.uses if use.plan == record.plan]
    slots = sum(use.wall for use in uses) * record.plan.concurrency
    inside = share(sum(use.service for use in uses), slots)
    if inside is None or record.plan.mechanism == "inline":
        return None
    return f"{plural(record.plan.concurrency, 'slot')} {inside} inside calls"


def use_lines(uses: Sequence[PlanUse]) -> list[str]:
    """Return how many calls ran under which plan, if there was more than one."""
    if len({use.plan for use in uses}) < 2:
        return []
    counts: dict[str, int] = {}
    for use in uses:
        counts[str(use.plan)] = counts.get(str(use.plan), 0) + use.calls
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return listed([f"{calls:,} in {_a(plan)}" for plan, calls in ordered], width=_WIDTH)


def _a(plan: str) -> str:
    return f"a {plan}" if plan.startswith("plain loop") else plan


def not_taken_lines(record: RunRecord, current: Forecast | None) -> list[str]:
    """Return the best of each other kind of plan: how much longer, and why."""
    if current is None or not possible([current]):
        return []
    parts = [
        f"{each.plan} {longer(each.makespan - current.makespan)}{_why(each, current)}"
        for name, each in best_of_each_family(record.forecasts).items()
        if name != family(record.plan)
    ]
    return listed(parts, width=_WIDTH)


def _why(forecast: Forecast, current: Forecast) -> str:
    if forecast.makespan < current.makespan:
        return " (not clearly shorter: forecasts err)"
    return "" if forecast.plan.mechanism == "inline" else f" ({bound_by(forecast)})"


def refused_lines(forecasts: Iterable[Forecast]) -> list[str]:
    """Return which kinds of plan were refused, and why; each reason once."""
    kinds: dict[Refusal, list[str]] = {}
    for each in forecasts:
        if each.refusal is not None:
            names = kinds.setdefault(each.refusal, [])
            if (name := family(each.plan)) not in names:
                names.append(name)
    return [f"{', '.join(names)}: {refusal}" for refusal, names in kinds.items()]
