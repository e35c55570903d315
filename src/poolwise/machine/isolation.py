"""Dimension 1: what a thread, a process, an interpreter shares with its caller, and what not.

Each answer comes from trying: a worker changes something, and the caller looks. Runs in a program
of its own, whose folder, environment and limits are changed on the way.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

from poolwise.errors import WorkerCrashed
from poolwise.machine import inside
from poolwise.machine.dimensions import Isolation
from poolwise.machine.places import KINDS, Place, open_place
from poolwise.timing.repeat import Effort, Unmeasurable, gap, once
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Seconds
from poolwise.worker import Worker

#: What a crash is waited for. The program that crashes starts in a tenth of a second.
_PATIENCE: Seconds = 20.0

#: How long the GIL is held while another looks whether it gets a turn; the kernel gives any thread
#: a turn within some milliseconds, even where there is one CPU.
_HOLD: Seconds = 20e-3


def measure_isolation(effort: Effort) -> Isolation:
    """Try what is shared; call in the main thread of a program of its own."""
    crashes = {kind: _start_crash(kind) for kind in KINDS}  # they go on beside the rest
    found = {kind: _look_at(kind, effort) for kind in KINDS}

    def about(name: str) -> dict[str, Figure]:
        return {kind: figures[name] for kind, figures in found.items()}

    return Isolation(
        write_seen=about("write_seen"),
        sibling_write_seen=about("sibling_write_seen"),
        same_pid=about("same_pid"),
        same_interpreter=about("same_interpreter"),
        same_gil=about("same_gil"),
        same_code=about("same_code"),
        own_stack=about("own_stack"),
        own_descriptors=about("own_descriptors"),
        own_directory=about("own_directory"),
        own_environment=about("own_environment"),
        own_limits=about("own_limits"),
        kernel_task=about("kernel_task"),
        cpus_seen={kind: once(partial(_cpus_seen, kind, effort), "1") for kind in KINDS},
        survives_crash={kind: _survives(each) for kind, each in crashes.items()},
        segments=_segments(),
    )


def _look_at(kind: str, effort: Effort) -> Mapping[str, Figure]:
    """Answer every question about one kind of worker."""
    try:
        with open_place(kind) as place, open_place(kind) as sibling:
            return {
                name: once(partial(ask, place, sibling), "yes") for name, ask in _QUESTIONS.items()
            }
    except Exception as error:
        return dict.fromkeys(_QUESTIONS, gap(error))


# ---- questions: each is asked of a worker and a sibling of it ------------------------------------


def _write_seen(place: Place, sibling: Place) -> bool:
    value = inside.board + 1
    place.call(inside.write, value)
    return inside.board == value


def _sibling_write_seen(place: Place, sibling: Place) -> bool:
    value = inside.board + 2
    place.call(inside.write, value)
    return bool(sibling.call(inside.read, None) == value)


def _same_pid(place: Place, sibling: Place) -> bool:
    return bool(place.call(inside.identity, None)[0] == os.getpid())


def _same_interpreter(place: Place, sibling: Place) -> bool:
    return tuple(place.call(inside.identity, None)) == inside.identity()


def _same_gil(place: Place, sibling: Place) -> bool:
    """Whether somebody who holds the GIL here keeps the worker from its turns.

    Raises:
        Unmeasurable: the worker never had turns both before and after.
    """
    count = _count_for(_HOLD)
    for _ in range(_TRIES):
        held: list[Seconds] = []
        holder = threading.Thread(target=_hold_gil, args=(count, held))
        holder.start()
        try:
            times = place.call(inside.ticks, 4 * _HOLD)
        finally:
            holder.join()
        began, ended = held
        if times[0] < began and ended < times[-1]:
            turns = [began, *(each for each in times if began < each < ended), ended]
            longest: Seconds = max(later - earlier for earlier, later in pairwise(turns))
            return longest > (ended - began) / 2
    raise Unmeasurable("other work kept the worker from its turns")


#: How often it is tried to hold the GIL while the worker is about.
_TRIES = 5


def _count_for(seconds: Seconds) -> int:
    """Return up to which number summing takes so long."""
    count = 100_000
    while (took := _sum_to(count)) < seconds:
        count = int(count * max(1.5, 1.1 * seconds / took))
    return count


def _sum_to(count: int) -> Seconds:
    began = time.perf_counter()
    sum(range(count))  # between the bytecodes of a built-in function nobody asks for the GIL
    return time.perf_counter() - began


def _hold_gil(count: int, held: list[Seconds]) -> None:
    time.sleep(_HOLD)  # the worker begins meanwhile
    began = time.perf_counter()
    took = _sum_to(count)
    held += began, began + took


def _same_code(place: Place, sibling: Place) -> bool:
    return tuple(place.call(inside.code_address, None)) == inside.code_address()


def _own_stack(place: Place, sibling: Place) -> bool:
    stacks = {inside.stack(), *(tuple(each.call(inside.stack, None)) for each in (place, sibling))}
    return len(stacks) == 3


def _own_descriptors(place: Place, sibling: Place) -> bool:
    import fcntl

    with open(os.devnull) as file:
        # A number that nothing in a worker has: closing it must not close what the worker needs.
        descriptor = fcntl.fcntl(file.fileno(), fcntl.F_DUPFD, 200)
    place.call(inside.close_descriptor, descriptor)
    try:
        os.close(descriptor)
    except OSError:
        return False
    return True


def _own_directory(place: Place, sibling: Place) -> bool:
    before = os.getcwd()
    place.call(inside.change_directory, os.path.dirname(before) if before != "/" else "/usr")
    try:
        return os.getcwd() == before
    finally:
        os.chdir(before)


def _own_environment(place: Place, sibling: Place) -> bool:
    name = "POOLWISE_MEASURES"
    place.call(inside.change_environment, name)
    try:
        return not inside.has_variable(name)
    finally:
        os.environ.pop(name, None)
        os.unsetenv(name)  # an interpreter has another `os.environ` over the same environment


def _own_limits(place: Place, sibling: Place) -> bool:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    place.call(inside.lower_limit, None)
    try:
        return resource.getrlimit(resource.RLIMIT_NOFILE) == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _kernel_task(place: Place, sibling: Place) -> bool:
    return bool(place.call(inside.task_id, None) != inside.task_id())


_QUESTIONS: dict[str, Callable[[Place, Place], bool]] = {
    "write_seen": _write_seen,
    "sibling_write_seen": _sibling_write_seen,
    "same_pid": _same_pid,
    "same_interpreter": _same_interpreter,
    "same_gil": _same_gil,
    "same_code": _same_code,
    "own_stack": _own_stack,
    "own_descriptors": _own_descriptors,
    "own_directory": _own_directory,
    "own_environment": _own_environment,
    "own_limits": _own_limits,
    "kernel_task": _kernel_task,
}


# ---- what is not a question to one worker --------------------------------------------------------


def _cpus_seen(kind: str, effort: Effort) -> float:
    """Return on how many CPUs two workers were at once, of which neither needs the GIL."""
    with open_place(kind) as one, open_place(kind) as other:
        for place in (one, other):
            place.call(inside.cpu_numbers, 0.0)  # has it import what it needs
        until = time.perf_counter() + max(20e-3, effort.piece)
        seen: list[list[tuple[Seconds, int]]] = []
        failed: list[BaseException] = []

        def run(place: Place) -> None:
            try:
                seen.append(place.call(inside.cpu_numbers, until))
            except BaseException as error:
                failed.append(error)

        # A pool belongs to the thread that waits on it: one waits in a thread, one here.
        thread = threading.Thread(target=run, args=(other,))
        thread.start()
        run(one)
        thread.join()
        if failed:
            raise failed[0]
    return float(max(1, *(len(pair) for pair in _at_once(*seen))))


def _at_once(one: list[tuple[Seconds, int]], other: list[tuple[Seconds, int]]) -> list[set[int]]:
    """Return the CPUs of both at each moment between two readings of the other."""
    pairs = [set[int]()]
    position = 0
    for moment, cpu in one:
        while position < len(other) and other[position][0] <= moment:
            position += 1
        before, after = other[position - 1 : position], other[position : position + 1]
        if before and after and before[0][1] == after[0][1]:
            pairs.append({cpu, before[0][1]})
    return pairs


def _start_crash(kind: str) -> Worker[bool] | Gap:
    """Start a program that starts a worker that crashes."""
    if kind == "interpreter" and sys.version_info < (3, 14):
        return Gap("the standard library has interpreters from Python 3.14 on")
    program = Worker(_live_through, (kind,), mechanism="process", daemon=True)
    try:
        program.start()
    except Exception as error:
        return gap(error)
    return program


def _live_through(kind: str) -> bool:
    """Crash a worker and return; in a program that the crash may take along."""
    from contextlib import suppress

    from poolwise.machine.door import WorkerLost

    with open_place(kind) as place, suppress(WorkerLost):
        place.call(inside.crash, None)
    return True


def _survives(program: Worker[bool] | Gap) -> Figure:
    if isinstance(program, Gap):
        return program
    try:
        return Sample("yes", (float(program.result(_PATIENCE)),))
    except WorkerCrashed as crash:
        if crash.exit.signal is None:
            return gap(crash)
        return Sample("yes", (0.0,))
    except Exception as error:
        program.kill()
        return gap(error)


def _segments() -> dict[str, Figure]:
    """Return whether the kernel's map of this process has what a process consists of."""

    def has(belongs: Callable[[list[str]], bool]) -> Figure:
        def look() -> float:
            try:
                with open("/proc/self/maps", encoding="utf-8") as file:
                    return float(any(belongs(line.split()) for line in file))
            except OSError:
                raise Unmeasurable("the system has no /proc/self/maps") from None

        return once(look, "yes")

    return {
        "code": has(lambda line: "x" in line[1] and len(line) > 5 and line[5].startswith("/")),
        "data": has(lambda line: line[1].startswith("rw") and line[-1] == "[heap]"),
        "stack": has(lambda line: line[1].startswith("rw") and line[-1] == "[stack]"),
    }
