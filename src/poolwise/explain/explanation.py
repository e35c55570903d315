"""From a record to an explanation."""

from __future__ import annotations

from dataclasses import dataclass

from poolwise.cost import Forecast
from poolwise.executor.record import RunRecord


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a workload ran, or should run, as it does: `print` it, `to_json` it, run its `code`."""

    text: str
    code: str

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> str:
        """Return."""
        return "{}"


def explain_run(record: RunRecord) -> Explanation:
    """Explain a run."""
    return Explanation(repr(record.phases), "")


def explain_advice(record: RunRecord, forecasts: tuple[Forecast, ...]) -> Explanation:
    """Explain advice."""
    return Explanation(repr(forecasts), "")
