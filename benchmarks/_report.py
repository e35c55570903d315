"""What the benchmarks share: options, rounds that take everyone in turns, medians, tables."""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median

import poolwise
from poolwise.machine import this_machine
from poolwise.units import duration

__all__ = ["begin", "interleaved", "median", "options", "spread", "table"]


def options(doc: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="everything once, on tiny inputs")
    parser.add_argument("--rounds", type=int, help=f"how often each is measured ({rounds})")
    parser.add_argument("--seed", type=int, default=0, help="of the order in each round")
    parser.set_defaults(usual_rounds=rounds)
    return parser


def begin(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and print what the figures are true for."""
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.smoke else given.usual_rounds)
    # A plan in the environment would pin what is to choose by itself.
    os.environ.pop("POOLWISE_PLAN", None)
    # What an earlier run has learnt would make the next another; who wants that says so.
    os.environ["POOLWISE_WISDOM"] = "off"
    # Line by line, because a forked child would write what its parent has in its buffer.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print(machine(), f"{given.rounds} rounds, seed {given.seed}", sep="\n")
    if given.smoke:
        print("--smoke: the inputs are too small for the figures to mean anything")
    return given


def machine() -> str:
    """Describe the machine, the versions, and how busy others keep it."""
    facts = this_machine().facts
    return (
        f"poolwise {poolwise.__version__}, {facts.python}, {platform.system()} "
        f"{platform.release()} {platform.machine()}, {facts.usable_cpus:g} usable CPUs "
        f"({facts.cpu_limit}), load average {os.getloadavg()[0]:.1f}"
    )


def interleaved(
    contestants: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    seed: int,
    once_above: float | None = None,
    always: Collection[str] = (),
) -> dict[str, list[float]]:
    """Measure all contestants in turns, each round in another order; the figures of each.

    Whoever took more than `once_above` times the shortest in the first round is not measured
    again, unless it is to be `always`: a wait of minutes for a figure that decides nothing.
    """
    shuffle = random.Random(seed).shuffle
    figures: dict[str, list[float]] = {name: [] for name in contestants}
    left = list(contestants)
    for number in range(rounds):
        shuffle(left)
        for name in left:
            figures[name].append(contestants[name]())
        if number == 0 and once_above is not None:
            shortest = min(each[0] for each in figures.values())
            left = [
                name for name in left if name in always or figures[name][0] <= once_above * shortest
            ]
    return figures


def spread(values: Sequence[float], show: Callable[[float], str] = duration) -> str:
    """Write the least and the greatest of several values; of one, that there is one."""
    if len(values) == 1:
        return "once"
    return f"{show(min(values))} – {show(max(values))}"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)
) -> str:
    """Set rows under a head, in columns as wide as need be; the columns in `left` to the left."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
