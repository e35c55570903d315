"""Advice as text: what to use, why, every candidate, what would change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from poolwise.cost import Forecast
from poolwise.executor.record import RunRecord
from poolwise.explain.changes import Change
from poolwise.explain.table import paragraph, table
from poolwise.explain.words import (
    best_of_each_family,
    bound_by,
    calls_of,
    calls_per_second,
    explained,
    family,
    gil_time,
    possible,
    time,
    times,
    too_few,
)
from poolwise.machine import Facts
from poolwise.plan import Plan
from poolwise.planner.choose import MARGIN
from poolwise.probe import TaskProfile
from poolwise.units import Seconds, duration, plural, size

_INDENT = 9

#: Where long lines are broken.
_WIDTH = 76

#: Marks a plan whose makespan is shorter than that of the plan to take.
_MARK = "†"

#: A share of a call below which it is not worth a word.
_NOT_WORTH_A_WORD = 0.05

#: Less CPU time of others than this is what reading the clocks leaves open.
_NOTHING: Seconds = 20e-6


def advice_text(
    record: RunRecord,
    forecasts: Sequence[Forecast],
    changes: Sequence[Change],
    code: str,
    *,
    for_command: bool = False,
) -> str:
    """Return the whole text, the code at its end."""
    alone = "--code" if for_command else ".code"
    parts = [
        paragraph("USE", use_lines(record, forecasts), indent=_INDENT),
        paragraph("WHY", why_lines(record, forecasts), indent=_INDENT),
        candidate_lines(record, forecasts),
        [
            *paragraph("here", here_lines(record.machine.facts), indent=_INDENT),
            *paragraph("sample", sample_lines(record), indent=_INDENT),
            *paragraph("changes", change_lines(forecasts, changes), indent=_INDENT),
            *paragraph("pin", pin_lines(forecasts), indent=_INDENT),
        ],
        [f"by hand  (standard library, {_how_it_runs(code)}; {alone} alone)", "", code.rstrip()],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _how_it_runs(code: str) -> str:
    return "once the function is in a module" if "NotImplementedError" in code else "runs as it is"


# ---- USE -----------------------------------------------------------------------------------------


def use_lines(record: RunRecord, forecasts: Sequence[Forecast]) -> list[str]:
    """Return the plan to take, its makespan, and how it compares with other kinds of plan."""
    if not possible(forecasts[:1]):
        return ["no plan: every candidate is refused"]
    if record.failed and not record.done:
        return [f"nothing yet: {plural(record.failed, 'call')} ran, and all raised"]
    chosen = forecasts[0]
    word = "for" if record.total else "per"
    whole = f"{time(chosen.makespan)} {word} {plural(calls_of(record), 'input')}"
    lines = [f"{chosen.plan!s:<28}  {whole}"]
    compared = _comparison(record.profile, chosen, forecasts)
    return [*lines, f"{compared[0]} as fast as {compared[1]}"] if compared else lines


def _comparison(
    profile: TaskProfile | None, chosen: Forecast, forecasts: Sequence[Forecast]
) -> tuple[str, str] | None:
    """Return the ratio to the first other family, and the rest of the sentence."""
    others = best_of_each_family(forecasts)
    compared = []
    for name in ("a plain loop", "threads", "processes"):
        other = others.get(name)
        if other is None or name == family(chosen.plan) or chosen.makespan <= 0.0:
            continue
        remark = " (the textbook answer)" if name == textbook_answer(profile) else ""
        compared.append((times(other.makespan / chosen.makespan), name + remark))
    if not compared:
        return None
    (first, name), *rest = compared
    return first, " · ".join([name, *(f"{ratio} {other}" for ratio, other in rest)])


def textbook_answer(profile: TaskProfile | None) -> str | None:
    """Return what the rule of thumb says: threads for waiting, processes for computing."""
    if profile is None:
        return None
    return "threads" if profile.waits else "processes"


# ---- WHY -----------------------------------------------------------------------------------------


def why_lines(record: RunRecord, forecasts: Sequence[Forecast]) -> list[str]:
    """Return where the time of a call goes, and which ceiling stops which kind of plan."""
    if record.profile is None:
        return []
    lines = call_lines(record.profile, record.machine.facts.gil)
    return [*lines, *ceiling_lines(record, forecasts)]


def call_lines(profile: TaskProfile, gil: bool) -> list[str]:
    """Return where the time of one call goes."""
    parts = []
    if profile.waiting > _NOT_WORTH_A_WORD * profile.wall:
        parts.append(f"waits {duration(profile.waiting)}")
    if profile.cpu > 0.0 or not parts:
        parts.append(f"computes {duration(profile.cpu)}")
    line = f"one call {' and '.join(parts)}"
    if gil and profile.cpu > _NOT_WORTH_A_WORD * profile.wall:
        line += gil_phrase(profile)
    lines = [line]
    if profile.paging > _NOT_WORTH_A_WORD * profile.wall:
        lines.append(
            f"of that {duration(profile.paging)} goes to memory that it frees and wants again: "
            "worker processes keep it"
        )
    if profile.helpers > max(_NOTHING, _NOT_WORTH_A_WORD * profile.wall):
        helpers = duration(profile.helpers)
        lines.append(f"its own threads and child processes use {helpers} of CPU besides")
    return lines


def gil_phrase(profile: TaskProfile) -> str:
    """Return how much of the computing holds the GIL, or that it is not known."""
    low, high = profile.gil_low, profile.gil_high
    if not profile.gil_known:
        most = f"at most {duration(high)}" if low <= 0.0 else f"{duration(low)} to {duration(high)}"
        return f", {most} of it holding the GIL (not measured closer)"
    held = gil_time(profile)
    if held >= 0.9 * profile.cpu:
        return " holding the GIL"
    if held <= 0.1 * profile.cpu:
        return " with the GIL released"
    return f", {duration(held)} of it holding the GIL"


def ceiling_lines(record: RunRecord, forecasts: Sequence[Forecast]) -> list[str]:
    """Return where each kind of plan stops, and what a start costs if that decides."""
    fastest: dict[str, Forecast] = {}
    for each in possible(forecasts):
        name = family(each.plan)
        if name not in fastest or each.rate > fastest[name].rate:
            fastest[name] = each
    loop = fastest.pop("a plain loop", None)
    said = [] if loop is None else [f"a plain loop runs {calls_per_second(loop.rate)} calls/s"]
    for name in sorted(fastest, key=lambda name: fastest[name].rate):
        rate = calls_per_second(fastest[name].rate)
        said.append(f"{_stop_name(name)} {rate} ({_stopped_by(fastest[name], record)})")
    return [*wrap(", ".join(said), _WIDTH), *_start_lines(forecasts)]


def _stop_name(name: str) -> str:
    return "both together reach" if "×" in name else f"{name} stop at"


def _stopped_by(forecast: Forecast, record: RunRecord) -> str:
    if too_few(forecast, calls_of(record)):
        return "no more inputs"
    if not explained(forecast):
        return "as measured: no ceiling explains it"
    match forecast.ceilings.binding:
        case "concurrency":
            return f"{forecast.plan.concurrency} at once"
        case "gil":
            return "GIL" if forecast.plan.mechanism == "thread" else "the GIL of each"
        case "cores":
            return f"{_cpus(record.machine.facts)} are full"
        case "outside":
            return "what it waits for is full"
        case _:
            return "handing over calls"


def _start_lines(forecasts: Sequence[Forecast]) -> Iterator[str]:
    """Say what starting costs, where a plan with a higher rate is not taken for it."""
    if not possible(forecasts[:1]):
        return
    chosen = forecasts[0]
    faster = [f for f in possible(forecasts) if f.rate > 1.05 * chosen.rate]
    held_back = [f for f in faster if f.startup > chosen.startup and f.makespan > chosen.makespan]
    if held_back:
        dearest = min(held_back, key=lambda each: each.makespan)
        yield (
            f"starting {dearest.plan} takes {duration(dearest.startup)}; "
            f"{_the(chosen.plan)} is done in {time(chosen.makespan)}"
        )


def _the(plan: Plan) -> str:
    return "the loop" if plan.mechanism == "inline" else str(plan)


# ---- the candidates ------------------------------------------------------------------------------


def candidate_lines(record: RunRecord, forecasts: Sequence[Forecast]) -> list[str]:
    """Return the table of all candidates: the chosen one, the others by makespan, refused ones."""
    if not forecasts:
        return []
    measured = any(each.measured is not None for each in forecasts)
    header = ["plan", _makespan_heading(record), "calls/s: forecast", "bound by"]
    if measured:
        header.insert(3, "measured*")
    rest = sorted(forecasts[1:], key=lambda each: (each.refusal is not None, each.makespan))
    rows = list(_rows((forecasts[0], *rest), calls_of(record), measured))
    lines = [table(header, rows, left=[0, len(header) - 1])]
    if measured:
        lines.append("* on inputs of its own; no input ran twice")
    if any(row[-1].endswith(_MARK) for row in rows):
        lines.append(
            f"{_MARK} shorter than the plan to take, but by less than forecasts err "
            f"({MARGIN:.0%}): what is simpler, or has run here, is taken".replace("%", " %")
        )
    return lines


def _makespan_heading(record: RunRecord) -> str:
    return "forecast" if record.total else f"per {calls_of(record):,}"


def _rows(forecasts: Sequence[Forecast], calls: int, measured: bool) -> Iterator[list[str]]:
    said: set[str] = set()
    for each in forecasts:
        if each.refusal is not None:
            reason = str(each.refusal)
            yield [str(each.plan), "refused: " + ("as above" if reason in said else reason)]
            said.add(reason)
            continue
        row = [str(each.plan), time(each.makespan), calls_per_second(each.predicted)]
        if measured:
            row.append("" if each.measured is None else calls_per_second(each.measured))
        reason = bound_by(each, calls)
        yield [*row, f"{reason} {_MARK}" if _seems_shorter(each, forecasts[0]) else reason]


def _seems_shorter(forecast: Forecast, chosen: Forecast) -> bool:
    """Whether the table would show a shorter makespan than that of the plan to take."""
    shorter = forecast.makespan < chosen.makespan
    return shorter and time(forecast.makespan) != time(chosen.makespan)


# ---- the rest ------------------------------------------------------------------------------------


def here_lines(facts: Facts) -> list[str]:
    """Return the machine as this process may use it."""
    parts = [
        f"{facts.python}, GIL {'on' if facts.gil else 'off'}",
        f"{_cpus(facts)} ({facts.cpu_limit})",
    ]
    if facts.free_memory is not None:
        parts.append(f"{size(facts.free_memory)} free")
    return [" · ".join(parts)]


def _cpus(facts: Facts) -> str:
    return f"{facts.usable_cpus:.3g} usable CPU{'' if facts.usable_cpus == 1 else 's'}"


def sample_lines(record: RunRecord) -> list[str]:
    """Return what was run to find out."""
    ended = record.done + record.failed
    if not ended:
        return []
    errors = f", {plural(record.failed, 'error')} among them" if record.failed else ""
    took = time(record.elapsed)
    end = "; none are left to verify plans on" if record.total == ended else ""
    return [f"{plural(ended, 'input')} ran in {took}, results kept{errors}{end}"]


def change_lines(forecasts: Sequence[Forecast], changes: Sequence[Change]) -> list[str]:
    """Return what would make another plan the one to take."""
    return [_change(each, forecasts[0]) for each in changes]


def _change(change: Change, chosen: Forecast) -> str:
    plan, inputs = change.forecast.plan, _about(change.inputs)
    match change.kind:
        case "fewer_inputs":
            return f"below {inputs}: {plan}{_start_of(chosen, change.forecast)}"
        case "more_inputs":
            return f"above {inputs}: {plan}{_start_of(change.forecast, chosen)}"
        case "free_threaded":
            if change.same:
                return "free-threaded build: no gain"
            return f"free-threaded build: {plan} would do, {time(change.forecast.makespan)}"


def _about(inputs: int) -> str:
    """Write a break-even as exactly as it is known: two digits."""
    if inputs < 100:
        return plural(inputs, "input")
    return f"about {plural(round(inputs, 2 - len(str(inputs))), 'input')}"


def _start_of(dear: Forecast, cheap: Forecast) -> str:
    """Say what the plan that pays with many inputs takes to start."""
    if dear.startup <= cheap.startup:
        return ""
    return f" ({_subject(dear.plan)} {duration(dear.startup)} to start)"


def _subject(plan: Plan) -> str:
    return "workers take" if plan.mechanism == "process" else "threads take"


def pin_lines(forecasts: Sequence[Forecast]) -> list[str]:
    """Return how to ask for the plan without measuring again."""
    if not possible(forecasts[:1]):
        return []
    spec = forecasts[0].plan.spec
    return [f'--plan {spec}    plan="{spec}"']
