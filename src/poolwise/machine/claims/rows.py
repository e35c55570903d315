"""The words that rows are written in: each makes one condition, reading or rule."""

from __future__ import annotations

from poolwise.machine.claims.claim import Claim
from poolwise.machine.claims.conditions import (
    YES,
    All,
    Asked,
    Condition,
    Less,
    NotClearly,
    is_above,
    was_above,
)
from poolwise.machine.claims.readings import CpuFact, Field, Lowest, Reading
from poolwise.machine.claims.rules import Case, Cases, Explained, Facets, Rule
from poolwise.machine.claims.text import Text

#: A speedup above this is a gain. On a busy machine two threads of pure Python reached 1.24 of one
#: that had run just before, when others had the CPU; a third of a second CPU gives more than this.
GAIN = 1.3

#: Work that takes longer than this beside a neighbour is disturbed by it; less is the noise of a
#: machine that others use too.
DISTURBED = 1.1


def row(id: str, en: str, zh: str, rule: Rule, *, beside: tuple[Reading, ...] = ()) -> Claim:
    """Return a claim."""
    return Claim(id, Text(en, zh), rule, beside)


def figure(path: str, *keys: str | int) -> Field:
    """Return where a figure is found."""
    return Field(path, keys)


def cheapest_process(path: str) -> Lowest:
    """Return the figure of the start method that is cheapest, of those that there are."""
    name = Text("process, cheapest start method", "进程（最省的启动方式）")
    return Lowest(name, path, ("fork", "forkserver", "spawn"))


def yes(reading: Reading) -> Condition:
    """It is so."""
    return Asked(YES, reading)


def no(reading: Reading) -> Condition:
    """It is not so."""
    return Asked(YES, reading, wanted=False)


def less(less: Reading, more: Reading) -> Condition:
    """The first is clearly less than the second."""
    return Less(less, more)


def not_less(less: Reading, more: Reading) -> Condition:
    """The first is not clearly less than the second; it may be as much."""
    return NotClearly(Less(less, more))


def above(reading: Reading, limit: float) -> Condition:
    """It is clearly more than a number."""
    return Asked(is_above(limit), reading)


def at_most(reading: Reading, limit: float) -> Condition:
    """It is no more than a number."""
    return Asked(is_above(limit), reading, wanted=False)


def gain(reading: Reading) -> Condition:
    """A speedup that is one."""
    return above(reading, GAIN)


def no_gain(reading: Reading) -> Condition:
    """A speedup that is none."""
    return at_most(reading, GAIN)


def ever(reading: Reading, above: float = 0) -> Condition:
    """It happened at least once: a count was above 0, or another number."""
    return Asked(was_above(above), reading)


def never(reading: Reading) -> Condition:
    """It did not happen a single time."""
    return Asked(was_above(0), reading, wanted=False)


def both(*conditions: Condition) -> Condition:
    """All of them."""
    return All(conditions)


def when(*conditions: Condition) -> Rule:
    """It holds when all conditions are met, and depends when only some are."""
    return Facets(conditions)


def first(*cases: Case) -> Rule:
    """The first case that applies decides; if none does, the claim does not hold."""
    return Cases(cases)


def holds(condition: Condition) -> Case:
    """The case in which it holds."""
    return Case("holds", condition)


def fails(condition: Condition) -> Case:
    """The case in which it does not hold."""
    return Case("does_not_hold", condition)


def depends(en: str, zh: str, condition: Condition) -> Case:
    """The case in which it depends on something."""
    return Case("depends", condition, Text(en, zh))


def one_cpu() -> Case:
    """The case in which this process may use hardly more than one CPU: no gain can be seen."""
    return depends(
        "the CPUs: this process may use hardly more than one",
        "CPU 数：本进程可用的几乎不超过一个",
        at_most(CpuFact(), GAIN),
    )


def busy() -> Case:
    """The case in which others had the CPUs, so that no gain could show itself.

    Two processes that compute get two CPUs, if there are two and nobody else wants them.
    """
    return Case(
        "not_measured",
        at_most(figure("concurrency.bytecode_at_once", "process"), GAIN),
        Text("other work kept the CPUs busy", "其他工作占用了 CPU"),
    )


def explained(en: str, zh: str, *beside: Reading) -> Rule:
    """It cannot be seen by a program; here is how it is, and what can be seen."""
    return Explained(Text(en, zh), beside)
