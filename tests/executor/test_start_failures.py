"""Workers that the system does not give: what runs goes on with fewer, or one error says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import METHODS, run
from thorough import thorough

pytestmark = pytest.mark.fault

#: Limits of their own for these programs. That of processes is for a user who is nobody else, and
#: counts threads, too; it does not bind root, so the program becomes less than that.
LIMITS = """
import concurrent.futures.process, ctypes, errno, itertools, pathlib, resource, time

def processes(more):
    resource.setrlimit(resource.RLIMIT_NPROC, (len(os.listdir("/proc/self/task")) + more, hard))

def files_of_server(more):
    front = servers._fork_of_this or servers._executed
    if front is None:  # it could start no worker, and has been let go
        return
    stat = pathlib.Path(f"/proc/{front.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "S":
        pass  # it is still at the last request
    _, hard = resource.prlimit(front.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(front.pid, resource.RLIMIT_NOFILE, (min(spare(more, front.pid), hard), hard))

def spare(more, process="self"):
    used = set(map(int, os.listdir(f"/proc/{process}/fd")))
    free = (each for each in itertools.count() if each not in used)
    return next(itertools.islice(free, more, None))

def lift():
    resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))

_, hard = resource.getrlimit(resource.RLIMIT_NPROC)
hard = min(hard, 1 << 20) if hard > 0 else 1 << 20

started = []
def counted(*args, original=servers.Server.start_worker, **options):
    started.append(args)
    return original(*args, **options)
servers.Server.start_worker = counted

def call(x):
    time.sleep(0.002)
    return os.getpid(), x

def values(results):
    return [x for _, x in results]
"""

BECOME_NOBODY = """
if os.getuid() == 0:
    SETPCAP_DROP, SYS_ADMIN, SYS_RESOURCE = 24, 21, 24
    prctl = ctypes.CDLL(None).prctl
    try:
        if any(prctl(SETPCAP_DROP, each, 0, 0, 0) for each in (SYS_ADMIN, SYS_RESOURCE)):
            raise PermissionError
        os.setresuid(100_000 + os.getpid(), 0, 0)
    except OSError:
        print("not allowed")
        sys.exit()
    os.execv(sys.executable, sys.orig_argv)
elif os.geteuid() != 0:
    print("not allowed")
    sys.exit()
"""


def limited(folder: Path, program: str, method: str = "default") -> None:
    """Run a program for which `processes` is a limit."""
    if run(folder, LIMITS + BECOME_NOBODY + program, method) == "not allowed\n":
        pytest.skip("only root can become a user without processes")


STARTS = pytest.mark.parametrize("method", ["default", "forkserver", *thorough("spawn", "fork")])


@STARTS
@pytest.mark.parametrize(
    ("plan", "more"), [("process:2", 0), ("process:2", 2), *thorough(("process:1x4", 3))]
)
def test_a_map_without_workers_says_why(plan: str, more: int, method: str, tmp_path: Path) -> None:
    program = f"""
processes({more})
try:
    mapped(call, range(40), plan={plan!r})
except poolwise.PoolwiseError as error:
    assert isinstance(error.__cause__, OSError), repr(error.__cause__)
    assert error.__cause__.errno == errno.EAGAIN
    assert "no worker can be started" in str(error) and "ulimit -u" in str(error), error
else:
    raise AssertionError("it had a worker")
assert len(started) <= 3, len(started)
lift()
assert values(mapped(call, range(40), plan={plan!r})) == list(range(40))
"""
    limited(tmp_path, program, method)


@STARTS
@pytest.mark.parametrize("plan", ["process:2", *thorough("process:1x4")])
def test_an_executor_without_workers_says_why(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
with poolwise.Executor(plan={plan!r}, start_method=method) as pool:
    processes(2)  # one is the executor's own thread
    futures = [pool.submit(call, each) for each in range(20)]
    for each in futures:
        error = each.exception()
        assert isinstance(error, poolwise.PoolFailed), repr(error)
        assert isinstance(error, concurrent.futures.BrokenExecutor)
        assert error.__cause__.errno == errno.EAGAIN and "ulimit -u" in str(error), error
    lift()
    assert values(pool.map(call, range(20))) == list(range(20))
"""
    limited(tmp_path, program, method)


@STARTS
def test_a_map_goes_on_with_fewer(method: str, tmp_path: Path) -> None:
    # Room for a server and one worker, which has two threads. All of four are tried at once.
    program = """
import logging
records = []
class Keep(logging.Handler):
    def emit(self, record):
        records.append(record)
logging.getLogger("poolwise").addHandler(Keep())
processes(3)
run = poolwise.map(call, range(40), plan="process:4", start_method=method)
results = list(run)
assert values(results) == list(range(40))
assert len({pid for pid, _ in results}) == 1
assert len(started) <= 5, len(started)
story = [each.text for each in run.record().phases if "fewer" in each.text]
assert len(story) == 1 and "ulimit -u" in story[0], story
told = [each for each in records if each.levelno == logging.WARNING]
assert len(told) == 1 and told[0].error.errno == errno.EAGAIN, told
"""
    limited(tmp_path, program, method)


@METHODS
def test_a_worker_is_replaced_where_there_is_room_for_one_only(method: str, tmp_path: Path) -> None:
    program = """
processes(3)
results = mapped(call, range(20), plan="process:1", max_tasks_per_child=5)
assert values(results) == list(range(20))
assert len({pid for pid, _ in results}) >= 4
"""
    limited(tmp_path, program, method)


@pytest.mark.parametrize("work", ["time.sleep(0.002)", "sum(range(60_000))", "sum(range(300_000))"])
def test_auto_goes_on_without_threads_and_processes(work: str, tmp_path: Path) -> None:
    program = f"""
def call(x):
    {work}
    return x
for more in range(4):
    processes(more)
    assert list(poolwise.map(call, range(40))) == list(range(40))
    poolwise.shutdown()  # or what the map keeps idle may have all
processes(2)
with poolwise.Executor() as pool:
    assert list(pool.map(call, range(40))) == list(range(40))
"""
    limited(tmp_path, program)


DIE = """
def die(x):
    os._exit(3)
def die_when(name):
    while not os.path.exists(name):
        time.sleep(0.001)
    os._exit(3)
def assert_dies(pool):
    assert isinstance(pool.submit(die, 0).exception(), poolwise.WorkerCrashed)
def wait_for_two(pool):
    until = time.monotonic() + 20
    while pool.stats().workers < 2:
        assert time.monotonic() < until
        assert pool.submit(call, 7).result()[1] == 7
"""


@METHODS
@pytest.mark.parametrize("guard", ["", "task_timeout=60"])
def test_what_runs_goes_on_when_a_worker_cannot_be_replaced(
    guard: str, method: str, tmp_path: Path
) -> None:
    program = f"""
from poolwise.mechanisms import missing
missing._PATIENCE_LEAST = 0.0
with poolwise.Executor(plan="process:2", start_method=method, {guard}) as pool:
    wait_for_two(pool)
    files_of_server(1)
    assert_dies(pool)
    assert values(pool.map(call, range(40))) == list(range(40))
    assert pool.stats().workers == 1
    files_of_server(100)
    wait_for_two(pool)
"""
    run(tmp_path, LIMITS + DIE + program, method)


@METHODS
def test_calls_fail_when_the_last_worker_cannot_be_replaced(method: str, tmp_path: Path) -> None:
    program = """
with poolwise.Executor(plan="process:2", start_method=method) as pool:
    wait_for_two(pool)
    files_of_server(1)
    assert_dies(pool)
    before = len(started)
    assert values(pool.map(call, range(40))) == list(range(40))
    assert len(started) <= before + 1
    pool.submit(die_when, "submitted")
    futures = [pool.submit(call, each) for each in range(9)]
    pathlib.Path("submitted").touch()
    for each in futures:
        error = each.exception()
        assert isinstance(error, concurrent.futures.process.BrokenProcessPool), repr(error)
        assert error.__cause__.errno == errno.EMFILE and "ulimit -n" in str(error), error
    assert len(started) <= before + 3
    assert values(pool.map(call, range(40))) == list(range(40))  # by another server
"""
    run(tmp_path, LIMITS + DIE + program, method)


@METHODS
def test_a_server_that_may_open_no_more_says_so(method: str, tmp_path: Path) -> None:
    program = """
mapped(abs)
idle_workers.clear()
for more in 1, 6, 8:
    for limits in {}, {"task_timeout": 60}:
        files_of_server(more)
        try:
            results = mapped(call, range(20), **limits)
        except poolwise.PoolwiseError as error:
            assert error.__cause__.errno == errno.EMFILE and "ulimit -n" in str(error), error
        else:
            assert values(results) == list(range(20))
        files_of_server(100)
        idle_workers.clear()
        assert values(mapped(call, range(20), **limits)) == list(range(20))
        idle_workers.clear()
"""
    run(tmp_path, LIMITS + program, method)


@METHODS
@pytest.mark.parametrize("plan", ["process:2", "None"])
def test_a_caller_that_may_open_no_more(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
plan = {plan if plan == "None" else repr(plan)}
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for more in 1, 6, 10:
    mapped(abs)  # a server keeps the limits with which it was started
    idle_workers.clear()
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare(more), hard))
    try:
        results = mapped(call, range(20), plan=plan)
    except poolwise.PoolwiseError as error:
        assert plan is not None
        assert error.__cause__.errno == errno.EMFILE and "ulimit -n" in str(error), error
    else:
        assert plan is None or more > 6
        assert values(results) == list(range(20))
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert values(mapped(call, range(20), plan=plan)) == list(range(20))
    poolwise.shutdown()
"""
    run(tmp_path, LIMITS + program, method)


@pytest.mark.parametrize("more", [0, 1])
def test_idle_workers_that_cannot_be_told_all_are_not_waited_for(more: int, tmp_path: Path) -> None:
    """They are there already, but there is no descriptor for what they are to know."""
    program = """
def results():
    with poolwise.Executor(plan="process:2", idle_timeout=30) as pool:
        return values([pool.submit(call, x).result(30) for x in range(20)])

assert results() == [*range(20)]
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (spare(MORE), most))
try:
    assert results() == [*range(20)]
except poolwise.PoolFailed as error:
    assert "open no more files" in str(error), error
"""
    run(tmp_path, LIMITS + program.replace("MORE", str(more)))


#: Workers that hold no more than 60 MB, beside what they are themselves.
LITTLE_MEMORY = """
def limit():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (60 << 20)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where it says what it lacks
    resource.setrlimit(resource.RLIMIT_AS, (most, most))

def mapped_with_little(size):
    inputs = [b"few", bytes(size), b"more"]
    first, second, third = mapped(len, inputs, initializer=limit, on_error="return")
    assert (first, third) == (3, 4), (first, third)
    return second
"""


def test_a_call_that_is_too_much_for_any_worker_fails_alone(tmp_path: Path) -> None:
    """It lies in shared memory, of which a worker can have no copy; and where there is room for one
    such call only, when it is sent again by itself.
    """
    program = """
from poolwise.executor import workers

workers._LARGEST_ARENA = 150 << 20
error = mapped_with_little(100 << 20)
assert isinstance(error, poolwise.TransferError), repr(error)
assert "MemoryError" in str(error), error
"""
    run(tmp_path, LIMITS + LITTLE_MEMORY + program)


def test_a_call_that_no_worker_has_room_to_receive_fails_alone(tmp_path: Path) -> None:
    """It goes through the socket, where a worker needs the memory before it can say so."""
    program = """
from poolwise.executor import workers

workers._LARGEST_ARENA = 1 << 20
error = mapped_with_little(100 << 20)
assert isinstance(error, poolwise.WorkerCrashed) and error.index == 1, repr(error)
"""
    run(tmp_path, LIMITS + LITTLE_MEMORY + program)
