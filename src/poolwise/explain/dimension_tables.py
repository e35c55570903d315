"""The six dimensions as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from poolwise.explain import languages
from poolwise.explain.figures import aside, cell, gaps
from poolwise.explain.table import paragraph, table, wrapped
from poolwise.explain.words import NO_FIGURE
from poolwise.machine.claims import Language, Text
from poolwise.machine.claims.text import joined
from poolwise.machine.claims.vocabulary import FIELDS, gap_text, key_text
from poolwise.machine.dimensions import (
    Communication,
    Concurrency,
    Implementation,
    Isolation,
    Resources,
    Suitability,
)
from poolwise.machine.measured import Measured
from poolwise.timing.sample import Figure, Sample

#: Where the reasons under a table are broken.
_WIDTH = 96

#: So many message sizes have a column; more would not fit into a terminal.
_SIZES = 6

_KINDS = ("thread", "process", "interpreter")
_STARTS = ("thread", "idle", "fork", "forkserver", "server", "spawn", "interpreter")
_POOLS = ("pool 1", "pool 2")
_PLANS = ("loop", "thread", "process")


#: Figures by name, start method, message size, number of workers: whatever a record has.
_Row: TypeAlias = Mapping[Any, Figure]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of figures under a header of keys; a key that no row has is left out."""

    keys: Sequence[str | int]
    rows: Mapping[Text, _Row]
    path: str = ""

    def text(self, language: Language) -> str:
        """Return the table, and under it why figures are missing."""
        keys = [key for key in self.keys if any(key in row for row in self.rows.values())]
        if not keys:
            return ""
        names = [key_text(key, self.path).in_(language) for key in keys]
        figures = {
            label.in_(language): {name: row.get(key) for key, name in zip(keys, names, strict=True)}
            for label, row in self.rows.items()
        }
        lines = [
            [head, *(cell(figure, language) for figure in row.values())]
            for head, row in figures.items()
        ]
        notes = [_note(about, why, language) for about, why in gaps(figures, language)]
        return "\n".join([table(["", *names], lines, left=[0]), *notes])


def _note(about: str, why: str, language: Language) -> str:
    lines = wrapped(
        f"{about}{languages.COLON.in_(language)}{why}", width=_WIDTH - len(NO_FIGURE) - 1
    )
    return "\n".join(paragraph(NO_FIGURE, lines, indent=len(NO_FIGURE) + 1))


def dimension_text(measured: Measured, section: int, language: Language) -> str:
    """Return the tables of one dimension, by its section of the article; or that there are none."""
    tables: dict[int, Callable[[], Iterable[str]]] = {
        1: lambda: _isolation(measured.isolation, language),
        2: lambda: _resources(measured.resources, language),
        3: lambda: _communication(measured.communication, language),
        4: lambda: _concurrency(measured.concurrency, measured.facts.whole_cpus, language),
        5: lambda: _suitability(measured.suitability, language),
        6: lambda: _implementation(measured.implementation, language),
    }
    said = [text for text in tables[section]() if text]
    heading = f"{section}  {languages.SECTIONS[section].in_(language)}"
    return "\n\n".join([heading, *(said or [languages.NOT_MEASURED.in_(language)])])


def _of(record: object, dimension: str, keys: Sequence[str | int], *names: str) -> _Rows:
    """Return rows for some fields of a record, each of which maps such keys to figures."""
    rows = {FIELDS[f"{dimension}.{name}"]: getattr(record, name) for name in names}
    return _Rows(keys, rows)


def _isolation(record: Isolation | None, language: Language) -> Iterable[str]:
    if record is None:
        return
    names = [name.partition(".")[2] for name in FIELDS if name.startswith("isolation.")]
    names.remove("segments")
    yield _of(record, "isolation", _KINDS, *names).text(language)
    yield _of(record, "isolation", ("code", "data", "stack"), "segments").text(language)


def _resources(record: Resources | None, language: Language) -> Iterable[str]:
    if record is None:
        return
    times = ("create", "destroy", "create_and_join", "page_faults")
    yield _of(record, "resources", _STARTS, *times).text(language)
    yield _of(record, "resources", _POOLS, "create_and_join").text(language)
    memory = ("page_tables", "rss", "uss", "pss")
    switches = ("switch", "voluntary_switches", "involuntary_switches")
    work = ("short_tasks", "dispatch")
    yield _of(record, "resources", _KINDS, *memory, *switches, *work).text(language)
    overhead = cell(record.call_overhead, language)
    yield _said(FIELDS["resources.call_overhead"], overhead, language)


def _communication(record: Communication | None, language: Language) -> Iterable[str]:
    if record is None:
        return
    for name in ("latency", "throughput"):
        path = f"communication.{name}"
        by_channel: Mapping[str, _Row] = getattr(record, name)
        sizes = _some({each for row in by_channel.values() for each in row})
        rows = {key_text(channel): row for channel, row in by_channel.items()}
        text = _titled(path, _Rows(sizes, rows, path), language)
        yield f"{text}\n{languages.BY_REFERENCE.in_(language)}" if text else ""
    yield _turned(record, ("carries", "lines", "system_calls", "objects"), language)
    yield _turned(record, ("lock", "contended"), language)
    lost = ("lost_plain", "lost_with_call", "lost_with_lock", "rlock_reentered")
    yield "\n".join(
        _said(FIELDS[f"communication.{name}"], _lost(record, name, language), language)
        for name in lost
    )


def _titled(path: str, rows: _Rows, language: Language) -> str:
    """Return a table under what its figures are; nothing if it has none."""
    text = rows.text(language)
    return f"{FIELDS[path].in_(language)}\n{text}" if text else ""


def _said(label: Text, text: str, language: Language) -> str:
    return f"{label.in_(language)}{languages.COLON.in_(language)}{text}"


def _some(sizes: set[int]) -> list[int]:
    """Return a few sizes, the smallest and the largest among them."""
    found = sorted(sizes)
    if len(found) <= _SIZES:
        return found
    return [found[round(step * (len(found) - 1) / (_SIZES - 1))] for step in range(_SIZES)]


def _turned(record: Communication, names: Sequence[str], language: Language) -> str:
    """Return a table with a row for each key and a column for each field."""
    fields: dict[str, Mapping[str, Figure]] = {name: getattr(record, name) for name in names}
    keys = dict.fromkeys(key for row in fields.values() for key in row)
    rows = {
        key_text(key): {name: row[key] for name, row in fields.items() if key in row}
        for key in keys
    }
    return _Rows(names, rows).text(language)


def _lost(record: Communication, name: str, language: Language) -> str:
    figure: Figure = getattr(record, name)
    if not isinstance(figure, Sample):
        return cell(figure, language) + aside(gap_text(figure.why).in_(language), language)
    if name == "rlock_reentered":
        return cell(figure, language)
    # One attempt that lost is proof, so the worst is told.
    of = record.increments_with_lock if name == "lost_with_lock" else record.increments
    return f"{max(figure.values):,.0f} / {of:,}"


def _concurrency(record: Concurrency | None, cpus: int, language: Language) -> Iterable[str]:
    if record is None:
        return
    workers = {each for kind in record.speedup.values() for row in kind.values() for each in row}
    yield _titled("concurrency.speedup", _speedups(record, max(2, cpus), workers), language)
    two = ("bytecode_at_once", "cpus_at_once")
    yield _of(record, "concurrency", _KINDS, *two).text(language)
    states = ("waiting", "computing", "memory")
    beside = ("heartbeat", "heartbeat_process", "neighbour")
    yield _of(record, "concurrency", states, *beside).text(language)
    interval = cell(record.switch_interval, language)
    yield _said(FIELDS["concurrency.switch_interval"], interval, language)


def _speedups(record: Concurrency, at: int, workers: set[int]) -> _Rows:
    """Return a row for each kind of work and mechanism, the efficiency at its end."""
    rows: dict[Text, _Row] = {}
    for work, by_mechanism in record.speedup.items():
        for mechanism, row in by_mechanism.items():
            label = joined([key_text(work), key_text(mechanism)], by=languages.COMMA)
            rows[label] = row
            if at in row:
                rows[label] = {**row, "efficiency": record.efficiency(work, mechanism, at)}
    return _Rows([*sorted(workers), "efficiency"], rows, "concurrency.speedup")


def _suitability(record: Suitability | None, language: Language) -> Iterable[str]:
    if record is None:
        return
    rows = {key_text(work): row for work, row in record.makespan.items()}
    yield _titled("suitability.makespan", _Rows(_PLANS, rows), language)


def _implementation(record: Implementation | None, language: Language) -> Iterable[str]:
    if record is None:
        return
    texts = (languages.PROGRAM, languages.SAME, languages.TOOK)
    header = ["", *(text.in_(language) for text in texts)]
    rows = [
        [
            key_text(kind).in_(language),
            repr(program.output),
            (languages.YES if program.same else languages.NO).in_(language),
            cell(program.took, language),
        ]
        for kind, program in record.programs.items()
    ]
    yield table(header, rows, left=[0, 1]) if rows else ""
