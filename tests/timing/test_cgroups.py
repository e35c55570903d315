"""Whether CPU time was taken away is counted by the cgroups; here their files are made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolwise.timing.cgroups import times_throttled


def write(root: Path, files: dict[str, str | bytes]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(root)


def test_all_groups_above_count(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 1\n",
        "sys/fs/cgroup/a/cpu.stat": "usage_usec 1\nnr_periods 9\nnr_throttled 2\n",
        "sys/fs/cgroup/a/b/cpu.stat": "nr_periods 9\nnr_throttled 3\nthrottled_usec 44\n",
    }
    root = write(tmp_path, files)
    assert times_throttled(root) == 5
    write(tmp_path, {"sys/fs/cgroup/a/b/cpu.stat": "nr_throttled 4\n"})
    assert times_throttled(root) == 6


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "3:cpu:/x\n2:memory:/y\n",
        "sys/fs/cgroup/cpu/x/cpu.stat": "nr_periods 1\nnr_throttled 1\nthrottled_time 5\n",
        "sys/fs/cgroup/memory/y/cpu.stat": "nr_throttled 100\n",
    }
    assert times_throttled(write(tmp_path, files)) == 1


@pytest.mark.parametrize("text", ["", "nr_throttled", "nr_throttled many", b"\xff\xfe"])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, text: str | bytes) -> None:
    files = {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.stat": text}
    assert times_throttled(write(tmp_path, files)) == 0


def test_where_there_are_no_groups_there_is_nothing(tmp_path: Path) -> None:
    assert times_throttled(str(tmp_path)) == 0
