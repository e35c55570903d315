"""What a program must not notice: no handler of a signal, no name in a file system, no stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import METHODS, run

pytestmark = pytest.mark.fault


@METHODS
def test_no_signal_handler_is_installed(method: str, tmp_path: Path) -> None:
    """Nor a mask left, nor a timer, whether things go well or not."""
    program = """
import time
def dispositions():
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    handlers = {each: signal.getsignal(each) for each in signal.valid_signals()}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return handlers, mask, wakeup, signal.getitimer(signal.ITIMER_REAL)
def call(n):
    if n == 3:
        os._exit(3)
    if n == 5:
        time.sleep(60)
    if n == 7:
        raise KeyError(n)
    return n
before = dispositions()
options = {"start_method": method, "on_error": "return"}
for plan in "inline", "thread:2", "process:2", "process:1x2", None:
    for _ in poolwise.map(abs, range(20), plan=plan, **options):
        assert dispositions() == before, plan
got = []
for each in poolwise.map(call, range(9), task_timeout=0.2, retries=1, **options):
    assert dispositions() == before
    got.append(each)
assert [type(got[n]) for n in (3, 5, 7)] == [poolwise.WorkerCrashed, poolwise.TaskTimeout, KeyError]
with poolwise.Executor(2, kill_on_cancel=True, start_method=method) as pool:
    future = pool.submit(time.sleep, 60)
    while not future.running():
        time.sleep(0.001)
    assert dispositions() == before
    assert future.cancel()
    pool.submit(abs, -1).result()
pool = poolwise.Executor(plan="process:2", start_method=method)
pool.submit(time.sleep, 60)
pool.shutdown(grace=0.0)
assert dispositions() == before
poolwise.shutdown()
assert dispositions() == before
"""
    run(tmp_path, program, method)


@METHODS
def test_what_is_shared_has_no_name_that_could_stay(method: str, tmp_path: Path) -> None:
    """So nothing is left of it in ``/dev/shm``, or elsewhere, however the caller ends."""
    program = """
import pathlib, subprocess, time
if len(sys.argv) > 2:
    table = poolwise.share(bytes(8_000_000))
    queue, lock = poolwise.Queue(), poolwise.Lock()
    def call(n):
        with lock:
            queue.put(bytes(300_000) if n == 0 else os.getppid())
        return bytes(2_000_000) if n < 40 else os.getpid(), len(table.value)
    results = poolwise.map(call, range(400), plan="process:2", start_method=method)
    kept = [next(results) for _ in range(60)]
    servers_of_both = {each for each in queue.get_many(60) if isinstance(each, int)}
    pool = poolwise.Executor(plan="process:1", task_timeout=60, start_method=method)
    family = {pid for pid, _ in kept[40:]} | servers_of_both | {pool.submit(os.getpid).result()}
    print(os.getpid(), *family, flush=True)
    time.sleep(60)
mine = pathlib.Path(os.environ["TMPDIR"])
mine.mkdir()
with subprocess.Popen([sys.executable, *sys.argv, "child"], stdout=subprocess.PIPE) as caller:
    pids = caller.stdout.readline().split()
    assert len(pids) >= 4, pids
    named, anonymous = [], 0
    for pid in map(int, pids):
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
        paths = [line.split(maxsplit=5)[5] for line in maps if line.count("/")]
        for fd in os.listdir(f"/proc/{pid}/fd"):
            paths.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        anonymous += sum(each.startswith("/memfd:poolwise") for each in paths)
        named += [each for each in paths if each.startswith(("/dev/shm", str(mine)))]
    assert anonymous, "nothing is shared: this looks in the wrong place"
    assert not named, named
    assert not list(mine.iterdir()), list(mine.iterdir())
    caller.kill()
assert not list(mine.iterdir()), list(mine.iterdir())
"""
    run(tmp_path, program, method, TMPDIR=str(tmp_path / "temporary"))


@METHODS
@pytest.mark.parametrize("bad", ["os.kill(os.getpid(), 19)", "ctypes.PyDLL(None).pause()"])
def test_a_worker_that_does_not_answer_holds_up_no_other(
    bad: str, method: str, tmp_path: Path
) -> None:
    """Without a time-out it keeps what it has; all else is done."""
    program = f"""
import ctypes, pathlib, time
def call(n):
    if n == 60:
        pathlib.Path("bad").write_text(str(os.getpid()))
        {bad}
    # Those before are so short that they are sent ahead, those that follow are not.
    time.sleep(0.001 if n <= 60 else 0.02)
    return n
with poolwise.Executor(plan="process:2", start_method=method) as pool:
    while pool.stats().workers < 2:
        assert list(pool.map(call, range(20))) == list(range(20))
    futures = [pool.submit(call, n) for n in range(100)]
    while sum(each.done() for each in futures) < 80:
        time.sleep(0.001)
    assert not futures[60].done()
    if "kill" in {bad!r}:
        os.kill(int(pathlib.Path("bad").read_text()), signal.SIGCONT)
        assert [each.result() for each in futures] == list(range(100))
    else:
        pool.shutdown(grace=0.0)
"""
    run(tmp_path, program, method)
