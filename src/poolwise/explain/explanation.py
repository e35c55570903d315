"""From a record to an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from poolwise.cost import Forecast
from poolwise.executor.record import RunRecord
from poolwise.plan import Plan

# The renderings are imported when something is explained: a run that is not asked pays nothing.


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """Why a workload ran, or should run, as it does: `print` it, `to_json` it, run its `code`.

    `text` is what ``str()`` gives. `code` is a program that does the same by hand, with the
    standard library alone. `document` is what `to_json` writes.
    """

    text: str
    code: str
    document: Mapping[str, object]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<poolwise.Explanation: {self.text.partition(chr(10))[0]}>"

    def to_json(self) -> str:
        """Return the explanation as JSON: seconds, bytes, calls a second.

        ``README.md`` beside this file lists the keys; `format` grows when one changes its
        meaning. What is unknown is null.
        """
        from poolwise.explain.as_json import written

        return written(self.document)


def explain_run(record: RunRecord, *, for_command: bool = False) -> Explanation:
    """Explain a run: what was planned, what happened, what bound it, what was not taken.

    `for_command`: the text says what to write in a command, and not in Python.
    """
    from poolwise.explain.as_json import run_document
    from poolwise.explain.run_text import run_text

    code = _code(record, record.plan)
    text = run_text(record, for_command=for_command)
    return Explanation(text, code, run_document(record, code))


def explain_advice(
    record: RunRecord, forecasts: tuple[Forecast, ...], *, for_command: bool = False
) -> Explanation:
    """Explain advice: the plan to take, what every candidate would cost or why it is refused.

    `forecasts` has the chosen one first; they are for all inputs of `record`, or for 1,000 if
    their number is not known. `for_command` is as in `explain_run`.
    """
    from poolwise.explain.advice_text import advice_text
    from poolwise.explain.as_json import advice_document
    from poolwise.explain.changes import find_changes

    changes = find_changes(record, forecasts)
    code = _code(record, forecasts[0].plan if forecasts else record.plan)
    text = advice_text(record, forecasts, changes, code, for_command=for_command)
    return Explanation(text, code, advice_document(record, forecasts, changes, code))


def _code(record: RunRecord, plan: Plan) -> str:
    from poolwise.explain.as_code import as_code

    service = None if record.profile is None else record.profile.wall
    return as_code(
        plan, record.task.function, service=service, total=record.total, missing=record.missing
    )
