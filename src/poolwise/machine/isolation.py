"""Dimension 1: what a thread, a process, an interpreter shares with its caller, and what not.

Each answer comes from trying: a worker changes something, and the caller looks. Runs in a program
of its own, whose folder, environment and limits are changed on the way.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import cached_property, partial
from itertools import pairwise
from typing import TypeAlias

from poolwise.machine import inside
from poolwise.machine.dimensions import Isolation
from poolwise.machine.door import WorkerLost
from poolwise.machine.partner import Partner
from poolwise.machine.places import KINDS, Place, open_place
from poolwise.timing.repeat import Effort, Unmeasurable, gap, once
from poolwise.timing.sample import Figure, Gap, Sample
from poolwise.units import Seconds

#: What answers are waited for. On a machine with nothing else to do they take a tenth of a second.
_PATIENCE: Seconds = 20.0

#: How long the GIL is held while another looks whether it gets a turn; the kernel gives any thread
#: a turn within some milliseconds, even where there is one CPU.
_HOLD: Seconds = 20e-3


def measure_isolation(effort: Effort) -> Isolation:
    """Try what is shared; call in the main thread of a program that runs no other thread.

    Each kind has a fork of this program to itself, so that what it changes or crashes is that.
    Most questions are answered side by side; what needs the CPUs, one kind after the other.
    """
    count = _count_for(_HOLD)
    with ExitStack() as stack:
        partners = {kind: stack.enter_context(_partner(kind, count, effort)) for kind in KINDS}
        found = _ask_all(partners, "look", _QUESTIONS)
        for kind, partner in partners.items():
            found[kind] |= _ask_all({kind: partner}, "meet", ("same_gil", "cpus_seen"))[kind]
        for kind, answers in _ask_all(partners, "crash", ("survives_crash",)).items():
            found[kind] |= answers

    def about(name: str) -> dict[str, Figure]:
        return {kind: answers[name] for kind, answers in found.items()}

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
        cpus_seen=about("cpus_seen"),
        survives_crash=about("survives_crash"),
        segments=_segments(),
    )


def _partner(kind: str, count: int, effort: Effort) -> Partner:
    """Fork a program in which two workers of a kind are asked."""
    pair = _Pair(kind, count, effort)
    return Partner("process", look=pair.look, meet=pair.meet, crash=pair.crash)


#: By kind of worker, then by question.
_Answers: TypeAlias = dict[str, dict[str, Figure]]


def _ask_all(partners: Mapping[str, Partner], part: str, names: Iterable[str]) -> _Answers:
    """Ask all kinds at once."""
    refused: dict[str, Figure] = {}
    for kind, partner in partners.items():
        try:
            partner.begin(part)
        except Exception as error:
            refused[kind] = gap(error)
    return {
        kind: dict.fromkeys(names, refused[kind]) if kind in refused else _answers(partner, names)
        for kind, partner in partners.items()
    }


def _answers(partner: Partner, names: Iterable[str]) -> dict[str, Figure]:
    try:
        answers: dict[str, Figure] = partner.end(_PATIENCE)
        return answers
    except (EOFError, ConnectionError):
        # One that dies of what its worker did has answered, too.
        exit = partner.exit
        crashed = exit is not None and exit.signal == signal.SIGSEGV
        died = Sample("yes", (0.0,)) if crashed else Gap(f"the program that asked died: {exit}")
        return dict.fromkeys(names, died)
    except Exception as error:
        return dict.fromkeys(names, gap(error))


class _Pair:
    """Two workers of a kind, from the first question to them to the last; in a fork of its own."""

    def __init__(self, kind: str, count: int, effort: Effort) -> None:
        self._kind, self._count, self._effort = kind, count, effort

    @cached_property
    def _places(self) -> tuple[Place, Place]:
        return open_place(self._kind), open_place(self._kind)

    def look(self, *_: object) -> dict[str, Figure]:
        """Ask what load on the machine does not change."""
        one, other = self._places
        return {name: once(partial(ask, one, other), "yes") for name, ask in _QUESTIONS.items()}

    def meet(self, *_: object) -> dict[str, Figure]:
        """Ask what depends on who runs at the same moment."""
        one, other = self._places
        same_gil = partial(_same_gil, one, self._count)
        cpus_seen = partial(_cpus_seen, one, other, self._effort)
        return {"same_gil": once(same_gil, "yes"), "cpus_seen": once(cpus_seen, "1")}

    def crash(self, *_: object) -> dict[str, Figure]:
        """Crash a worker, and answer if one can still answer."""
        place = self._places[0]
        with suppress(WorkerLost):
            place.call(inside.crash, None)
        return {"survives_crash": Sample("yes", (1.0,))}


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
    "same_code": _same_code,
    "own_stack": _own_stack,
    "own_descriptors": _own_descriptors,
    "own_directory": _own_directory,
    "own_environment": _own_environment,
    "own_limits": _own_limits,
    "kernel_task": _kernel_task,
}


# ---- who runs at the same moment -----------------------------------------------------------


def _same_gil(place: Place, count: int) -> bool:
    """Whether somebody who holds the GIL here keeps the worker from its turns.

    Raises:
        Unmeasurable: the worker never had turns both before and after.
    """
    for _ in range(_TRIES):
        held: list[Seconds] = []
        holder = threading.Thread(target=_hold_gil, args=(count, held))
        holder.start()
        try:
            times = place.call(inside.ticks, 2 * _HOLD)
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
    time.sleep(_HOLD / 4)  # the worker begins meanwhile
    began = time.perf_counter()
    took = _sum_to(count)
    held += began, began + took


def _cpus_seen(one: Place, other: Place, effort: Effort) -> float:
    """Return on how many CPUs two workers were at once, of which neither needs the GIL."""
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
