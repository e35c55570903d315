"""A few long calls, some of which go to processes before it is known what they return."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolwise.machine import this_machine
from poolwise.planner import evened
from programs import run

needs_two_cpus = pytest.mark.skipif(
    this_machine().facts.usable_cpus < 2.0, reason="one CPU: no call runs beside the first"
)

LONG = """
import threading, time
from poolwise.executor import first_call, opening
from poolwise.executor.demand import Demand, DemandMeter

class Undisturbed(DemandMeter):  # a busy machine can hide that calls compute
    demand = Demand(1.0, 1.0)
    used = property(lambda self: 9 * self.elapsed)  # with what watching takes
first_call.DemandMeter = opening.DemandMeter = Undisturbed
opening._WAITED, opening._COMPUTED, first_call._MAY_BE_LONG = 1e-4, 0.0, 0.0  # or how long they are

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
texts = lost(found)  # one for each that ran beside the first, and then it is known
assert 1 <= len(texts) <= MOST, found
for text in texts:
    assert "its result[1] (in its result, a tuple) is a lock that cannot be pickled" in text
    assert 'with mechanism="thread", or in a plain loop, nothing is sent' in text
assert [each for each in found if type(each) is int] == [0, *range(1 + len(texts), {inputs})], found
for _ in range(3):
    assert outcomes(range({inputs})) == list(range({inputs}))
"""
    most = evened(inputs, int(this_machine().facts.usable_cpus)) - 1
    program = program.replace("MOST", str(most))
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
opening._COMPUTED = first_call._COMPUTED_BESIDE = 60.0  # the first is not taken for a long one
over = threading.Event()
threading.Thread(target=over.wait).start()  # so that nothing is forked
poolwise.mechanisms.servers.server_for(None, [])
try:
    assert list(poolwise.map(call, range(3))) == [0, 1, 2]
finally:
    over.set()
"""
    run(tmp_path, LONG + program.replace("FOLDER", repr(str(tmp_path))), "default")


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
from poolwise.executor import first_call
from poolwise.executor.beats import Heartbeat
from poolwise.executor.demand import Demand, DemandMeter

class Undisturbed(DemandMeter):
    demand = Demand(1.0, 1.0)
    used = property(lambda self: 9 * self.elapsed)  # with what watching takes
first_call.DemandMeter = Undisturbed

class Heard(Heartbeat):
    held = HELD
first_call.Heartbeat = Heard
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
def test_one_more_call_than_cpus_is_no_round_of_its_own(tmp_path: Path) -> None:
    """All run at once: each ends when it has seen that the others have begun."""
    inputs = int(this_machine().facts.usable_cpus) + 1
    program = f"""
import os

def call(path):
    open(path, "w").close()
    end = time.thread_time() + 20
    while len(os.listdir(os.path.dirname(path))) < {inputs} and time.thread_time() < end:
        for _ in range(10_000):
            pass
    return time.thread_time() < end

folder = os.path.join({str(tmp_path)!r}, "begun")
os.mkdir(folder)
paths = [os.path.join(folder, str(number)) for number in range({inputs})]
assert list(poolwise.map(call, paths)) == [True] * {inputs}, poolwise.last_run().explain()
"""
    run(tmp_path, LONG + program, "default", POOLWISE_WISDOM="off")


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
from poolwise.executor import first_call
from poolwise.executor.beats import Heartbeat

class Heard(Heartbeat):  # a busy machine can hide that nothing holds the GIL
    held, enough = 0.0, True
first_call.Heartbeat = Heard

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
from poolwise.executor import reserve

os.environ["NEVER_UP"] = "1"
reserve._COMPUTED_ALONE = 0.03

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
