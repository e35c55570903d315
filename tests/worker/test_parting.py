"""What a fork of the caller gives up, and what it keeps: seen from the caller, while it lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import FORKS, METHODS, NEEDS_NUMPY, run


@pytest.fixture(autouse=True)
def _default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", "")


@FORKS
def test_a_port_is_free_again_and_a_peer_sees_the_end(method: str, tmp_path: Path) -> None:
    program = """
import socket
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
client = socket.create_connection(("127.0.0.1", port))
peer, _ = server.accept()
same_as_a_loop(abs)
pids = set(mapped(pid))
server.close()
peer.close()
client.settimeout(20)
assert client.recv(1) == b""
client.close()
with socket.socket() as other:  # without SO_REUSEADDR it could be refused for another reason
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", port))
    other.listen()
assert is_fork() and idle_workers.count(1)
"""
    run(tmp_path, program, method)


@FORKS
def test_a_child_sees_the_end_of_its_input(method: str, tmp_path: Path) -> None:
    program = """
import subprocess
child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
same_as_a_loop(abs)
assert is_fork()
child.stdin.close()
assert child.wait(20) == 0
assert child.stdout.read() == b""
child.stdout.close()
"""
    run(tmp_path, program, method)


@FORKS
def test_the_other_end_of_a_terminal_sees_its_end(method: str, tmp_path: Path) -> None:
    program = """
ours, theirs = os.openpty()
same_as_a_loop(abs)
assert is_fork()
os.close(ours)
assert os.read(theirs, 1) == b""
os.close(theirs)
"""
    run(tmp_path, program, method)


@FORKS
def test_a_lock_on_a_file_goes_when_the_caller_closes_it(method: str, tmp_path: Path) -> None:
    program = """
import fcntl
with open("lock", "w+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write("written")
    file.flush()
    def call(x):
        file.seek(0)
        return file.read(), x
    assert mapped(call, plan="process:1") == [("written", x) for x in range(4)]
    assert file.tell() == 7  # an offset of its own
with open("lock") as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""
    run(tmp_path, program, method)


@FORKS
def test_calls_write_to_files_that_the_caller_has_opened(method: str, tmp_path: Path) -> None:
    (tmp_path / "logs.py").write_text(
        """
file = None
def call(x):
    file.write(f"{x}\\n")
    return x
"""
    )
    program = """
import logs
path = os.path.dirname(os.path.abspath(__file__)) + "/log"
with open(path, "a", buffering=1) as logs.file:
    mapped(logs.call)
"""
    run(tmp_path, program, method)
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2", "3"]


@FORKS
def test_connections_of_the_caller_refuse_in_calls(method: str, tmp_path: Path) -> None:
    # Rather than take what is written and lose it.
    (tmp_path / "links.py").write_text(
        """
import os, socket
ours, theirs = socket.socketpair()
readable, writable = os.pipe()
def call(what):
    try:
        if what == "socket":
            ours.send(b"lost")
        elif what == "write":
            os.write(writable, b"lost")
        else:
            os.read(readable, 1)
    except OSError:
        return "refused"
"""
    )
    program = """
from links import call, ours, readable, theirs, writable
assert mapped(call, ["socket", "write", "read"]) == ["refused"] * 3
os.write(writable, b"x")
assert os.read(readable, 2) == b"x"
ours.send(b"y")
assert theirs.recv(2) == b"y"
ours.close()
theirs.close()
"""
    run(tmp_path, program, method)


@FORKS
def test_what_was_printed_before_comes_out_once(method: str, tmp_path: Path) -> None:
    program = """
print("before", end=" ")
def call(x): print("call", x)
mapped(call, range(2), "process:1")
print("between", end=" ")
def call(x): print("again", x)  # another fork
mapped(call, range(2), "process:1")
print("after")
"""
    assert run(tmp_path, program, method).split() == [
        *["before", "call", "0", "call", "1"],
        *["between", "again", "0", "again", "1", "after"],
    ]


@METHODS
def test_what_calls_print_goes_where_output_goes_now(method: str, tmp_path: Path) -> None:
    program = """
import contextlib, io
def call(x): print("call", x)
with contextlib.redirect_stdout(io.StringIO()) as buffer:
    mapped(call, [1], "process:1")
assert buffer.getvalue() == "call 1\\n"
mapped(call, [2], "process:1")
sys.stdout.flush()
kept = os.dup(1)
with open(os.path.dirname(os.path.abspath(__file__)) + "/output", "w") as file:
    os.dup2(file.fileno(), 1)
mapped(call, [3], "process:1")
os.dup2(kept, 1)
os.close(kept)
mapped(call, [4], "process:1")
"""
    assert run(tmp_path, program, method).splitlines() == ["call 2", "call 4"]
    assert (tmp_path / "output").read_text() == "call 3\n"


@METHODS
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(closed: str, method: str, tmp_path: Path) -> None:
    # What is printed must not go to the next thing that was opened, which is a socket of ours.
    program = """
def call(x):
    for descriptor, stream in (1, sys.__stdout__), (2, sys.__stderr__):
        if stream is None:
            os.write(descriptor, b"noise" * 100)
    return x
fine = mapped(call) == [0, 1, 2, 3]
with open(sys.argv[2], "w") as file:
    file.write("fine" if fine else "not fine")
"""
    result = tmp_path / "result"
    run(tmp_path, program, method, shell=f"{result} {closed}")
    assert result.read_text() == "fine"


@FORKS
def test_exit_handlers_and_finalizers_are_the_callers(method: str, tmp_path: Path) -> None:
    program = """
import atexit, tempfile, weakref
from pathlib import Path
class Thing: pass
thing = Thing()
notes = Path(__file__).with_name("notes")
def note(what):
    with open(notes, "a") as file:
        file.write(f"{what} {os.getpid()}\\n")
atexit.register(note, "exit handler")
weakref.finalize(thing, note, "finalizer")
folder = tempfile.TemporaryDirectory()
def call(x):
    global thing
    thing = None
    return os.path.exists(folder.name)
assert all(mapped(call))
mapped(abs, plan="process:1", max_tasks_per_child=1) if method is None else None
poolwise.shutdown()
assert os.path.exists(folder.name)
assert not notes.exists(), notes.read_text()
folder.cleanup()
print(os.getpid())
"""
    me = run(tmp_path, program, method).strip()
    notes = (tmp_path / "notes").read_text().splitlines()
    assert sorted(notes) == [f"exit handler {me}", f"finalizer {me}"]


@pytest.mark.fault
@FORKS
def test_signal_handlers_of_the_caller_do_not_run_elsewhere(method: str, tmp_path: Path) -> None:
    program = """
def fail(signum, frame):
    raise RuntimeError(os.getpid())
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1:
    signal.signal(number, fail)
def handlers(x):
    return [signal.getsignal(number) is fail for number in (signal.SIGHUP, signal.SIGUSR1)]
assert mapped(handlers) == [[False, False]] * 4
pids = set()
while len(pids) < 2 or idle_workers.count(1) < 2:  # one that was not ready in time is not kept
    pids = set(mapped(pid))
server = servers._fork_of_this.pid
for number in signal.SIGINT, signal.SIGTERM:
    for each in [server, *pids]:
        os.kill(each, number)
assert set(mapped(pid)) <= pids and servers._fork_of_this.pid == server
"""
    run(tmp_path, program, method)


@FORKS
def test_multiprocessing_may_be_used_on_both_sides(method: str, tmp_path: Path) -> None:
    program = """
import multiprocessing, warnings
from multiprocessing import shared_memory
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
def child(queue, x): queue.put(x)
def through_a_child(x):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue, x))
    process.start()
    value = queue.get()
    process.join()
    assert not multiprocessing.active_children()
    return value
ours = multiprocessing.get_context("fork").Process(target=signal.pause)
ours.start()
block = shared_memory.SharedMemory(create=True, size=4)
def write(x):
    block.buf[x] = x
    return x
assert mapped(through_a_child) == [0, 1, 2, 3]
same_as_a_loop(write)
assert bytes(block.buf[:4]) == bytes([0, 1, 2, 3])
poolwise.shutdown()
assert multiprocessing.active_children() == [ours]
ours.kill()
ours.join()
block.close()
block.unlink()
"""
    run(tmp_path, program, method)


@METHODS
@NEEDS_NUMPY
def test_random_numbers_differ_between_workers(method: str, tmp_path: Path) -> None:
    program = """
import random
import numpy
random.seed(1)
numpy.random.seed(1)
def draw(x):
    import time
    time.sleep(0.02)
    return os.getpid(), random.random(), float(numpy.random.random())
seen = set()
for _ in range(2):
    drawn = mapped(draw, range(4), "process:2")
    for each in 1, 2:
        values = [row[each] for row in drawn]
        assert len(set(values)) == 4, drawn
        assert not seen & set(values)
        seen |= set(values)
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@FORKS
def test_nothing_of_the_caller_stays_open_in_a_worker(method: str, tmp_path: Path) -> None:
    program = """
import socket
pairs = [socket.socketpair() for _ in range(20)]
def opened(x):
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass
    return sum(link.startswith(("socket", "pipe")) for link in links)
(count,) = mapped(opened, [0], "process:1")
assert count <= 8, count  # data, control, life, bell, output
"""
    run(tmp_path, program, method)
