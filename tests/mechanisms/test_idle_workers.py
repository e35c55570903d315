"""Workers that wait for the next pool: used again, or gone, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import METHODS, run

#: Calls that wait for each other: each of two workers has one, also if one gets no CPU for long.
MEETING = """
os.mkfifo("door")

def meet(number):
    os.close(os.open("door", os.O_WRONLY if number else os.O_RDONLY))
    return os.getpid()
"""


@METHODS
def test_idle_workers_are_used_again(method: str, tmp_path: Path) -> None:
    program = (
        MEETING
        + """
first = set(mapped(meet, range(2)))
assert len(first) == 2 and idle_workers.count(1) == 2
for _ in range(5):
    assert set(mapped(meet, range(2))) == first
assert set(mapped(lambda x: pid(x), range(20))) <= first or method == "fork" or method is None
"""
    )
    run(tmp_path, program, method)


@METHODS
def test_workers_of_another_kind_are_not(method: str, tmp_path: Path) -> None:
    program = """
one = set(mapped(pid, range(20), "process:2"))
several = set(mapped(pid, range(20), "process:1x2"))
assert not one & several
assert idle_workers.count(1) == 2 and idle_workers.count(2) == 1
assert set(mapped(pid, range(20), "process:1x2")) == several
for other in {"fork", "forkserver", "spawn"} - {method}:
    if other == "fork" and method is None:
        continue  # the same thing
    workers = set(poolwise.map(pid, range(8), plan="process:2", start_method=other))
    assert not workers & one, other
"""
    run(tmp_path, program, method)


@pytest.mark.parametrize("method", ["default", "forkserver", "spawn"])
@pytest.mark.parametrize("option", ["initializer=int", "max_tasks_per_child=1000"])
def test_workers_that_are_changed_or_counted_serve_one_pool(
    option: str, method: str, tmp_path: Path
) -> None:
    program = f"""{MEETING}
idle = set(mapped(meet, range(2)))
own = set(mapped(meet, range(2), {option}))
assert len(own) == 2 and not own & idle
assert set(mapped(meet, range(2))) == idle
assert not set(mapped(meet, range(2), {option})) & (own | idle)
"""
    run(tmp_path, program, method)


KILLED = """
import select
def wait_for_end(of):
    descriptor = os.pidfd_open(of)
    assert select.select([descriptor], [], [], 20)[0]
    os.close(descriptor)
def kill(which):
    descriptor = os.pidfd_open(which)
    os.kill(which, signal.SIGKILL)
    assert select.select([descriptor], [], [], 20)[0]
    os.close(descriptor)
def server():
    return (servers._fork_of_this or servers._executed).pid
"""


@pytest.mark.fault
@METHODS
def test_an_idle_worker_may_be_killed(method: str, tmp_path: Path) -> None:
    program = (
        MEETING
        + KILLED
        + """
first = set(mapped(meet, range(2)))
kill(min(first))
second = set(mapped(meet, range(2)))
assert max(first) in second and min(first) not in second and len(second) == 2
"""
    )
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_an_idle_worker_that_has_not_rested_has_to_answer_first(
    method: str, tmp_path: Path
) -> None:
    # As one whose last call has left a thread behind that holds the GIL.
    program = (
        MEETING
        + """
import pathlib, signal
first = set(mapped(meet, range(2)))
stuck = idle_workers._stock[0]
os.kill(stuck.pid, signal.SIGSTOP)
while ") T " not in pathlib.Path(f"/proc/{stuck.pid}/stat").read_text():
    pass
stuck.ends.marks[0] = 0
assert set(mapped(pid, range(20))) == first - {stuck.pid}
"""
    )
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_the_server_of_idle_workers_may_be_killed(method: str, tmp_path: Path) -> None:
    program = (
        MEETING
        + KILLED
        + """
first = set(mapped(meet, range(2)))
kill(server())
assert len(set(mapped(meet, range(2)))) == 2  # they may serve once more
second = set(mapped(meet, range(2)))
assert len(second) == 2 and not second & first
assert set(mapped(meet, range(2))) == second
poolwise.shutdown()
for each in first:
    try:
        wait_for_end(each)
    except ProcessLookupError:
        pass
"""
    )
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_everything_may_be_killed(method: str, tmp_path: Path) -> None:
    program = (
        MEETING
        + KILLED
        + """
for _ in range(3):
    for each in {server(), *mapped(pid, range(8))} if servers.there_is() else mapped(pid, [0]):
        try:
            kill(each)
        except ProcessLookupError:
            pass
assert len(set(mapped(meet, range(2)))) == 2
"""
    )
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_shutdown_ends_idle_workers_and_servers(method: str, tmp_path: Path) -> None:
    program = (
        MEETING
        + KILLED
        + """
watched = [os.pidfd_open(each) for each in set(mapped(meet, range(2)))]
watched.append(os.pidfd_open(server()))
poolwise.shutdown()
for each in watched:
    assert select.select([each], [], [], 20)[0]
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    assert not file.read().split()
assert idle_workers.count(1) == 0 and not servers.there_is()
poolwise.shutdown()
assert len(set(mapped(meet, range(2)))) == 2
"""
    )
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_a_user_fork_leaves_idle_workers_to_the_parent(method: str, tmp_path: Path) -> None:
    program = f"""{MEETING}
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
first = set(mapped(meet, range(2)))
child = os.fork()
if not child:
    try:
        assert not idle_workers.count(1)
        own = set(mapped(meet, range(2)))
        assert len(own) == 2 and not own & first
        poolwise.shutdown()
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
assert os.waitpid(child, 0)[1] == 0
assert set(mapped(meet, range(2))) == first
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_idle_workers_end_with_the_program(method: str, tmp_path: Path) -> None:
    program = f"""{MEETING}
print(*set(mapped(meet, range(2))))
"""
    for each in run(tmp_path, program, method).split():
        status = Path(f"/proc/{each}/stat")
        assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


EXPIRING = """
import dataclasses, random, select, time
from poolwise.ipc import Inbox
from poolwise.mechanisms import WorkerOptions, mechanism
from poolwise.task import Batch, Task
from poolwise.testing import RecordingSink

def use(task, timeout, calls=3, workers=2):
    inbox, sink = Inbox(), RecordingSink()
    options = WorkerOptions(2, [task], siblings=2, start_method=method, idle_timeout=timeout)
    pool = mechanism("process").open(options, sink, inbox)
    pool.grow(workers)
    sink.wait(inbox, lambda: len(sink.ready_workers) >= workers)
    batches = [Batch(task, (list(range(calls)),)) for _ in range(4)]
    for batch in batches:
        pool.send(batch)
    sink.wait(inbox, lambda: sink.has_ended(*batches))
    for batch in batches:
        assert [end.value for end in sink.ends_of(batch)] == list(range(calls))
    assert not sink.gone_workers, sink.gone_workers
    assert len(sink.ready_workers) == workers, sink.ready_workers  # each is counted once
    pids = {worker.pid for worker in pool._workers.values()}
    pool.close(grace=None)
    inbox.close()
    return pids

def same(x): return x
"""


@pytest.mark.fault
@METHODS
def test_an_idle_worker_ends_itself(method: str, tmp_path: Path) -> None:
    program = (
        EXPIRING
        + """
pids = use(Task(same), 0.05)
for each in pids:
    try:
        watched = os.pidfd_open(each)
    except ProcessLookupError:
        continue
    assert select.select([watched], [], [], 20)[0]
    os.close(watched)
assert not use(Task(same), 0.05) & pids
"""
    )
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_a_worker_may_expire_at_the_moment_it_is_taken(method: str, tmp_path: Path) -> None:
    # The pool hears nothing of it: the worker either serves, or was never ready.
    program = (
        EXPIRING
        + """
task = Task(same)
poll = select.poll()
draw = random.Random(1)
before, reused, rounds = set(), 0, 40 if method == "spawn" else 150
for _ in range(rounds):
    pids = use(task, 0.003)
    reused += len(pids & before)
    before = pids
    poll.poll(0)
    time.sleep(draw.uniform(0.0, 0.006))  # any moment is as good as another
assert 0 < reused < 2 * rounds, reused
"""
    )
    run(tmp_path, program, method)


@METHODS
def test_threads_may_map_at_once(method: str, tmp_path: Path) -> None:
    program = """
import threading
def double(x): return 2 * x
def work(number):
    try:
        for round in range(10):
            inputs = range(number, number + 7)
            assert mapped(double, inputs) == [2 * each for each in inputs]
    except BaseException as error:
        failures.append(error)
failures = []
mapped(double)
threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
assert idle_workers.count(1) <= 2 * os.cpu_count()
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_another_thread_may_shut_down_at_any_time(method: str, tmp_path: Path) -> None:
    program = """
import threading
def double(x): return 2 * x
done = threading.Event()
def keep_shutting_down():
    while not done.wait(0.001):
        poolwise.shutdown()
thread = threading.Thread(target=keep_shutting_down)
thread.start()
try:
    for round in range(8 if method == "spawn" else 25):
        assert mapped(double) == [0, 2, 4, 6]
finally:
    done.set()
    thread.join()
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@pytest.mark.parametrize("method", ["default", "forkserver"])
def test_a_thousand_maps_leave_nothing(method: str, tmp_path: Path) -> None:
    program = """
def memory(of):
    with open(f"/proc/{of}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
def measured():
    while idle_workers.count(1) < 2:  # one that was not ready in time is not kept
        mapped(pid, range(8))
    server = (servers._fork_of_this or servers._executed).pid
    opened = [len(os.listdir(f"/proc/{each}/fd")) for each in ("self", server)]
    threads = len(os.listdir("/proc/self/task"))
    return [*opened, threads], [memory("self"), memory(server)]
def double(x): return 2 * x
for _ in range(100):
    mapped(double)
before, memory_before = measured()
for _ in range(1000):
    mapped(double)
after, memory_after = measured()
assert after == before, (before, after)
for was, now in zip(memory_before, memory_after):
    assert now < was + 2000, (memory_before, memory_after)  # KiB: 2 a map would be a leak
"""
    run(tmp_path, program, method)
