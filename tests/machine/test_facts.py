"""Facts are read from a root folder; here the folder is made by hand, but for the last tests."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _poolwise_worker import surroundings
from poolwise.machine import Facts, PoolCosts, read_facts, this_machine

GIB = 2**30


@pytest.fixture(autouse=True)
def _eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Affinity is asked of the system, not of files."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)


def facts_of(root: Path, files: dict[str, str | bytes]) -> Facts:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_facts(root)


def v2(**limits: str) -> dict[str, str | bytes]:
    """A cgroup v2 tree; `a__b` is the limit of the group ``/a/b``, `_` that of the root."""
    groups = {name.strip("_").replace("__", "/"): text for name, text in limits.items()}
    files: dict[str, str | bytes] = {"proc/self/cgroup": "0::/a/b\n"}
    return files | {f"sys/fs/cgroup/{name}/cpu.max": text for name, text in groups.items()}


@pytest.mark.parametrize(
    ("files", "cpus", "limit"),
    [
        ({}, 8.0, "affinity"),
        (v2(), 8.0, "affinity"),
        (v2(a__b="max 100000\n"), 8.0, "affinity"),
        (v2(a__b="50000 100000\n"), 0.5, "cgroup quota"),
        (v2(a__b="150000 100000\n"), 1.5, "cgroup quota"),
        (v2(a__b="25000 50000\n"), 0.5, "cgroup quota"),
        (v2(a__b="1600000 100000\n"), 8.0, "affinity"),
        (v2(a__b="800000 100000\n"), 8.0, "affinity"),
    ],
)
def test_a_quota_below_the_affinity_is_what_limits(
    tmp_path: Path, files: dict[str, str | bytes], cpus: float, limit: str
) -> None:
    facts = facts_of(tmp_path, files)
    assert (facts.usable_cpus, facts.cpu_limit) == (cpus, limit)


@pytest.mark.parametrize(
    ("own", "parent", "top", "cpus"),
    [
        ("400000 100000", "200000 100000", "max 100000", 2.0),
        ("200000 100000", "400000 100000", "max 100000", 2.0),
        ("max 100000", "max 100000", "300000 100000", 3.0),
        ("max 100000", "max 100000", "max 100000", 8.0),
    ],
)
def test_the_lowest_limit_on_the_way_to_the_root_binds(
    tmp_path: Path, own: str, parent: str, top: str, cpus: float
) -> None:
    assert facts_of(tmp_path, v2(a__b=own, a=parent, _=top)).usable_cpus == cpus


def test_limits_of_other_groups_do_not_bind(tmp_path: Path) -> None:
    files = v2(a__b="400000 100000", a__b__c="100000 100000", x="100000 100000")
    assert facts_of(tmp_path, files).usable_cpus == 4.0


def test_a_group_that_is_not_mounted_here_leaves_the_root_of_the_mount(tmp_path: Path) -> None:
    # As in a container that sees its own group as the root, but its path as seen from outside.
    files = {
        "proc/self/cgroup": "0::/system.slice/docker-4711.scope\n",
        "sys/fs/cgroup/cpu.max": "200000 100000\n",
    }
    assert facts_of(tmp_path, files).usable_cpus == 2.0


def test_cgroup_v1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/m\n2:cpu,cpuacct:/a/b\n1:cpuset:/\n0::/\n",
        "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "250000\n",
        "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/m/memory.limit_in_bytes": f"{4 * GIB}\n",
        "sys/fs/cgroup/memory/m/memory.usage_in_bytes": f"{1 * GIB}\n",
    }
    facts = facts_of(tmp_path, files)
    assert (facts.usable_cpus, facts.cpu_limit) == (2.5, "cgroup quota")
    assert facts.free_memory == 3 * GIB


def test_a_v1_quota_of_minus_one_is_none(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "2:cpu:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert facts_of(tmp_path, files).cpu_limit == "affinity"


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": ""},
        {"proc/self/cgroup": "no colons here\n\n:\n::\n"},
        {"proc/self/cgroup": b"\xff\xfe\x00 0::/\n"},
        {"proc/self/cgroup": "0::/../..\n"},
        v2(a__b=""),
        v2(a__b="max"),
        v2(a__b="fifty 100000"),
        v2(a__b="50000"),
        v2(a__b="50000 0"),
        v2(a__b="0 100000"),
        v2(a__b="-50000 100000"),
        {**v2(), "sys/fs/cgroup/a/b/cpu.max": b"\xff\xfe\x00"},
        {"proc/meminfo": "MemAvailable:\n"},
        {"proc/meminfo": "MemAvailable: much kB\n"},
        {"proc/meminfo": b"MemAvailable: \xff kB\n"},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(
    tmp_path: Path, files: dict[str, str | bytes]
) -> None:
    facts = facts_of(tmp_path, files)
    assert (facts.usable_cpus, facts.cpu_limit, facts.free_memory) == (8.0, "affinity", None)


def test_a_limit_that_cannot_be_read_does_not_hide_its_parent(tmp_path: Path) -> None:
    assert facts_of(tmp_path, v2(a__b="garbage", a="300000 100000")).usable_cpus == 3.0


MEMINFO = f"MemTotal: {16 * 2**20} kB\nMemFree: 1 kB\nMemAvailable: {8 * 2**20} kB\n"


@pytest.mark.parametrize(
    ("limits", "free"),
    [
        ({}, 8 * GIB),
        ({"a/b": ("max", 1 * GIB)}, 8 * GIB),
        ({"a/b": (4 * GIB, 1 * GIB)}, 3 * GIB),
        ({"a/b": (64 * GIB, 1 * GIB)}, 8 * GIB),
        ({"a/b": (4 * GIB, 5 * GIB)}, 0),
        ({"a/b": (4 * GIB, 1 * GIB), "a": (6 * GIB, 5 * GIB)}, 1 * GIB),
    ],
)
def test_free_memory_is_the_least_that_any_limit_leaves(
    tmp_path: Path, limits: dict[str, tuple[int | str, int]], free: int
) -> None:
    files: dict[str, str | bytes] = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n"}
    for group, (most, used) in limits.items():
        files[f"sys/fs/cgroup/{group}/memory.max"] = f"{most}\n"
        files[f"sys/fs/cgroup/{group}/memory.current"] = f"{used}\n"
    assert facts_of(tmp_path, files).free_memory == free


@pytest.mark.parametrize(
    ("usable", "whole"), [(0.01, 1), (0.5, 1), (1.0, 1), (1.01, 2), (1.5, 2), (2.0, 2), (7.5, 8)]
)
def test_whole_cpus_are_rounded_up(usable: float, whole: int) -> None:
    facts = replace(read_facts(), usable_cpus=usable)
    assert facts.whole_cpus == whole


@settings(deadline=None)
@given(st.floats(1e-3, 1e4))
def test_whole_cpus_are_at_least_one_and_hardly_more_than_usable(usable: float) -> None:
    whole = replace(read_facts(), usable_cpus=usable).whole_cpus
    assert max(1.0, usable) <= whole < usable + 1.0


def test_on_this_machine_the_facts_make_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    facts = read_facts()
    assert 0.0 < facts.usable_cpus <= (os.cpu_count() or 1)
    assert 1 <= facts.whole_cpus <= (os.cpu_count() or 1)
    assert platform.python_version() in facts.python
    assert facts.free_memory is None or 2**20 < facts.free_memory < 2**50


def test_this_machine_is_read_once() -> None:
    assert this_machine() is this_machine()
    assert this_machine().costs == PoolCosts()


@pytest.mark.parametrize(
    ("cpus", "workers", "each"), [(8, 2, 4), (8, 3, 2), (3, 2, 1), (2, 4, 1), (1, 2, 1)]
)
def test_workers_beside_each_other_never_have_more_cpus_than_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpus: int, workers: int, each: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cpus))
    monkeypatch.setattr(surroundings, "siblings", workers)
    assert read_facts(tmp_path).whole_cpus == each


@pytest.mark.parametrize(
    ("limits", "total"), [({}, 16 * GIB), ({"a/b": 4 * GIB}, 4 * GIB), ({"a": 64 * GIB}, 16 * GIB)]
)
def test_total_memory_is_the_least_that_any_limit_allows(
    tmp_path: Path, limits: dict[str, int], total: int
) -> None:
    files: dict[str, str | bytes] = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n"}
    for group, most in limits.items():
        files[f"sys/fs/cgroup/{group}/memory.max"] = f"{most}\n"
        files[f"sys/fs/cgroup/{group}/memory.current"] = "0\n"
    assert facts_of(tmp_path, files).total_memory == total


def test_shared_memory_is_what_dev_shm_has_room_for(tmp_path: Path) -> None:
    assert facts_of(tmp_path, {}).shared_memory is None
    facts = facts_of(tmp_path, {"dev/shm/segment": "x"})
    size = os.statvfs(tmp_path)
    assert facts.shared_memory == size.f_blocks * size.f_frsize
