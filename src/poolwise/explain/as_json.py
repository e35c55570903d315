"""An explanation as JSON. ``README.md`` beside this file lists the keys."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TypeAlias

from poolwise.cost import Forecast
from poolwise.executor.record import RunRecord
from poolwise.explain.changes import Change
from poolwise.explain.words import bound_by, calls_of
from poolwise.plan import Plan
from poolwise.probe import TaskProfile
from poolwise.wisdom import Entry

#: Grows when a key goes or changes its meaning; new keys may come without.
FORMAT = 1

Document: TypeAlias = dict[str, object]


def written(document: Mapping[str, object]) -> str:
    """Return `document` as JSON; ASCII, so that it survives any terminal and any pipe."""
    return json.dumps(document, indent=2, allow_nan=False)


def run_document(record: RunRecord, code: str) -> Document:
    """Return the document of a run."""
    return {
        **_common("run", record),
        "plan": _plan(record.plan),
        "pinned": record.pinned,
        "finished": record.finished,
        "started": record.started,
        "done": record.done,
        "failed": record.failed,
        "lost_workers": record.lost_workers,
        "killed_workers": record.killed_workers,
        "retried": record.retried,
        "elapsed": _figure(record.elapsed),
        "forecast": _figure(record.forecast),
        "phases": [{"at": _figure(each.at), "text": each.text} for each in record.phases],
        "uses": [
            {
                "plan": _plan(each.plan),
                "calls": each.calls,
                "wall": _figure(each.wall),
                "service": _figure(each.service),
                "cpu": _figure(each.cpu),
                "rate": _figure(each.rate),
            }
            for each in record.uses
        ],
        "forecasts": [_forecast(each) for each in record.forecasts],
        "remembered": None if record.remembered is None else _entry(record.remembered),
        "kept": record.kept,
        "partly": list(record.partly),
        "code": code,
    }


def advice_document(
    record: RunRecord, forecasts: Sequence[Forecast], changes: Sequence[Change], code: str
) -> Document:
    """Return the document of an advice."""
    calls = calls_of(record)
    return {
        **_common("advice", record),
        "plan": _plan(forecasts[0].plan) if forecasts else None,
        "inputs": calls,
        "sampled": record.done + record.failed,
        "sampled_for": _figure(record.elapsed),
        "forecasts": [_forecast(each, calls) for each in forecasts],
        "changes": [
            {
                "kind": each.kind,
                "inputs": each.inputs,
                "plan": _plan(each.forecast.plan),
                "makespan": _figure(each.forecast.makespan),
                "same": each.same,
            }
            for each in changes
        ],
        "code": code,
    }


def _common(kind: str, record: RunRecord) -> Document:
    facts = record.machine.facts
    return {
        "format": FORMAT,
        "kind": kind,
        "task": record.task.name,
        "total": record.total,
        "machine": {
            "python": facts.python,
            "gil": facts.gil,
            "usable_cpus": _figure(facts.usable_cpus),
            "cpu_limit": facts.cpu_limit,
            "free_memory": facts.free_memory,
        },
        "profile": None if record.profile is None else _profile(record.profile),
    }


def _profile(profile: TaskProfile) -> Document:
    return {
        "calls": profile.calls,
        "wall": _figure(profile.wall),
        "waiting": _figure(profile.waiting),
        "cpu": _figure(profile.cpu),
        "helpers": _figure(profile.helpers),
        "gil_low": _figure(profile.gil_low),
        "gil_high": _figure(profile.gil_high),
        "outside": _figure(profile.outside),
        "paging": _figure(profile.paging),
        "payload": {
            "caller": _figure(profile.payload.caller),
            "worker": _figure(profile.payload.worker),
            "bytes_in": profile.payload.bytes_in,
            "bytes_out": profile.payload.bytes_out,
            "carried": profile.payload.carried,
        },
    }


def _entry(entry: Entry) -> Document:
    """Return of which run the plan was remembered."""
    return {
        "plan": _plan(entry.plan),
        "calls": entry.calls,
        "elapsed": _figure(entry.elapsed),
        "at": _figure(entry.at),
    }


def _plan(plan: Plan) -> Document:
    return {
        "spec": plan.spec,
        "mechanism": plan.mechanism,
        "workers": plan.workers,
        "threads_per_worker": plan.threads_per_worker,
        "batch_size": plan.batch_size,
    }


def _forecast(forecast: Forecast, calls: int | None = None) -> Document:
    able, refusal = forecast.refusal is None, forecast.refusal
    limits = forecast.ceilings
    return {
        "plan": _plan(forecast.plan),
        "makespan": _figure(forecast.makespan) if able else None,
        "startup": _figure(forecast.startup) if able else None,
        "straggler": _figure(forecast.straggler) if able else None,
        "predicted": _figure(forecast.predicted) if able else None,
        "measured": _figure(forecast.measured),
        "ceilings": {name: _figure(value) for name, value in asdict(limits).items()},
        "binding": limits.binding if able and math.isfinite(limits.lowest) else None,
        "bound_by": bound_by(forecast, calls) if able else None,
        "refusal": None if refusal is None else asdict(refusal),
    }


def _figure(value: float | None) -> float | None:
    """Return `value`, or ``None`` where it is no number: JSON has neither infinity nor NaN."""
    return value if value is not None and math.isfinite(value) else None
