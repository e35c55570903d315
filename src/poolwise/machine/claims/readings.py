"""Readings: how a rule gets at a figure, and what the figure is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from poolwise.machine.claims.text import Text, joined
from poolwise.machine.claims.vocabulary import (
    DIMENSION_MISSING,
    FIELDS,
    FIGURE_MISSING,
    key_text,
)
from poolwise.machine.measured import Measured
from poolwise.timing.sample import Figure, Gap, Sample

_COMMA = Text(", ", "、")
_COLON = Text(": ", "：")


class Reading(Protocol):
    """Where to find one figure of a machine."""

    @property
    def label(self) -> Text:
        """What it is called."""

    def figure(self, measured: Measured, /) -> Figure:
        """Return it, or the gap that is there instead; never raises."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a dimension record: ``Field("isolation.same_pid", "thread")``."""

    path: str
    keys: tuple[str | int, ...] = ()

    @property
    def label(self) -> Text:
        """The keys, then what the field is called."""
        parts = [FIELDS[self.path]]
        if self.keys:
            keys = (key_text(key, self.path) for key in self.keys)
            parts.insert(0, joined(keys, by=_COMMA))
        return joined(parts, by=_COLON)

    def figure(self, measured: Measured) -> Figure:
        """Return the field's figure; a key or a dimension that is not there is a gap."""
        dimension, _, name = self.path.partition(".")
        record = getattr(measured, dimension)
        if record is None:
            return Gap(DIMENSION_MISSING)
        value: object = getattr(record, name)
        for key in self.keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value if isinstance(value, Sample | Gap) else Gap(FIGURE_MISSING)


@dataclass(frozen=True, slots=True)
class Lowest:
    """The lowest of several figures, by the median; those that are missing do not count."""

    name: Text
    path: str
    keys: tuple[str, ...]

    @property
    def label(self) -> Text:
        """What the lowest stands for, then what the field is called."""
        return joined([self.name, FIELDS[self.path]], by=_COLON)

    def figure(self, measured: Measured) -> Figure:
        """Return the lowest figure, or the first gap if there is none."""
        figures = [Field(self.path, (key,)).figure(measured) for key in self.keys]
        samples = [figure for figure in figures if isinstance(figure, Sample)]
        return min(samples, key=lambda sample: sample.median) if samples else figures[0]


@dataclass(frozen=True, slots=True)
class Speedup:
    """Speedup with a worker for each usable CPU, but at least two."""

    work: str
    mechanism: str

    @property
    def label(self) -> Text:
        """The kind of work and the mechanism."""
        return Text(
            f"{key_text(self.work).en}, a {self.mechanism} for each CPU: speedup",
            f"{key_text(self.work).zh}、每个 CPU 一个{key_text(self.mechanism).zh}：加速比",
        )

    def figure(self, measured: Measured) -> Figure:
        """Return the speedup with so many workers."""
        workers = max(2, measured.facts.whole_cpus)
        return Field("concurrency.speedup", (self.work, self.mechanism, workers)).figure(measured)


@dataclass(frozen=True, slots=True)
class GilFact:
    """Whether this interpreter runs with the GIL."""

    @property
    def label(self) -> Text:
        """What it is called."""
        return Text("this interpreter has its GIL on", "此解释器启用了 GIL")

    def figure(self, measured: Measured) -> Figure:
        """Return it as a yes or a no."""
        return _yes(measured.facts.gil)


@dataclass(frozen=True, slots=True)
class CpuFact:
    """How many CPUs this process may use."""

    @property
    def label(self) -> Text:
        """What it is called."""
        return Text("usable CPUs", "可用 CPU 数")

    def figure(self, measured: Measured) -> Figure:
        """Return the number, a fraction under a quota."""
        return Sample("1", (measured.facts.usable_cpus,))


@dataclass(frozen=True, slots=True)
class Printed:
    """Whether an example program printed what it is written to print."""

    kind: str
    expected: str

    @property
    def label(self) -> Text:
        """What is asked of the program."""
        name = key_text(self.kind)
        return Text(
            f"the {name.en} program as it stands prints {self.expected!r}",
            f"{name.zh}示例原样运行，输出 {self.expected!r}",
        )

    def figure(self, measured: Measured) -> Figure:
        """Return it as a yes or a no."""
        if measured.implementation is None:
            return Gap(DIMENSION_MISSING)
        program = measured.implementation.programs.get(self.kind)
        if program is None:
            return Gap(FIGURE_MISSING)
        return _yes(program.output.strip() == self.expected)


@dataclass(frozen=True, slots=True)
class SameThroughWorker:
    """Whether an example program printed the same through `poolwise.Worker`."""

    kind: str

    @property
    def label(self) -> Text:
        """What is asked of the program."""
        name = key_text(self.kind)
        return Text(
            f"the {name.en} program prints the same through poolwise.Worker",
            f"{name.zh}示例改用 poolwise.Worker 后输出相同",
        )

    def figure(self, measured: Measured) -> Figure:
        """Return it as a yes or a no."""
        if measured.implementation is None:
            return Gap(DIMENSION_MISSING)
        program = measured.implementation.programs.get(self.kind)
        return Gap(FIGURE_MISSING) if program is None else _yes(program.same)


@dataclass(frozen=True, slots=True)
class Took:
    """How long an example program took, the interpreter's start included."""

    kind: str

    @property
    def label(self) -> Text:
        """What it is called."""
        name = key_text(self.kind)
        return Text(f"the {name.en} program took", f"{name.zh}示例耗时")

    def figure(self, measured: Measured) -> Figure:
        """Return the duration."""
        if measured.implementation is None:
            return Gap(DIMENSION_MISSING)
        program = measured.implementation.programs.get(self.kind)
        return Gap(FIGURE_MISSING) if program is None else program.took


def _yes(value: bool) -> Sample:
    return Sample("yes", (float(value),))
