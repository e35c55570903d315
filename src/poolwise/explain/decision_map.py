"""The decision map: which plan wins on this machine, for which work. The model's, not measured.

Work is described by three numbers: how long a task takes alone, the share of that time that holds
the GIL, and the bytes that its arguments and results have. What does not hold the GIL either waits
or computes in C code; the two are different maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from poolwise.cost import Forecast, forecast
from poolwise.cost.model import startup
from poolwise.machine import MachineProfile
from poolwise.machine.dimensions import Communication
from poolwise.plan import Plan
from poolwise.planner import Limits, batch_size, candidates, choose
from poolwise.probe import Payload, TaskProfile
from poolwise.probe.payload import copying
from poolwise.timing.sample import Sample
from poolwise.units import Bytes, Seconds

#: What the time of a task is that does not hold the GIL.
Rest: TypeAlias = Literal["waits", "computes"]

#: What moving bytes takes in the caller, and in the worker.
_Halves: TypeAlias = tuple[Seconds, Seconds]

#: The kinds of plan that the map tells apart.
Family: TypeAlias = Literal["loop", "threads", "processes", "both"]

#: Three task lengths in each decade, from 1 µs to 10 s.
LENGTHS: tuple[Seconds, ...] = tuple(10.0 ** (step / 3 - 6) for step in range(22))

#: Shares of a task's time that hold the GIL.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

#: Bytes that a task's arguments and results have together.
SIZES: tuple[Bytes, ...] = (1_000, 1_000_000, 100_000_000)

#: Tasks of one workload. Fewer move every line to the right: starting workers has to pay.
TASKS = 1_000

#: A plan has to be this much better before the map says that it beats another.
_MARGIN = 1.05

#: A break-even is looked for until it is known to this factor: two digits are shown.
_EXACT = 1.02


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of task: its length alone, the share that holds the GIL, the bytes that it moves."""

    length: Seconds
    share: float
    moved: Bytes
    rest: Rest = "waits"


@dataclass(frozen=True, slots=True)
class Row:
    """The plans that win for one share and one size, by length."""

    share: float
    moved: Bytes
    plans: tuple[Plan, ...]


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From which task length on one kind of plan beats another; ``None`` if it never does.

    It beats it at each greater length too, up to the longest of the map.
    """

    winner: Family
    loser: Family
    share: float
    moved: Bytes
    rest: Rest
    length: Seconds | None


@dataclass(frozen=True, slots=True)
class DecisionMap:
    """Which plan wins for which work, and where one kind of plan starts to beat another."""

    tasks: int
    lengths: tuple[Seconds, ...]
    waits: tuple[Row, ...]
    computes: tuple[Row, ...]
    break_evens: tuple[BreakEven, ...]


def decision_map(machine: MachineProfile, *, tasks: int = TASKS) -> DecisionMap:
    """Return the map of a machine for workloads of so many tasks.

    Bytes cost what was measured there; where communication was not, what forecasts assume.
    """
    model = _Model(machine, _cost_of_bytes(machine.communication), tasks)
    return DecisionMap(
        tasks=tasks,
        lengths=LENGTHS,
        waits=tuple(_rows(model, "waits", SHARES)),
        # With no time left over it is the same map.
        computes=tuple(_rows(model, "computes", SHARES[:-1])),
        break_evens=tuple(_break_evens(model)),
    )


def family(plan: Plan) -> Family:
    """Return the kind of a plan."""
    if plan.mechanism == "inline":
        return "loop"
    if plan.mechanism == "thread":
        return "threads"
    return "processes" if plan.threads_per_worker == 1 else "both"


def _rows(model: _Model, rest: Rest, shares: tuple[float, ...]) -> list[Row]:
    return [
        Row(share, moved, tuple(model.best(Work(each, share, moved, rest)) for each in LENGTHS))
        for moved in SIZES
        for share in shares
    ]


def _break_evens(model: _Model) -> list[BreakEven]:
    wanted: list[tuple[Family, Family, float, Bytes, Rest]] = [
        ("threads", "loop", 0.0, SIZES[0], "waits"),
        ("threads", "loop", 0.0, SIZES[0], "computes"),
        *(("processes", "loop", 1.0, moved, "waits") for moved in SIZES),
        *(("processes", "threads", 1.0, moved, "waits") for moved in SIZES),
        ("both", "threads", 0.5, SIZES[0], "waits"),
    ]
    return [model.break_even(*each) for each in wanted]


@dataclass(frozen=True, slots=True)
class _Model:
    """The cost model with all but the work filled in."""

    machine: MachineProfile
    moving: Callable[[Bytes], _Halves]
    tasks: int

    def best(self, work: Work) -> Plan:
        """Return the plan that the planner would take."""
        return choose(self._forecasts(work)).plan

    def break_even(
        self, winner: Family, loser: Family, share: float, moved: Bytes, rest: Rest
    ) -> BreakEven:
        """Find the least length from which on `winner` beats `loser` at every greater one."""

        def wins(length: Seconds) -> bool:
            return self._beats(winner, loser, Work(length, share, moved, rest))

        low = high = None
        for length in reversed(LENGTHS):
            if not wins(length):
                low = length
                break
            high = length
        while low is not None and high is not None and high / low > _EXACT:
            middle = (low * high) ** 0.5
            low, high = (low, middle) if wins(middle) else (middle, high)
        return BreakEven(winner, loser, share, moved, rest, high)

    def _beats(self, winner: Family, loser: Family, work: Work) -> bool:
        best: dict[Family, Seconds] = {}
        for each in self._forecasts(work):
            kind = family(each.plan)
            best[kind] = min(each.makespan, best.get(kind, each.makespan))
        return winner in best and best[winner] * _MARGIN < best.get(loser, 0.0)

    def _forecasts(self, work: Work) -> list[Forecast]:
        task = self._task(work)
        return [self._forecast(task, plan) for plan in candidates(self.machine, task, Limits())]

    def _forecast(self, task: TaskProfile, plan: Plan) -> Forecast:
        return forecast(
            self.machine,
            task,
            plan,
            self.tasks,
            batch=batch_size(plan, task.wall, self.tasks),
            startup=startup(self.machine, plan, server_running=False),
        )

    def _task(self, work: Work) -> TaskProfile:
        held = work.length * work.share
        gil = held if self.machine.facts.gil else 0.0
        caller, worker = self.moving(work.moved)
        return TaskProfile(
            calls=1,
            wall=work.length,
            cpu=held if work.rest == "waits" else work.length,
            helpers=0.0,
            gil_low=gil,
            gil_high=gil,
            payload=Payload(caller, worker, bytes_in=work.moved),
        )


def _cost_of_bytes(communication: Communication | None) -> Callable[[Bytes], _Halves]:
    """Return what moving so many bytes takes, by the pipe's throughput at the nearest size."""
    measured = {} if communication is None else communication.throughput.get("Pipe", {})
    rates = {
        size: figure.median
        for size, figure in measured.items()
        if isinstance(figure, Sample) and figure.median > 0
    }

    def takes(moved: Bytes) -> _Halves:
        nearest = min(rates, key=lambda size: max(size / moved, moved / size))
        half = moved / rates[nearest] / 2  # one end writes while the other reads
        return half, half

    return takes if rates else copying
