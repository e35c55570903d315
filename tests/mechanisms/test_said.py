"""What calls print, log and warn of in workers comes out here: whole, once, where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import METHODS, run
from thorough import thorough

PLANS = pytest.mark.parametrize("plan", ["process:2", *thorough("process:1x4")])


@METHODS
@PLANS
def test_lines_stay_whole(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
def call(n):
    for _ in range(20):
        print(str(n % 10) * 50, n % 10, end="")
        print("", str(n % 10) * 500)
mapped(call, range(40), plan={plan!r})
"""
    lines = run(tmp_path, program, method).splitlines()
    assert len(lines) == 40 * 20
    assert all(len(set(line.replace(" ", ""))) == 1 and len(line) == 553 for line in lines)


@METHODS
@PLANS
def test_another_stream_of_the_callers_has_it(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
import contextlib, io
def call(n):
    print("out", n)
    print("err", n, file=sys.stderr)
    print("…\\udc80", end="")
    sys.stdout.flush()
first, out, err = io.StringIO(), io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(first):
    mapped(call, range(2), plan={plan!r})
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    mapped(call, range(9), plan={plan!r})
assert first.getvalue().count("out") == 2
text = out.getvalue()
assert sorted(text.replace("…\\udc80", "").splitlines()) == [f"out {{n}}" for n in range(9)], text
assert text.count("…\\udc80") == 9
assert sorted(err.getvalue().splitlines()) == [f"err {{n}}" for n in range(9)], err.getvalue()
mapped(print, [1], plan={plan!r})
"""
    printed = run(tmp_path, program, method, shell="2>/dev/null")
    assert printed == "1\n"


@METHODS
@PLANS
@pytest.mark.parametrize("imported", ["before", "in the call"])
def test_records_come_to_the_callers_handlers(
    imported: str, plan: str, method: str, tmp_path: Path
) -> None:
    program = f"""
import threading
if {imported!r} == "before":
    import logging
def call(n):
    import logging
    logger = logging.getLogger("some.where")
    logger.warning("hello %d", n, extra={{"number": n, "lock": threading.Lock()}})
    logger.info("not asked for")
    logging.getLogger("quiet").error("dropped")
    logging.error("from the root")
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("failed")
import logging
kept = []
class Keep(logging.Handler):
    def emit(self, record):
        kept.append(record)
logging.getLogger("some").addHandler(Keep())
logging.getLogger("quiet").addFilter(lambda record: False)
logging.getLogger("some").propagate = False
rooted = []
class KeepRoot(logging.Handler):
    def emit(self, record):
        rooted.append(record)
logging.getLogger().addHandler(KeepRoot())
mapped(call, range(5), plan={plan!r})
assert [each.getMessage() for each in rooted] == ["from the root"] * 5, rooted
assert len(kept) == 10, kept
hello = [each for each in kept if each.msg.startswith("hello")]
assert sorted(each.getMessage() for each in hello) == [f"hello {{n}}" for n in range(5)]
assert {{each.name for each in kept}} == {{"some.where"}}
assert {{each.levelname for each in hello}} == {{"WARNING"}}
assert all(each.number == int(each.getMessage()[-1]) for each in hello)
assert all(each.process != os.getpid() and each.funcName == "call" for each in kept)
assert sum("ZeroDivisionError" in (each.exc_text or "") for each in kept) == 5
"""
    run(tmp_path, program, method)


@METHODS
def test_handlers_that_calls_add_have_their_records(method: str, tmp_path: Path) -> None:
    program = """
import logging
def call(n):
    handler = logging.StreamHandler(sys.stdout)
    logger = logging.getLogger("own")
    logger.addHandler(handler)
    logger.warning("mine %d", n)
    logger.removeHandler(handler)
logging.getLogger().addHandler(logging.NullHandler())
mapped(call, range(3), plan="process:1")
"""
    assert run(tmp_path, program, method) == "mine 0\nmine 1\nmine 2\n"


@METHODS
@PLANS
def test_warnings_come_to_the_callers_filters(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
import warnings
def call(n):
    warnings.warn("old" if n else "first", DeprecationWarning)
    warnings.warn("also", UserWarning)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", category=UserWarning)
    mapped(call, range(4), plan={plan!r})
assert sorted(str(each.message) for each in caught) == ["first", "old", "old", "old"], caught
assert all(each.category is DeprecationWarning for each in caught)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("default")
    mapped(call, range(1, 9), plan={plan!r})
assert sorted(str(each.message) for each in caught) == ["also", "old"], caught
with warnings.catch_warnings():
    warnings.simplefilter("error")
    try:
        mapped(call, [1], plan={plan!r})
    except DeprecationWarning as error:
        assert str(error) == "old"
    else:
        raise AssertionError("not raised")
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_last_words_of_a_worker_that_dies_or_is_killed(method: str, tmp_path: Path) -> None:
    program = """
import contextlib, io, time, threading
out = io.StringIO()
def die(n):
    print("dying")
    os._exit(3)
def stay(n):
    print("staying")
    time.sleep(0.05)
    print("ready")
    sys.stdout.flush()
    if n:
        time.sleep(3600)
with contextlib.redirect_stdout(out):
    dead = mapped(die, [1], plan="process:1", on_error="return")
    assert isinstance(dead[0], poolwise.WorkerCrashed)
    with poolwise.map(stay, [0, 1], plan="process:2", start_method=method) as run:
        next(run)
        time.sleep(0.2)
assert out.getvalue().count("dying") == 1
assert out.getvalue().count("ready") == 2, out.getvalue()
"""
    run(tmp_path, program, method)


@pytest.mark.fault
@METHODS
def test_a_signal_handler_and_a_child_may_print(method: str, tmp_path: Path) -> None:
    program = """
import contextlib, io, logging
out = io.StringIO()
def call(n):
    def tick(*_):
        print("tick")
        logging.getLogger("ticks").warning("tick")
    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for _ in range(300):
        sys.stdout.write("x" * 5000 + "\\n")
    signal.setitimer(signal.ITIMER_REAL, 0)
    if not os.fork():
        print("child")
        os._exit(0)
    os.wait()
    return n
logging.getLogger("ticks").addHandler(logging.NullHandler())
with contextlib.redirect_stdout(out):
    assert mapped(call, range(2), plan="process:2") == [0, 1]
lines = out.getvalue().splitlines()
assert lines.count("x" * 5000) == 600, len(lines)
"""
    assert run(tmp_path, program, method) == "child\nchild\n"


@METHODS
def test_streams_are_like_those_they_stand_for(method: str, tmp_path: Path) -> None:
    program = """
import subprocess
def call(n):
    sys.stdout.buffer.write(b"bytes\\n")
    print("text", file=sys.stdout)
    sys.stdout.writelines(["a\\n", "b\\n"])
    subprocess.run(["echo", "echoed"], stdout=sys.stdout, check=True)
    return sys.stdout.fileno(), sys.stdout.isatty(), sys.stdout.encoding == expected
expected = sys.stdout.encoding
assert mapped(call, [1], plan="process:1") == [(1, False, True)]
"""
    assert run(tmp_path, program, method) == "bytes\ntext\na\nb\nechoed\n"


#: A reader that is slower than the calls, so that the pipe is full nearly always.
SLOW_PIPE = """
import subprocess
READER = '''
import os, sys
taken = []
while some := os.read(0, 700):
    taken.append(some)
for each in b"".join(taken).splitlines():
    print(len(each), *sorted(set(each.decode())), file=sys.stderr)
'''
reader = subprocess.Popen([sys.executable, "-c", READER], stdin=-1, stderr=-1)
os.dup2(reader.stdin.fileno(), 1)
reader.stdin.close()
def lines():
    os.close(1)
    found = reader.stderr.read().decode().splitlines()
    reader.stderr.close()
    reader.wait()
    return found
"""


@pytest.mark.fault
@METHODS
@PLANS
def test_long_lines_stay_whole_in_a_full_pipe(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
def call(n):
    for size in 9000, 10, 70_000:
        print(str(n % 10) * size)
mapped(call, range(20), plan={plan!r})
poolwise.shutdown()
whole = sorted(f"{{size}} {{n}}" for n in range(10) for size in (9000, 10, 70_000) for _ in "12")
assert sorted(lines()) == whole
"""
    run(tmp_path, SLOW_PIPE + program, method)


@pytest.mark.fault
def test_nobody_waits_for_a_writer_that_has_been_stopped(tmp_path: Path) -> None:
    # This process holds the lock of the pipe, as such a worker would, and does not let go of it.
    program = """
import fcntl
from _poolwise_worker import whole
whole.PATIENCE = 0.01
def call(n):
    print(n)
fcntl.lockf(1, fcntl.LOCK_EX)
mapped(call, range(4))
poolwise.shutdown()
assert sorted(lines()) == [f"1 {n}" for n in range(4)]
"""
    run(tmp_path, SLOW_PIPE + program)
