"""Measure what a call costs that does nothing, beside what other libraries take for it.

Everything is measured with two workers unless it says otherwise, in one run on one machine. Each
figure comes from a process of its own, in which one library opens one pool, so nothing that a
library leaves behind is measured with another; and in each round all take turns, in another order.
Shown are medians over the rounds, with the best and the worst. A ratio is taken within each round.

map        calls a second of a map over no-ops, as each library maps when told nothing else
submit     calls a second of no-ops that are submitted one by one, all results awaited
trip       one call there and back, to one warm worker; also with the caller on one CPU and the
           worker on another (pinned); bare pipes and sockets between two processes beside it, and
           the least that an executor with a thread of its own can be
cold       from just before the pool is made until the first result, imports apart (of an executor;
           of a map, whose workers are forks); then until each of 2 and of 6 workers runs a call,
           for each of them; beside it the least that workers can be whose parent is another process
memory     private bytes of an idle worker after one call (what its end would free), and of all
           other processes that the library has started (of an executor; of a map, whose workers
           are forks); beside it the same least
generator  a map over a generator: what the peak of the caller's memory grows by, for a million
           calls and for ten times as many; that results come in order is checked
maps       a map of 20 calls of a millisecond, again and again; `poolwise.map` beside pools that
           stay open

How to read it: the last table has one row for each thing that is promised. A peer that is not
installed is shown as such; `pip install -e '.[bench]'` brings all but Ray. Where a library is
missing in a topic, it has no such call (joblib runs one worker as a loop, and submits nothing).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _peers import KINDS
from _report import begin, interleaved, machine, median, options, spread, table

from poolwise.units import duration, rate

#: A contestant that takes longer, in seconds, is ended: some libraries can hang.
_LONGEST = 120.0

_SCRIPT = Path(__file__).with_name("_contestant.py")


@dataclass
class Contestant:
    """One row: a measure with its arguments, and the figures of all rounds."""

    name: str
    measure: str
    arguments: dict[str, Any]
    figures: list[dict[str, float]] = field(default_factory=list)
    trouble: str = ""

    @property
    def installed(self) -> bool:
        """Whether it can be measured here; what is no library can."""
        kind = KINDS.get(self.arguments["name"])
        return kind is None or kind.installed

    def run(self) -> float:
        """Measure once, in a fresh process."""
        began = [sys.executable, str(_SCRIPT), json.dumps([self.measure, self.arguments])]
        with subprocess.Popen(
            began, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                printed, complaint = process.communicate(timeout=_LONGEST)
            except subprocess.TimeoutExpired:
                printed, complaint = "", f"did not end within {duration(_LONGEST)}"
            except BaseException:
                _end(process)
                raise
            _end(process)
        try:
            self.figures.append(json.loads(printed.strip().rpartition("\n")[2]))
        except ValueError:
            self.trouble = (complaint.strip().splitlines() or ["it printed nothing"])[-1]
        return 0.0


def _end(process: subprocess.Popen[str]) -> None:
    """Kill whatever a contestant has left running; its session is its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Topic:
    """Contestants in one kind of figures, and how these are shown."""

    headline: str
    rows: list[Contestant]
    columns: dict[str, Callable[[float], str]]


def per_second(calls: float) -> str:
    """Write a throughput."""
    return f"{rate(calls)}/s"


def mebibytes(size: float) -> str:
    """Write a size in memory."""
    return f"{size / (1 << 20):.1f} MB"


# ---- who is measured in what ---------------------------------------------------------------------


#: The least that workers can be whose parent is another process.
_BARE_FORKS = "bare forks of a fork"


def maps_of_no_ops(less: int) -> Topic:
    """Return who maps no-ops; the slow ones map fewer."""
    many, some, few = 1_000_000 // less, 200_000 // less, 20_000 // less
    calls = {
        "poolwise": many,
        "poolwise process": many,
        "Pool": many,
        "Pool chunks of 1000": many,
        "mpire": many,
        "joblib": some,
        "stdlib fork": few,
        "stdlib forkserver": few,
        "loky": few,
    }
    rows = [
        Contestant(f"{name}, {count:,} calls", "map_throughput", {"name": name, "calls": count})
        for name, count in calls.items()
    ]
    return Topic("map of no-ops", rows, {"calls a second": per_second})


def submissions(less: int) -> Topic:
    """Return who takes calls one by one."""
    names = ["poolwise", "poolwise process", "Pool", "stdlib fork", "stdlib forkserver"]
    names += ["stdlib spawn", "loky", "mpire", "pebble", "ray"]
    arguments = {"calls": 20_000 // less}
    rows = [Contestant(name, "submit_throughput", {"name": name, **arguments}) for name in names]
    return Topic(f"submit, {arguments['calls']:,} no-ops", rows, {"calls a second": per_second})


def round_trips(less: int) -> Topic:
    """Return who sends a call there and back."""
    names = ["poolwise process", "poolwise map of one", "Pool", "stdlib fork", "stdlib forkserver"]
    names += ["stdlib spawn", "loky", "mpire", "pebble", "ray"]
    bare = ["bare pipe", "bare socket pair", "multiprocessing.Pipe"]
    how = {"": False, ", pinned": True} if len(os.sched_getaffinity(0)) > 1 else {"": False}
    rows = [
        Contestant(name + suffix, measure, {"name": name, "calls": 5_000 // less, "pinned": pinned})
        for suffix, pinned in how.items()
        for measure, group in (
            ("round_trip", names),
            ("bare_round_trip", bare),
            ("bare_executor", ["bare executor"]),
        )
        for name in group
    ]
    return Topic("there and back", rows, {"p50": duration, "p90": duration})


def cold_starts() -> Topic:
    """Return who starts from nothing."""
    names = ["poolwise process", "stdlib fork", "stdlib forkserver", "stdlib spawn", "Pool"]
    names += ["loky", "joblib", "mpire", "pebble", "ray"]
    rows = [Contestant(name, "cold", {"name": name, "workers": 2}) for name in names]
    mapped = {"name": "poolwise process", "workers": 2}
    rows.append(Contestant("poolwise map, forks", "cold_map", mapped))
    rows.append(Contestant(_BARE_FORKS, "bare_cold", {"name": _BARE_FORKS, "workers": 2}))
    return Topic("cold start", rows, {"import": duration, "first result": duration})


def further_workers(less: int) -> Topic:
    """Return who starts several workers."""
    names = ["poolwise process", "stdlib fork", "stdlib forkserver", "stdlib spawn", "Pool"]
    names += ["loky", "mpire", "pebble"]
    rows = [
        Contestant(
            f"{name}, each of {workers}{word}",
            "all_answered",
            {"name": name, "workers": workers, "beside": beside},
        )
        for word, beside in (("", []), (", NumPy loaded", ["numpy"]))
        for name in names
        if not beside or name in ("poolwise process", "stdlib forkserver", "stdlib spawn", "loky")
        for workers in ((2,) if less > 1 else (2, 6))
    ]
    for workers in (2,) if less > 1 else (2, 6):
        arguments = {"name": _BARE_FORKS, "workers": workers}
        rows.append(Contestant(f"{_BARE_FORKS}, each of {workers}", "bare_cold", arguments))
    return Topic("all workers at a call", rows, {"each": duration})


def idle_workers() -> Topic:
    """Return whose workers occupy memory."""
    names = ["poolwise process", "stdlib fork", "stdlib forkserver", "stdlib spawn", "Pool"]
    names += ["loky", "joblib", "mpire", "pebble"]
    rows = [Contestant(name, "memory", {"name": name}) for name in names]
    rows.append(Contestant("poolwise map, forks", "memory_of_map", {"name": "poolwise process"}))
    rows.append(Contestant(_BARE_FORKS, "bare_memory", {"name": _BARE_FORKS}))
    return Topic("private memory", rows, {"a worker": mebibytes, "others": mebibytes})


def generators(less: int) -> Topic:
    """Return who maps over a generator, few calls and many."""
    rows = [
        Contestant(f"{name}, {calls:,} calls", "generated", {"name": name, "calls": calls})
        for name in ("poolwise", "poolwise process")
        for calls in (1_000_000 // less, 10_000_000 // less)
    ]
    return Topic("a generator", rows, {"growth": mebibytes, "calls a second": per_second})


def repeated_maps(maps: int) -> Topic:
    """Return who maps again and again."""
    names = ["poolwise", "poolwise process", "poolwise executor map", "Pool", "stdlib fork"]
    rows = [Contestant(name, "many_maps", {"name": name, "maps": maps}) for name in names]
    return Topic(f"{maps:,} maps of 20 x 1 ms", rows, {"seconds a map": duration})


# ---- what is promised ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """A ratio of two rows of a topic, and its bound.

    Of several rivals the one with the better median counts.
    """

    topic: str
    figure: str
    ours: str
    rivals: tuple[str, ...]
    bound: float
    at_least: bool

    def row(self, topic: Topic) -> list[str] | None:
        """Compare, round by round; ``None`` where a row has no figures."""
        rows = {row.name: row for row in topic.rows if row.figures}
        ours = _begins(rows, self.ours)
        rivals = [row for name in self.rivals if (row := _begins(rows, name))]
        if ours is None or not rivals:
            return None
        best = max if self.at_least else min
        rival = best(rivals, key=lambda row: median([each[self.figure] for each in row.figures]))
        ratios = [
            one[self.figure] / other[self.figure]
            for one, other in zip(ours.figures, rival.figures, strict=False)
        ]
        ratio = median(ratios)
        met = ratio >= self.bound if self.at_least else ratio <= self.bound
        sign = ">=" if self.at_least else "<="
        goal = f"{sign} {self.bound:g}"
        around = spread(ratios, "{:.2f}".format)
        what = f"{topic.headline}: {ours.name} / {rival.name}, {self.figure}"
        return [what, f"{ratio:.2f}", around, goal, "yes" if met else "NO"]


def _begins(rows: dict[str, Contestant], name: str) -> Contestant | None:
    """Return the row of that name, whatever number of calls follows it."""
    found = [row for full, row in rows.items() if full == name or full.startswith(name + ", ")]
    return found[0] if found else None


_PINNED = ", pinned"

GOALS = [
    Goal("map", "calls a second", "poolwise", ("joblib",), 5.0, True),
    Goal("map", "calls a second", "poolwise", ("Pool chunks of 1000",), 1.0, True),
    Goal("map", "calls a second", "poolwise process", ("joblib",), 5.0, True),
    Goal("map", "calls a second", "poolwise process", ("Pool chunks of 1000",), 1.0, True),
    Goal("submit", "calls a second", "poolwise", ("Pool",), 2.0, True),
    Goal("submit", "calls a second", "poolwise process", ("Pool",), 2.0, True),
    Goal("trip", "p50", "poolwise process", ("stdlib forkserver",), 0.8, False),
    Goal("trip", "p50", "poolwise map of one", ("stdlib forkserver",), 0.8, False),
    Goal("trip", "p50", "poolwise process" + _PINNED, ("bare pipe" + _PINNED,), 1.3, False),
    Goal("trip", "p50", "poolwise map of one" + _PINNED, ("bare pipe" + _PINNED,), 1.3, False),
    *(
        Goal(
            "maps",
            "seconds a map",
            ours,
            ("poolwise executor map", "Pool", "stdlib fork"),
            1.15,
            False,
        )
        for ours in ("poolwise", "poolwise process")
    ),
]


# ---- the run -------------------------------------------------------------------------------------


def derive(topics: dict[str, Topic]) -> None:
    """Add the figures that follow from others."""
    for row in topics["cold workers"].rows if "cold workers" in topics else ():
        for figures in row.figures:
            figures["each"] = figures["all answered"] / row.arguments["workers"]


def show(topic: Topic) -> str:
    """Return the table of a topic."""
    cells = []
    for row in topic.rows:
        line = [row.name]
        for column, write in topic.columns.items():
            values = [each[column] for each in row.figures]
            line += [write(median(values)), spread(values, write)] if values else ["", ""]
        line.append("not installed" if not row.installed else row.trouble)
        cells.append(line)
    head = [topic.headline]
    for column in topic.columns:
        head += [column, "best – worst"]
    return table([*head, ""], cells, left=(0, len(head)))


def goals(topics: dict[str, Topic]) -> str:
    """Return the table of what is promised."""
    rows = [row for goal in GOALS if goal.topic in topics for row in [goal.row(topics[goal.topic])]]
    head = ["promised", "ratio", "best – worst", "goal", "met"]
    return table(head, [row for row in rows if row is not None])


def raw(topics: dict[str, Topic]) -> dict[str, Any]:
    """Return all figures of all rounds."""
    return {
        name: {row.name: row.figures or row.trouble or "not installed" for row in topic.rows}
        for name, topic in topics.items()
    }


def main() -> None:
    """Measure everything in turns, print it by topic, and the goals last."""
    parser = options(__doc__, rounds=5)
    names = ["map", "submit", "trip", "cold", "memory", "generator", "maps"]
    parser.add_argument("--only", choices=names, action="append", help="this topic (repeatable)")
    parser.add_argument("--peer", action="append", help="only rows with this in their name")
    parser.add_argument("--maps", type=int, default=100, help="how many maps in a row (100)")
    parser.add_argument("--json", type=Path, help="write the raw figures to this file")
    given = begin(parser)
    less = 100 if given.smoke else 1
    topics = {
        "map": maps_of_no_ops(less),
        "submit": submissions(less),
        "trip": round_trips(less),
        "cold": cold_starts(),
        "cold workers": further_workers(less),
        "memory": idle_workers(),
        "generator": generators(less),
        "maps": repeated_maps(2 if given.smoke else given.maps),
    }
    if given.only:
        topics = {name: each for name, each in topics.items() if name.split()[0] in given.only}
    contestants = {
        f"{name}: {row.name}": row.run
        for name, topic in topics.items()
        for row in topic.rows
        if row.installed and (not given.peer or any(each in row.name for each in given.peer))
    }
    interleaved(contestants, rounds=given.rounds, seed=given.seed)
    derive(topics)
    for topic in topics.values():
        print(f"\n{show(topic)}")
    print(f"\n{goals(topics)}")
    if given.json:
        kept = {"machine": machine(), "rounds": given.rounds, "figures": raw(topics)}
        given.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
