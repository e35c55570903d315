"""The six dimensions as records: what is measured, in which unit. Nothing here measures.

A field is a `Figure`: a `Sample` with its unit, or a `Gap` that says why there is none. Where one
quantity is measured for several things, the field maps their names to figures. Names of kinds:
``"thread"``, ``"process"`` (a worker of poolwise's pool), ``"interpreter"``; by start method
``"fork"``, ``"forkserver"``, ``"spawn"``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from poolwise.timing.sample import Figure, Gap


@dataclass(frozen=True, slots=True)
class Isolation:
    """1. Definition: what is shared and what is not. Keys: thread, process, interpreter."""

    write_seen: Mapping[str, Figure]  # yes: the caller sees what was written to a global
    sibling_write_seen: Mapping[str, Figure]  # yes: so does another worker of the same kind
    same_pid: Mapping[str, Figure]  # yes
    same_interpreter: Mapping[str, Figure]  # yes
    same_gil: Mapping[str, Figure]  # yes
    same_code: Mapping[str, Figure]  # yes: a function's code object lies at the same address
    own_stack: Mapping[str, Figure]  # yes: each has a stack of its own in the kernel's map
    own_descriptors: Mapping[str, Figure]  # yes: closing one there leaves it open here
    own_directory: Mapping[str, Figure]  # yes: changing it there does not change it here
    own_environment: Mapping[str, Figure]  # yes
    own_limits: Mapping[str, Figure]  # yes: a resource limit set there does not hold here
    kernel_task: Mapping[str, Figure]  # yes: has a task id of its own, which the kernel schedules
    cpus_seen: Mapping[str, Figure]  # 1: different CPU numbers on which two of them ran at once
    survives_crash: Mapping[str, Figure]  # yes: the caller lives on after a segfault in it
    segments: Mapping[str, Figure] = field(default_factory=dict)  # yes: the kernel's map of this
    # process has one; keys: code, data, stack


@dataclass(frozen=True, slots=True)
class Resources:
    """2. Resource cost."""

    create: Mapping[str, Figure]  # s: start, for thread, fork, forkserver, spawn, interpreter; also
    # "server" (the first from a new forkserver), "idle" (one that an earlier pool has left)
    destroy: Mapping[str, Figure]  # s: from asked to end to joined, for the same
    create_and_join: Mapping[str, Figure]  # s: both; also "pool 1" and "pool 2": ours, primed
    page_faults: Mapping[str, Figure]  # 1: minor faults of creating and joining one
    page_tables: Mapping[str, Figure]  # B: page tables that one more occupies
    rss: Mapping[str, Figure]  # B: of an idle worker; a thread's is what it adds to the process
    uss: Mapping[str, Figure]  # B: private to it
    pss: Mapping[str, Figure]  # B: its share of what is shared
    switch: Mapping[str, Figure]  # s: token round a ring of pipes on one CPU: thread, process
    voluntary_switches: Mapping[str, Figure]  # 1: per round of the ring
    involuntary_switches: Mapping[str, Figure]  # 1/s: of two that compute on one CPU
    short_tasks: Mapping[str, Figure]  # 1/s: tasks, each in a thread or process made for it
    dispatch: Mapping[str, Figure] = field(default_factory=dict)  # s: sending and hearing of a
    # batch with one call that does nothing, others being under way
    call_overhead: Figure = field(default=Gap("not measured"))  # s: what a worker's loop adds


@dataclass(frozen=True, slots=True)
class Communication:
    """3. Communication. `latency` and `throughput`: by channel, then by message size in bytes.

    Channels: ``variable``, ``SimpleQueue``, ``mp.Pipe``, ``mp.Queue``, ``shared memory``,
    ``socket``, ``signal`` (latency of one byte only), ``Queue``, ``Pipe`` (poolwise's own).
    """

    latency: Mapping[str, Mapping[int, Figure]]  # s: there and back, halved
    throughput: Mapping[str, Mapping[int, Figure]]  # B/s
    carries: Mapping[str, Figure]  # yes: a message sent through it arrived whole
    lines: Mapping[str, Figure]  # 1: of the shortest program that carries one message
    system_calls: Mapping[str, Figure]  # 1: to carry one message
    objects: Mapping[str, Figure]  # 1: kernel objects (descriptors, mappings) that it needs
    lock: Mapping[str, Figure]  # s: acquire and release; keys "Lock thread", "RLock process", ...
    contended: Mapping[str, Figure]  # s: the same beside another that does nothing else
    rlock_reentered: Figure  # yes: its owner could take it again
    lost_plain: Figure  # 1: updates lost by `n += 1` in two threads, without a lock
    lost_with_call: Figure  # 1: the same with a call between reading and writing
    lost_with_lock: Figure  # 1: the same under a lock
    increments: int  # in each run of the first two
    increments_with_lock: int  # and of the third


@dataclass(frozen=True, slots=True)
class Concurrency:
    """4. Concurrency. `speedup`: by kind of work, then mechanism, then workers.

    Kinds of work: ``holds the GIL``, ``releases the GIL``, ``waits``, ``memory bandwidth``.
    Mechanisms: thread, process, interpreter. One worker is 1.0 by definition, measured against
    the same mechanism with one worker.
    """

    speedup: Mapping[str, Mapping[str, Mapping[int, Figure]]]  # x
    bytecode_at_once: Mapping[str, Figure]  # x: CPU time per wall time of two that compute
    cpus_at_once: Mapping[str, Figure]  # 1: CPU numbers on which two computing ones ran
    heartbeat: Mapping[str, Figure]  # s: delay of a tick beside a "waiting"/"computing" thread
    heartbeat_process: Mapping[str, Figure]  # s: the same beside processes
    switch_interval: Figure  # s: how long a waiting thread waits for a GIL that is held
    neighbour: Mapping[str, Figure]  # x: time of work beside a "computing"/"memory" process

    def efficiency(self, work: str, mechanism: str, workers: int) -> Figure:
        """Return speedup divided by workers."""
        from poolwise.timing.sample import Sample

        figure = self.speedup[work][mechanism][workers]
        if not isinstance(figure, Sample):
            return figure
        return Sample("x", tuple(value / workers for value in figure.values), figure.throttled)


@dataclass(frozen=True, slots=True)
class Suitability:
    """5. Suitable work: what the kinds of work that the article names take, by plan.

    Keys: work (``scientific``, ``image``, ``network``, ``files cached``, ``short tasks``,
    ``pure python``, ``C without GIL``), then plan (``loop``, ``thread``, ``process``). The decision
    map is computed from costs, in ``explain/decision_map.py``.
    """

    makespan: Mapping[str, Mapping[str, Figure]]  # s


@dataclass(frozen=True, slots=True)
class Program:
    """One of the article's example programs, as it stands and through `poolwise.Worker`."""

    source: str
    output: str  # what it printed
    output_of_worker: str  # what the same printed through `poolwise.Worker`
    took: Figure  # s: as it stands, the interpreter's start included

    @property
    def same(self) -> bool:
        """Whether both printed the same."""
        return self.output == self.output_of_worker


@dataclass(frozen=True, slots=True)
class Implementation:
    """6. Implementation in Python. Keys: thread, process."""

    programs: Mapping[str, Program]
