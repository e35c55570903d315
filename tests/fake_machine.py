"""Machines made by hand: one as the article says, one that is the opposite of it in everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from poolwise.machine import Facts
from poolwise.machine.dimensions import (
    Communication,
    Concurrency,
    Implementation,
    Isolation,
    Program,
    Resources,
    Suitability,
)
from poolwise.machine.facts import read_facts
from poolwise.machine.measured import Measured
from poolwise.timing.sample import Figure, Gap, Sample

CHANNELS = ("variable", "SimpleQueue", "mp.Pipe", "mp.Queue", "shared memory", "socket", "signal")
STARTS = ("fork", "forkserver", "spawn")


def about(unit: str, value: float) -> Sample:
    """Readings that differ by a per cent or so."""
    return Sample(unit, tuple(value * by for by in (0.99, 1.0, 1.0, 1.01)))


def count(value: float) -> Sample:
    return Sample("1", (value, value, value))


def answer(value: bool) -> Sample:
    return Sample("yes", (float(value), float(value)))


def answers(thread: bool, process: bool) -> dict[str, Figure]:
    return {"thread": answer(thread), "process": answer(process), "interpreter": answer(process)}


def seconds(**values: float) -> dict[str, Figure]:
    return {name: about("s", value) for name, value in values.items()}


def facts(gil: bool = True, cpus: float = 2.0) -> Facts:
    return replace(read_facts(), gil=gil, usable_cpus=cpus)


def isolation() -> Isolation:
    shared, own = answers(True, False), answers(False, True)
    return Isolation(
        write_seen=shared,
        sibling_write_seen=shared,
        same_pid=shared,
        same_interpreter=shared,
        same_gil=shared,
        same_code=shared,
        own_stack=answers(True, True),
        own_descriptors=own,
        own_directory=own,
        own_environment=own,
        own_limits=own,
        kernel_task=answers(True, True),
        cpus_seen={"thread": count(2), "process": count(2)},
        survives_crash=own,
        segments={name: answer(True) for name in ("code", "data", "stack")},
    )


def resources() -> Resources:
    def sizes(thread: float, process: float) -> dict[str, Figure]:
        return {"thread": about("B", thread), "process": about("B", process)}

    starts = seconds(thread=1e-4, fork=1e-3, forkserver=3e-3, spawn=4e-2, interpreter=2e-2)
    faults: dict[str, Figure] = {"thread": count(2)}
    faults |= {name: count(600) for name in (*STARTS, "process")}
    return Resources(
        create=starts,
        destroy=starts,
        create_and_join={**starts, **seconds(**{"pool 1": 2e-3, "pool 2": 4e-3})},
        page_faults=faults,
        page_tables=sizes(8e3, 1e5),
        rss=sizes(2e4, 9e6),
        uss=sizes(1e4, 2e6),
        pss=sizes(1e4, 5e6),
        switch=seconds(thread=1.1e-6, process=1.3e-6),
        voluntary_switches={"thread": count(2), "process": count(2)},
        involuntary_switches={"thread": count(200), "process": count(200)},
        short_tasks={"thread": about("1/s", 8_000), "process": about("1/s", 400)},
        dispatch=seconds(thread=2.5e-5, process=6e-5),
        call_overhead=about("s", 1.5e-7),
    )


def communication() -> Communication:
    def counts(variable: float, other: float) -> dict[str, Figure]:
        return {name: count(variable if name == "variable" else other) for name in CHANNELS}

    return Communication(
        latency={name: {1: about("s", 1e-5), 1_000_000: about("s", 1e-3)} for name in CHANNELS},
        throughput={name: {1_000_000: about("B/s", 1e9)} for name in CHANNELS},
        carries={name: answer(True) for name in CHANNELS},
        lines={**counts(3, 5), "SimpleQueue": count(4)},
        system_calls=counts(0, 2),
        objects=counts(0, 2),
        lock=seconds(**{"Lock thread": 4e-8, "RLock thread": 5e-8, "Lock process": 1e-6}),
        contended=seconds(**{"Lock thread": 1e-7, "RLock thread": 2e-7, "Lock process": 5e-6}),
        rlock_reentered=answer(True),
        lost_plain=Sample("1", (0.0, 0.0, 40.0)),
        lost_with_call=Sample("1", (0.0, 31_000.0, 28_000.0)),
        lost_with_lock=count(0),
        increments=600_000,
        increments_with_lock=75_000,
    )


def concurrency() -> Concurrency:
    def speedups(thread: float, process: float) -> dict[str, dict[int, Figure]]:
        both = {"thread": thread, "process": process}
        return {
            name: {1: about("x", 1.0), 2: about("x", value), 4: about("x", value)}
            for name, value in both.items()
        }

    return Concurrency(
        speedup={
            "holds the GIL": speedups(0.95, 1.9),
            "releases the GIL": speedups(0.98, 1.9),
            "waits": speedups(1.95, 1.9),
            "memory bandwidth": speedups(1.0, 1.3),
        },
        bytecode_at_once={"thread": about("x", 1.0), "process": about("x", 2.0)},
        cpus_at_once={"thread": count(2), "process": count(2)},
        heartbeat=seconds(waiting=1e-4, computing=5e-3),
        heartbeat_process=seconds(waiting=1e-4, computing=1e-4),
        switch_interval=about("s", 5e-3),
        neighbour={"computing": about("x", 1.0), "memory": about("x", 1.0)},
    )


def suitability() -> Suitability:
    threads_win, processes_win = ("network", "files cached"), ("pure python", "C without GIL")
    processes_win = (*processes_win, "scientific", "image")
    return Suitability(
        makespan={
            **{work: seconds(loop=1.0, thread=0.1, process=0.5) for work in threads_win},
            **{work: seconds(loop=1.0, thread=1.02, process=0.5) for work in processes_win},
            "short tasks": seconds(loop=0.2, thread=0.1, process=2.0),
        }
    )


def implementation() -> Implementation:
    def program(kind: str) -> Program:
        return Program("...", f"Worker {kind}\n", f"Worker {kind}\n", about("s", 0.02))

    return Implementation({kind: program(kind) for kind in ("thread", "process")})


def as_the_article_says() -> Measured:
    """A machine on which every statement holds."""
    return Measured(
        facts(),
        isolation(),
        resources(),
        communication(),
        concurrency(),
        suitability(),
        implementation(),
    )


def opposite(measured: Measured) -> Measured:
    """Every yes is a no, what was fast is slow, what was many is none; the CPUs were free."""
    programs = {
        kind: replace(program, output="", output_of_worker="?")
        for kind, program in implementation().programs.items()
    }
    turned = replace(
        changed(
            measured, lambda figure: _opposite(figure) if isinstance(figure, Sample) else figure
        ),
        facts=facts(gil=False),
        implementation=Implementation(programs),
    )
    two = about("x", 2.0)
    return having(turned, "concurrency.bytecode_at_once", "process", figure=two)


def _opposite(sample: Sample) -> Sample:
    match sample.unit:
        case "yes":
            values = [1.0 - value for value in sample.values]
        case "1":
            values = [0.0 if max(sample.values) > 0 else 5.0 for value in sample.values]
        case "x":
            values = [1 / value if value > 1.1 else 2.0 for value in sample.values]
        case _:
            values = [1 / value for value in sample.values]
    return Sample(sample.unit, tuple(values))


def changed(measured: Measured, change: Callable[[Figure], Figure]) -> Measured:
    """The same machine with `change` applied to every figure of the first five dimensions."""
    return _changed(measured, change)


def _changed(value: Any, change: Callable[[Figure], Figure]) -> Any:
    if isinstance(value, Sample | Gap):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _changed(each, change) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, Facts | Program | type):
        inside = {each.name: getattr(value, each.name) for each in fields(value)}
        return replace(value, **{name: _changed(each, change) for name, each in inside.items()})
    return value


def having(measured: Measured, path: str, *keys: str | int, figure: Figure) -> Measured:
    """The same machine with one figure replaced."""
    dimension, _, name = path.partition(".")
    record: Any = getattr(measured, dimension)
    value = _put(getattr(record, name), keys, figure)
    return replace(measured, **{dimension: replace(record, **{name: value})})


def _put(value: Any, keys: tuple[str | int, ...], figure: Figure) -> Any:
    if not keys:
        return figure
    return {**value, keys[0]: _put(value.get(keys[0], {}), keys[1:], figure)}
