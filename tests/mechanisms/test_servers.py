"""Servers: one fork and one executed, never two; killed, stopped and shut down at bad moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import FORKS, METHODS, run

pytestmark = pytest.mark.fault

LIB = """
import select, threading
def server():
    return (servers._fork_of_this or servers._executed).pid
def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return [int(each) for each in file.read().split()]
def state(of):
    with open(f"/proc/{of}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]
"""


@METHODS
def test_a_server_that_was_stopped_does_not_hold_up_the_end(method: str, tmp_path: Path) -> None:
    program = (
        LIB
        + """
for way in "shutdown", "exit of a pool", "exit":
    mapped(abs)
    os.kill(server(), signal.SIGSTOP)
    if way == "shutdown":
        poolwise.shutdown()
    elif way == "exit of a pool":
        list(poolwise.map(abs, range(4), plan="process:1", start_method=method,
            **({} if method == "fork" else {"max_tasks_per_child": 100})))
"""
    )
    if method == "fork":
        program = program.replace('"exit of a pool", ', "")
    else:
        # The new worker has to come from the stopped server, so somebody continues it.
        program = program.replace(
            "list(poolwise.map",
            "threading.Timer(0.2, os.kill, [server(), signal.SIGCONT]).start()\n"
            "        list(poolwise.map",
        )
    run(tmp_path, program, method)


@FORKS
def test_forks_that_are_out_of_date_end_and_are_waited_for(method: str, tmp_path: Path) -> None:
    program = (
        LIB
        + """
for number in range(30):
    exec(f"def call(x): return x + {number}")
    same_as_a_loop(call)
    assert len(children()) <= 4, children()  # those before may be on their way out
poolwise.shutdown()
assert not children()
"""
    )
    run(tmp_path, program, method)


@FORKS
def test_a_fork_serves_on_while_another_takes_its_place(method: str, tmp_path: Path) -> None:
    program = """
def call(x): return x
first = poolwise.map(call, range(1000), plan="process:2", start_method=method)
assert next(first) == 0
def other(x): return -x
assert mapped(other) == [0, -1, -2, -3]
assert list(first) == list(range(1, 1000))
"""
    run(tmp_path, program, method)


@METHODS
def test_children_of_the_user_are_the_users(method: str, tmp_path: Path) -> None:
    # Workers are not among them; a server may be waited for by mistake.
    program = (
        LIB
        + """
import subprocess
mapped(abs)
child = subprocess.Popen(["true"])
assert os.waitpid(child.pid, 0)[0] == child.pid
child.returncode = 0
assert children() == [server()]
os.kill(server(), signal.SIGKILL)
os.wait()
mapped(abs)
poolwise.shutdown()
assert not children()
"""
    )
    run(tmp_path, program, method)


@METHODS
def test_ctrl_c_at_any_moment_leaves_nothing(method: str, tmp_path: Path) -> None:
    # The signal comes after ever more microseconds, so that it meets each stage of a map.
    program = (
        LIB
        + """
import gc, random, time, warnings
signal.signal(signal.SIGALRM, signal.default_int_handler)
draw = random.Random(7)
def double(x): return 2 * x
rounds, span = (25, 0.2) if method in ("spawn", "forkserver") else (80, 0.03)
spans = span, 0.003  # new workers take the one, those that have waited the other
interrupted = 0
mapped(double)  # what an interrupt does to an import is not ours
sys.unraisablehook = lambda _: None  # nor what it does to a ``__del__``
warnings.simplefilter("ignore", ResourceWarning)  # nor what it does to a socket that is being made
for number in range(rounds):
    exec("def call(x): return double(x)")  # so that a fork is needed again
    try:
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-4, draw.choice(spans)))
        results = mapped(call)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert results == [0, 2, 4, 6]
    except KeyboardInterrupt:
        interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if number % 10 == 9:
        try:
            poolwise.shutdown()
        except KeyboardInterrupt:
            poolwise.shutdown()
        gc.collect()
        poolwise.shutdown()
assert interrupted, interrupted
assert mapped(double) == [0, 2, 4, 6]
gc.collect()  # what an interrupt has cut short may be held by its traceback, and hold a worker
poolwise.shutdown()
left = [(each, state(each)) for each in children()]
assert not left, left
opened = [fd for fd in range(3, 64) if os.path.lexists(f"/proc/self/fd/{fd}")]
opened = [os.readlink(f"/proc/self/fd/{fd}") for fd in opened]
assert not [each for each in opened if "memfd" in each], opened  # of a worker
"""
    )
    run(tmp_path, program, method)


@METHODS
def test_the_user_may_fork_while_threads_map(method: str, tmp_path: Path) -> None:
    program = (
        LIB
        + """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
def double(x): return 2 * x
failures = []
done = threading.Event()
def work():
    try:
        while not done.is_set():
            assert mapped(double) == [0, 2, 4, 6]
    except BaseException as error:
        failures.append(error)
mapped(double)
threads = [threading.Thread(target=work) for _ in range(2)]
for each in threads: each.start()
for _ in range(20):
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
done.set()
for each in threads: each.join()
assert not failures, failures
"""
    )
    run(tmp_path, program, method)


@pytest.mark.parametrize("method", ["default", "forkserver"])
def test_deaths_at_random_moments(method: str, tmp_path: Path) -> None:
    # Workers and servers are killed or stopped for a moment. Every call has one outcome.
    program = (
        LIB
        + """
import random, time
from poolwise.ipc import Inbox
from poolwise.mechanisms import WorkerOptions, mechanism
from poolwise.task import Batch, Task
from poolwise.testing import RecordingSink
def call(x):
    until = time.perf_counter() + 0.0005
    while time.perf_counter() < until:
        pass
    return x
task = Task(call)
def attack(pids, draw, done):
    while not done.wait(draw.uniform(0.0, 0.02)):
        living = pids()
        victim = draw.choice(living) if living else 0
        if not victim:
            continue
        try:
            if draw.random() < 0.5:
                os.kill(victim, signal.SIGKILL)
            else:
                os.kill(victim, signal.SIGSTOP)
                done.wait(0.01)
                os.kill(victim, signal.SIGCONT)
        except ProcessLookupError:
            pass
for seed in range(12):
    draw, done = random.Random(seed), threading.Event()
    inbox, sink = Inbox(), RecordingSink()
    sink.failed = sink.failures.append
    options = WorkerOptions(2, [task], siblings=2, start_method=method, idle_timeout=seed % 2)
    pool = mechanism("process").open(options, sink, inbox)
    pool.grow(2)
    def pids():
        found = [worker.pid for worker in list(pool._workers.values())]
        front = servers._fork_of_this or servers._executed
        if front is not None and draw.random() < 0.3:
            found.append(front.pid)
        return found
    thread = threading.Thread(target=attack, args=(pids, draw, done))
    thread.start()
    batches = []
    try:
        for size in range(1, 40):
            batch = Batch(task, (list(range(size)),))
            batches.append(batch)
            pool.send(batch)
            if size % 3 == 0:
                pool.take_back(draw.choice(batches).id)
            inbox.wait(0.001)
        until = time.monotonic() + 20
        while not sink.has_ended(*batches):
            if sink.failures:  # three deaths in a row before one was ready
                break
            assert time.monotonic() < until, (seed, str(sink))
            inbox.wait(0.1)
    finally:
        done.set()
        thread.join()
    sink.check()
    for batch in batches:
        for position, end in sink.ends.get(batch.id, {}).items():
            assert end.kind != "done" or end.value == position
    pool.close(grace=0.0)
    inbox.close()
poolwise.shutdown()
assert not children(), [(each, state(each)) for each in children()]
"""
    )
    run(tmp_path, program, method)


@METHODS
def test_nothing_survives_a_caller_that_is_killed(method: str, tmp_path: Path) -> None:
    program = (
        LIB
        + """
def reachable(x):
    return os.getpid(), os.getppid()
if len(sys.argv) > 2:
    pairs = mapped(reachable)
    waits = [[signal.SIGUSR1]] * 2
    running = poolwise.map(signal.sigwait, waits, plan="process:2", start_method=method)
    print(*{each for pair in pairs for each in pair}, flush=True)
    next(running)
import subprocess
for _ in range(3):
    caller = subprocess.Popen([sys.executable, *sys.argv, "child"], stdout=subprocess.PIPE)
    watched = []
    for each in caller.stdout.readline().split():
        try:
            watched.append(os.pidfd_open(int(each)))
        except ProcessLookupError:
            pass  # a worker that was not kept
    assert watched
    caller.kill()
    caller.wait()
    caller.stdout.close()
    for each in watched:
        assert select.select([each], [], [], 20)[0]
"""
    )
    run(tmp_path, program, method)


@pytest.mark.parametrize("method", ["default", "forkserver"])
def test_many_threads_start_servers_at_once(method: str, tmp_path: Path) -> None:
    program = (
        LIB
        + """
def double(x): return 2 * x
barrier = threading.Barrier(6)
failures = []
def work():
    try:
        barrier.wait()
        assert mapped(double) == [0, 2, 4, 6]
    except BaseException as error:
        failures.append(error)
for _ in range(5):
    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads: each.start()
    for each in threads: each.join()
    assert not failures, failures
    assert len(children()) <= 1 and servers._fork_of_this is None
    poolwise.shutdown()
"""
    )
    run(tmp_path, program, method)


@METHODS
def test_a_copy_of_its_socket_keeps_no_server_alive(method: str, tmp_path: Path) -> None:
    """A process has one that the user forked while the server was being made."""
    program = """
mapped(pid, range(4))
server = servers._fork_of_this or servers._executed
copy = os.dup(server._front.fileno())
poolwise.shutdown()
assert server.has_ended()
os.close(copy)
"""
    run(tmp_path, program, method)
