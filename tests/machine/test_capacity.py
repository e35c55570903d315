"""How many workers there can be: the least of all limits, and which one it is."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest

from poolwise.machine import capacity
from programs import run


@pytest.fixture(autouse=True)
def no_limits_of_ours(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Limits of the process, by name, instead of those that the tests have."""
    limits: dict[str, int] = {}

    def limit(number: int) -> tuple[int, int]:
        names = {getattr(resource, name): name for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC")}
        return limits.get(names[number], resource.RLIM_INFINITY), resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", limit)
    return limits


def written(root: Path, **files: str) -> str:
    names = {
        "pid_max": "proc/sys/kernel/pid_max",
        "threads_max": "proc/sys/kernel/threads-max",
        "cgroup": "proc/self/cgroup",
        "outer": "sys/fs/cgroup/a/pids.max",
        "inner": "sys/fs/cgroup/a/b/pids.max",
    }
    for name, text in files.items():
        path = root / names[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return str(root)


def test_where_nothing_says_there_is_no_limit(tmp_path: Path) -> None:
    assert capacity.most_threads(str(tmp_path)) is None
    assert capacity.most_processes(None, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("files", "most", "said"),
    [
        ({"pid_max": "32768"}, 32_768, "32,768 .*pid_max"),
        ({"pid_max": "32768", "threads_max": "9000"}, 9_000, "threads-max"),
        ({"pid_max": "32768", "cgroup": "0::/a/b", "inner": "300"}, 300, "container .*pids.max"),
        ({"cgroup": "0::/a/b", "inner": "max", "outer": "400"}, 400, "pids.max"),
    ],
)
def test_the_least_limit_of_the_system_binds(
    tmp_path: Path, files: dict[str, str], most: int, said: str
) -> None:
    root = written(tmp_path, **files)
    for found in (capacity.most_threads(root), capacity.most_processes(None, root)):
        assert found is not None
        assert found[0] == most
        assert re.search(said, found[1])


def test_a_limit_of_the_user_binds_who_is_not_root(
    tmp_path: Path, no_limits_of_ours: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_limits_of_ours["RLIMIT_NPROC"] = 500
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert capacity.most_threads(str(tmp_path)) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    most, why = capacity.most_threads(str(tmp_path)) or (0, "")
    assert most == 500
    assert "ulimit -u" in why


def test_files_and_memory_bind_processes_and_not_threads(
    tmp_path: Path, no_limits_of_ours: dict[str, int]
) -> None:
    root = written(tmp_path, pid_max="1000000")
    no_limits_of_ours["RLIMIT_NOFILE"] = 5_000
    assert (capacity.most_threads(root) or (0,))[0] == 1_000_000
    most, why = capacity.most_processes(1 << 40, root) or (0, "")
    assert most == 833
    assert "5,000 files (`ulimit -n`), and each worker takes 6" in why
    most, why = capacity.most_processes(1 << 30, root) or (0, "")
    assert most == 512
    assert "of memory" in why


def test_a_worker_holds_as_many_files_open_here_as_is_said(tmp_path: Path) -> None:
    # A side door is opened when its worker is the first idle one: not by each, and not in order.
    program = f"""
from poolwise.mechanisms import side_door

def descriptors(workers):
    with poolwise.Executor(plan=f"process:{{workers}}") as pool:
        while pool.stats().workers < workers:
            pool.submit(abs, -1).result()
        doors = len(side_door._all)
        assert doors <= workers
        return len(os.listdir("/proc/self/fd")) - doors
few, many = descriptors(2), descriptors(5)
assert many - few == 3 * ({capacity._FILES_EACH} - 1), (few, many)
"""
    run(tmp_path, program, "default")
