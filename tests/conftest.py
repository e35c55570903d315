"""What holds for every test: it leaves no process, no thread and no open descriptor behind.

A test that must leave something says so: ``@pytest.mark.leaves("which thing, and why")``.
``--repeat N`` runs every selected test N times.
"""

from __future__ import annotations

import contextlib
import ctypes  # noqa: F401  # first, because its library may stay open from then on
import gc
import os
import select
import signal
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from poolwise.mechanisms import idle_workers, servers, snapshots

#: Seconds that a child on its way out or a returning thread is waited for. Only a test that fails
#: spends them: an orderly one has reaped its children and joined its threads.
GRACE = 2.0

_failed = pytest.StashKey[bool]()


class Held(NamedTuple):
    """What this process holds at one moment."""

    server: int  # the process whose workers count as children, too
    children: set[int]
    threads: set[threading.Thread]
    descriptors: dict[int, str]

    @classmethod
    def now(cls, server: int) -> Held:
        return cls(server, _children(server), _threads(), _descriptors())

    def beyond(self, before: Held) -> Held:
        """What is held now and was not before; a descriptor that leads elsewhere now counts."""
        return Held(
            self.server,
            self.children - before.children,
            self.threads - before.threads,
            dict(self.descriptors.items() - before.descriptors.items()),
        )

    def __bool__(self) -> bool:
        return bool(self.children or self.threads or self.descriptors)

    def __str__(self) -> str:
        lines = [f"child process {pid}: {_describe_process(pid)}" for pid in sorted(self.children)]
        lines += [f"thread {thread!r}" for thread in self.threads]
        lines += [f"descriptor {fd} -> {target}" for fd, target in sorted(self.descriptors.items())]
        return "\n".join(lines)


def _children(server: int) -> set[int]:
    """The direct children and the server's, zombies too; none where the system has no such list."""
    found: set[int] = set()
    for process in ("self", server):
        for listing in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread ended between listing and reading
                found.update(map(int, listing.read_text().split()))
    return found


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


def _descriptors() -> dict[int, str]:
    """Each open descriptor and where it leads; none where the system has no such list."""
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one that listed the folder
                found[int(fd)] = os.readlink(f"/proc/self/fd/{fd}")
    return found


def _describe_process(pid: int) -> str:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return "gone by now"
    return "a zombie: it ended and nobody waited for it" if state == "Z" else f"{state} {command}"


def _wait_until_reaped(pid: int, seconds: float) -> None:
    """Return when `pid` has ended and its parent has waited for it, or when `seconds` are over."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not on this system, or gone already
        return
    try:
        poll = select.poll()
        poll.register(descriptor, 0)  # POLLHUP alone: Linux reports it when the process is reaped
        poll.poll(max(0.0, seconds) * 1000)
    finally:
        os.close(descriptor)


def _left_since(before: Held) -> Held:
    """What the test left and what does not end within the grace either."""
    left = Held.now(before.server).beyond(before)
    until = time.monotonic() + GRACE
    # What a pool of threads has abandoned ends by itself, and may have a file open until then.
    abandoned = {each for each in threading.enumerate() if each.name.startswith("poolwise-")}
    for thread in left.threads | (abandoned if left else set()):
        thread.join(max(0.0, until - time.monotonic()))
    for pid in left.children:
        _wait_until_reaped(pid, until - time.monotonic())
    return Held.now(before.server).beyond(before) if left else left


def pytest_configure() -> None:
    """Have Ctrl-C even if this is a job in the background, which a shell starts without.

    Programs that tests start would inherit that, and not end by a SIGINT.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave what importing made out of every later collection: it would take 30 ms a test."""
    gc.collect()
    gc.freeze()


def _let_go(kept: servers.Server) -> None:
    """Collect garbage, which may hold workers; then end those kept idle, and their servers.

    The executed one goes on if the test has left it as it was: to start it anew for each test took
    a fifth of the time of all.
    """
    gc.collect()
    idle_workers.clear()
    snapshots.clear()
    with servers._lock:
        stays = servers._executed is kept and kept.lives()
        if stays:
            servers._executed = None
            servers._servers.remove(kept)
        servers.dismiss_all()
        if stays:
            servers._executed = kept
            servers._servers.append(kept)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing reads or writes the user's cache, here or in a program that a test starts.

    No run learns from another, unless a test says so.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POOLWISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("POOLWISE_WISDOM", "off")  # what a test finds must not depend on those before
        yield


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    marker = request.node.get_closest_marker("leaves")
    if marker is not None and not (marker.args and marker.args[0]):
        raise pytest.UsageError(f"{request.node.nodeid}: leaves() takes the reason")
    kept = servers.server_for("forkserver", [])
    before = Held.now(kept.pid)
    yield
    _let_go(kept)
    # The traceback of a failed test keeps its frames, and so what they hold, alive.
    if marker is not None or request.node.stash.get(_failed, False):
        return
    if left := _left_since(before):
        pytest.fail(f"the test left behind:\n{left}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--repeat", type=int, default=1, metavar="N", help="run every test N times")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = metafunc.config.getoption("repeat")
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))
