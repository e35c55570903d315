"""A few long calls, some of which go to processes before it is known what they return."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from poolwise.executor.opening import Opening
from poolwise.machine import this_machine
from poolwise.probe.contention import Demand
from poolwise.timing.children import count_children
from probe.fake_clock import FakeClock
from programs import run

needs_two_cpus = pytest.mark.skipif(
    this_machine().facts.usable_cpus < 2.0, reason="one CPU: no call runs beside the first"
)

LONG = """
import threading, time
from poolwise.executor import opening
from poolwise.executor.demand import Demand, DemandMeter

class Undisturbed(DemandMeter):  # a busy machine can hide that calls compute
    demand = Demand(1.0, 1.0)
    used = property(lambda self: 9 * self.elapsed)  # with what watching takes
opening.DemandMeter = Undisturbed
opening._WAITED, opening._COMPUTED, opening._MAY_BE_LONG = 1e-4, 0.0, 0.0  # or that they are long

def call(number):
    end = time.thread_time() + 0.15
    while time.thread_time() < end:
        pass
    return number, threading.Lock()

def outcomes(inputs):
    found, results = [], poolwise.map(call, inputs)
    while True:
        try:
            found.append(next(results)[0])
        except StopIteration:
            return found
        except poolwise.TransferError as error:
            found.append(str(error))

def lost(found):
    return [each for each in found if isinstance(each, str)]
"""


@needs_two_cpus
@pytest.mark.parametrize("inputs", [2, 3, 4])
def test_results_that_do_not_pickle_are_said_to_and_the_next_run_is_as_a_loop(
    inputs: int, tmp_path: Path
) -> None:
    program = f"""
found = outcomes(range({inputs}))
assert len(found) == {inputs} and found[0] == 0, found
(text,) = lost(found)  # one for each CPU but the first, and then it is known
assert "its result[1] (in its result, a tuple) is a lock that cannot be pickled" in text
assert 'with mechanism="thread", or in a plain loop, nothing is sent' in text
assert found == [number if type(each) is int else text for number, each in enumerate(found)]
for _ in range(3):
    assert outcomes(range({inputs})) == list(range({inputs}))
"""
    workers = int(this_machine().facts.usable_cpus) - 1
    if workers > 1:
        program = program.replace("(text,) = lost(found)", "text, *_ = lost(found)")
    wisdom = {"POOLWISE_WISDOM": "on", "POOLWISE_CACHE": str(tmp_path / "cache")}
    run(tmp_path, LONG + program, "default", **wisdom)


FOR_A_WHILE = """
import contextlib, io, os, warnings

def burn():
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass

def warned(number):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        burn()
    warnings.warn("outside of the block")
    return number

def folder(number):
    with contextlib.chdir("/"):
        burn()
    return os.getcwd()

def variable(number):
    seen = os.environ.get("FOR_A_WHILE")
    os.environ["FOR_A_WHILE"] = "set"
    burn()
    del os.environ["FOR_A_WHILE"]
    return seen

def shown(number):
    with contextlib.redirect_stdout(io.StringIO()) as kept:
        burn()
    print("outside of the block")
    return kept.getvalue()

warnings.simplefilter("ignore")
for function in warned, folder, variable, shown:
    assert list(poolwise.map(function, range(3))) == [function(each) for each in range(3)]
    assert poolwise.last_run().plan.mechanism == "process", poolwise.last_run().explain()
    poolwise.shutdown()
"""


@needs_two_cpus
def test_what_the_first_call_changes_for_a_while_is_not_what_workers_look_like(
    tmp_path: Path,
) -> None:
    """They are started beside it."""
    printed = run(tmp_path, LONG + FOR_A_WHILE, "default", POOLWISE_WISDOM="off")
    assert printed.splitlines() == ["outside of the block"] * 6


@needs_two_cpus
def test_workers_that_are_still_starting_are_not_waited_for_once_the_first_call_has_ended(
    tmp_path: Path,
) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(30)\n")
    (tmp_path / "short.py").write_text(
        "import os, sys, time\n"
        "if 'poolwise' not in sys.modules:\n"
        "    import slow\n"  # in a worker
        "def call(number):\n"
        "    end = time.thread_time() + 0.02\n"
        "    while time.thread_time() < end:\n"
        "        pass\n"
        "    return number\n"
    )
    program = """
import sys, threading
sys.path.insert(0, FOLDER)
from short import call
opening._COMPUTED = opening._COMPUTED_BESIDE = 60.0  # the first is not taken for a long one
over = threading.Event()
threading.Thread(target=over.wait).start()  # so that nothing is forked
poolwise.mechanisms.servers.server_for(None, [])
try:
    assert list(poolwise.map(call, range(3))) == [0, 1, 2]
finally:
    over.set()
"""
    run(tmp_path, LONG + program.replace("FOLDER", repr(str(tmp_path))), "default")


class Metered:
    """A meter that says what it is told."""

    def __init__(self, demand: Demand) -> None:
        self.elapsed = 0.0
        self.demand = demand

    @property
    def used(self) -> float:
        return self.demand.used * self.elapsed


@pytest.mark.parametrize(
    ("used", "waits", "elapsed", "width"),
    [
        ([0.0], True, 5e-3, 32),  # only waits
        ([0.1], True, 5e-3, 8),  # waits from the beginning
        ([1.0, 0.0], True, 10e-3, 32),  # has imported something before
        ([1.0, 0.1, 0.0], True, 11e-3, 32),  # also in a part of the time it was looked at
        ([1.0, 0.1, 0.1], True, 11e-3, 8),
        ([1.0, 0.9, 0.9, 0.2, 0.1], True, 21e-3, 8),
        ([1.0, 1.0, 1.0, 1.0], False, 20e-3, 8),  # computes
    ],
)
def test_a_call_that_comes_to_wait_is_seen_to(
    used: list[float],
    waits: bool,
    elapsed: float,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`used` are the CPUs that it uses in each window of 5 ms, and in one of a millisecond when it
    has come to wait; so many may then begin beside it.
    """
    left: Iterator[float] = iter(used)
    meter = Metered(Demand(0.0, 0.0))

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        cpu = meter.demand.used * meter.elapsed + next(left) * (until - meter.elapsed)
        meter.elapsed = until
        meter.demand = Demand(cpu / until, cpu / until)

    opening = opening_with(5e-3)
    monkeypatch.setattr(opening, "_watch", watch)
    assert shown(opening, meter) == ("waits" if waits else "computes")
    assert meter.elapsed == pytest.approx(elapsed)
    assert opening._width == width


def test_what_watching_takes_is_not_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = opening_with(5e-3)
    meter = Metered(Demand(0.2, 0.2))

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        opening._dispatch.clock.spend(cpu=0.2 * (until - meter.elapsed))  # type: ignore[attr-defined]
        meter.elapsed = until

    monkeypatch.setattr(opening, "_watch", watch)
    assert shown(opening, meter) == "waits"
    assert opening._width == 32


def test_a_call_that_waits_for_another_program_is_not_light(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """32 of these would take the CPUs from each other."""
    opening = opening_with(5e-3)  # which counts the children that there are
    meter = Metered(Demand(0.0, 0.0))
    program = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:

        def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
            meter.elapsed = until

        monkeypatch.setattr(opening, "_watch", watch)
        assert shown(opening, meter) == "waits"
        assert opening._width == 8
    finally:
        program.communicate()


def test_looks_that_take_longer_than_they_should_are_no_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside a call that holds the GIL each takes a turn, and that may be longer than a window."""
    meter = Metered(Demand(1.0, 1.0))
    windows: list[float] = []

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        windows.append(until - meter.elapsed)
        if meter.elapsed < until:
            meter.elapsed = until + 6e-3

    opening = opening_with(2e-3)
    monkeypatch.setattr(opening, "_watch", watch)
    assert shown(opening, meter) == "computes"
    assert windows == pytest.approx([2e-3] * 3)


def test_a_call_that_has_no_cpu_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Metered(Demand(0.3, 1.0))

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        meter.elapsed = until

    opening = opening_with(5e-3)
    monkeypatch.setattr(opening, "_watch", watch)
    assert shown(opening, meter) == "computes"


@pytest.mark.parametrize(
    ("taking", "seen"),
    [
        (0.0, [2e-3, 4e-3, 6e-3, 8e-3, 10e-3]),
        (4e-3, [2e-3, 4e-3, 6e-3]),  # it has computed meanwhile
        (50e-3, [2e-3, 4e-3, 6e-3]),  # once more, for it may have come to wait
    ],
)
def test_where_workers_can_be_had_a_call_that_computes_is_soon_a_long_one(
    taking: float, seen: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Metered(Demand(1.0, 1.0))
    opening = opening_with(2e-3)
    opening._at_once = True
    looks: list[float] = []
    started: list[float] = []

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        meter.elapsed = until
        looks.append(until)

    def start_workers() -> None:
        started.append(meter.elapsed)
        opening._started = True
        opening._dispatch.clock.spend(wait=taking)  # type: ignore[attr-defined]

    monkeypatch.setattr(opening, "_watch", watch)
    monkeypatch.setattr(opening, "_start_workers", start_workers)
    assert shown(opening, meter) == "computes"
    assert looks == pytest.approx(seen)
    assert started == pytest.approx([4e-3])


def test_no_workers_are_started_for_a_call_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Metered(Demand(0.1, 0.1))
    opening = opening_with(2e-3)
    opening._at_once = True

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        meter.elapsed = until

    monkeypatch.setattr(opening, "_watch", watch)
    assert shown(opening, meter) == "waits"
    assert not opening._started


@dataclass
class Foreign:
    """A meter of which such a share is."""

    meter: Metered
    share: float

    @property
    def used(self) -> float:
        return self.share * self.meter.used


@dataclass
class Heard:
    """What the beats beside a call have told."""

    held: float | None
    enough: bool = True


@pytest.mark.parametrize(
    ("heard", "demand", "foreign", "goes"),
    [
        (Heard(0.0), Demand(1.0, 1.0), 0.0, True),
        (Heard(0.0, enough=False), Demand(1.0, 1.0), 0.0, False),
        (Heard(0.06), Demand(1.0, 1.0), 0.0, True),  # one late beat is nobody's
        (Heard(0.06, enough=False), Demand(1.0, 1.0), 0.0, False),
        (Heard(0.5), Demand(1.0, 1.0), 0.0, False),
        (Heard(1.0), Demand(1.0, 1.0), 0.0, False),
        (Heard(None), Demand(1.0, 1.0), 0.0, False),
        (Heard(0.0), Demand(1.9, 1.9), 0.5, False),  # others compute for it
        (Heard(0.0), Demand(1.0, 1.9), 0.5, False),  # and get no CPU
        (Heard(0.0), Demand(1.0, 1.9), 0.0, True),  # it is the owner that gets none
    ],
)
def test_a_call_that_computes_without_the_gil_is_seen_to_let_go(
    heard: Heard, demand: Demand, foreign: float, goes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`foreign` is the share of the computing that threads of libraries do."""
    meter = Metered(demand)

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        meter.elapsed = until

    opening = opening_with(2e-3)
    opening._foreign = Foreign(meter, foreign)  # type: ignore[assignment]
    monkeypatch.setattr(opening, "_watch", watch)
    assert shown(opening, meter, heard) == ("lets go" if goes else "computes")
    # Not sooner than it may be long; workers are not started for it before.
    assert meter.elapsed == pytest.approx(4e-3 if goes else 20e-3)


def test_where_there_is_one_cpu_nothing_begins_beside_a_call_that_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter = Metered(Demand(1.0, 1.0))

    def watch(lane: object, meter: Metered, beat: object, until: float) -> None:
        meter.elapsed = until

    opening = opening_with(2e-3)
    opening._cpus = 1
    monkeypatch.setattr(opening, "_watch", watch)
    assert shown(opening, meter, Heard(0.0)) == "computes"


def shown(opening: Opening, meter: Metered, heard: Heard | None = None) -> str:
    lane = SimpleNamespace(in_flight=1)
    return opening._what_shows(lane, meter, heard or Heard(None))  # type: ignore[arg-type]


#: The first call ends only when another one has begun; it says so if none ever does.
UNTIL_ANOTHER = """
import hashlib, os, threading, time

FLAG = os.path.join(os.getcwd(), "begun")

def until_another(number, work):
    if number:
        open(FLAG, "w").close()
        return os.getpid()
    end = time.monotonic() + 30
    while not os.path.exists(FLAG):
        work()
        if time.monotonic() > end:
            return "alone"
    return os.getpid()

def hashing():
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 40_000)

def counting():
    sum(number for number in range(100_000))

def call(number):
    return until_another(number, WORK)
"""

#: A busy machine can hide whether it holds the GIL, and that it computes.
HEARD = """
from poolwise.executor import opening
from poolwise.executor.beats import Heartbeat
from poolwise.executor.demand import Demand, DemandMeter

class Undisturbed(DemandMeter):
    demand = Demand(1.0, 1.0)
    used = property(lambda self: 9 * self.elapsed)  # with what watching takes
opening.DemandMeter = Undisturbed

class Heard(Heartbeat):
    held = HELD
opening.Heartbeat = Heard
"""


@needs_two_cpus
@pytest.mark.parametrize("inputs", [2, 20])
def test_others_begin_beside_a_long_first_call_that_leaves_the_gil_alone(
    inputs: int, tmp_path: Path
) -> None:
    """In threads; of few that can be in workers at once, there."""
    program = f"""
found = list(poolwise.map(call, range({inputs})))
assert "alone" not in found, found
assert (found[0] == found[1]) == ({inputs} == 20), found
"""
    code = HEARD.replace("HELD", "0.0") + UNTIL_ANOTHER.replace("WORK", "hashing")
    code = code.replace("os.getcwd()", repr(str(tmp_path)))
    run(tmp_path, code + program, "default", POOLWISE_WISDOM="off")


@needs_two_cpus
@pytest.mark.parametrize("inputs", [2, 4])
def test_others_begin_in_processes_beside_a_long_first_call_where_nothing_can_be_forked(
    inputs: int, tmp_path: Path
) -> None:
    """Another thread of the program keeps it from that, as in a notebook."""
    program = f"""
over = threading.Event()
threading.Thread(target=over.wait).start()
try:
    found = list(poolwise.map(call, range({inputs})))
finally:
    over.set()
assert "alone" not in found, found
assert len(set(found)) > 1, found
"""
    code = HEARD.replace("HELD", "1.0") + UNTIL_ANOTHER.replace("WORK", "counting")
    code = code.replace("os.getcwd()", repr(str(tmp_path)))
    run(tmp_path, code + program, "default", POOLWISE_WISDOM="off")


@needs_two_cpus
def test_many_begin_beside_a_first_call_that_waits_after_it_has_computed(tmp_path: Path) -> None:
    """More than there are CPUs: each call ends only when so many are under way."""
    program = """
import hashlib, time
from poolwise.executor import opening
from poolwise.executor.beats import Heartbeat

class Heard(Heartbeat):  # a busy machine can hide that nothing holds the GIL
    held, enough = 0.0, True
opening.Heartbeat = Heard

AT_ONCE = max(4, 2 * os.cpu_count())

def call(number):
    end = time.thread_time() + 8e-3
    while time.thread_time() < end:
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 1_000)
    open(os.path.join(FLAGS, str(number)), "w").close()
    end = time.monotonic() + 30
    while len(os.listdir(FLAGS)) < AT_ONCE:
        time.sleep(1e-3)
        if time.monotonic() > end:
            return "not together"
    return number

assert list(poolwise.map(call, range(2 * AT_ONCE))) == list(range(2 * AT_ONCE))
"""
    flags = tmp_path / "flags"
    flags.mkdir()
    program = program.replace("FLAGS", repr(str(flags)))
    run(tmp_path, program, "default", POOLWISE_WISDOM="off")


@needs_two_cpus
@pytest.mark.parametrize("inputs", [2, 4])
def test_a_server_that_does_not_come_up_is_not_waited_for(inputs: int, tmp_path: Path) -> None:
    """Not when the first call has ended, nor at the end of the program."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\nif 'NEVER_UP' in os.environ:\n    time.sleep(300)\n"
    )
    program = f"""
import threading, time
from poolwise.executor import opening

os.environ["NEVER_UP"] = "1"
opening._COMPUTED_ALONE = 0.03

def call(number):
    end = time.thread_time() + 0.2
    while time.thread_time() < end:
        pass
    return number

over = threading.Event()
threading.Thread(target=over.wait).start()
try:
    assert list(poolwise.map(call, range({inputs}))) == list(range({inputs}))
finally:
    over.set()
"""
    run(tmp_path, program, "default", POOLWISE_WISDOM="off", PYTHONPATH=str(tmp_path))


def opening_with(waited: float) -> Opening:
    """One that looks at the first call after so many seconds, and for 20 ms."""
    opening = object.__new__(Opening)
    opening._patience = waited, 20e-3
    opening._beside, opening._started, opening._width = None, False, 8
    opening._at_once, opening._cpus, opening._strangers = False, 2, 0
    opening._children = count_children()
    opening._dispatch = SimpleNamespace(clock=FakeClock())  # type: ignore[assignment]
    return opening
