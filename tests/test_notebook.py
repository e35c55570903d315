"""A notebook as people use one: cells are edited, modules reloaded, data changed, runs interrupted.

All tests share one kernel, as the cells of an afternoon do: its idle workers are warm, so what is
new must reach workers that know what was before.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.leaves("the kernel, which all tests here share, and the sockets that lead to it"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(120),
]

DEADLINE = 60.0


class Notebook:
    """A kernel, and what its cells print."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager = manager
        self.client = client

    def run(self, cell: str) -> str:
        """Run a cell that succeeds; return what it printed."""
        status, printed = self.finish(self.begin(cell))
        assert status == "ok", printed
        return printed

    def begin(self, cell: str) -> str:
        return str(self.client.execute(textwrap.dedent(cell)))

    def finish(self, request: str) -> tuple[str, str]:
        """Wait until a cell has ended; return how, and what it printed or raised."""
        printed = "".join(self.printed(request))
        while True:
            reply = self.client.get_shell_msg(timeout=DEADLINE)
            if reply["parent_header"].get("msg_id") == request:
                return reply["content"]["status"], printed

    def printed(self, request: str) -> Iterator[str]:
        """Yield what a cell prints, as it comes, until it has ended."""
        while True:
            message = self.client.get_iopub_msg(timeout=DEADLINE)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if content.get("execution_state") == "idle":
                return
            yield content.get("text") or "\n".join(content.get("traceback", []))

    def interrupt(self, cell: str, when: str) -> tuple[str, str]:
        """Run a cell, press the button once when it prints `when`; return how it ended."""
        request = self.begin(cell)
        seen = ""
        for text in self.printed(request):
            if when in text and when not in seen:
                self.manager.interrupt_kernel()
            seen += text
        while True:
            reply = self.client.get_shell_msg(timeout=DEADLINE)
            if reply["parent_header"].get("msg_id") == request:
                return reply["content"].get("ename", "none"), seen


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    manager_module = pytest.importorskip("jupyter_client.manager")
    folder = tmp_path_factory.mktemp("notebook")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    manager, client = manager_module.start_new_kernel(
        kernel_name="python3", startup_timeout=60, cwd=str(folder), env=environment
    )
    try:
        notebook = Notebook(manager, client)
        notebook.folder = folder  # type: ignore[attr-defined]
        notebook.run(
            """
            import importlib, os, sys
            import poolwise
            sys.path.insert(0, os.getcwd())
            def mapped(function, inputs=range(6), plan="process:2"):
                return list(poolwise.map(function, inputs, plan=plan))
            def pid(_):
                import time
                time.sleep(0.01)
                return os.getpid()
            """
        )
        yield notebook
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


class Module:
    """A module beside the notebook, in an editor."""

    def __init__(self, notebook: Notebook, name: str) -> None:
        self.file: Path = notebook.folder / f"{name}.py"  # type: ignore[attr-defined]
        self._saved = 0

    def save(self, text: str) -> None:
        self.file.write_text(textwrap.dedent(text))
        self._saved += 10  # each a later second, as it is between two looks at an editor
        os.utime(self.file, (1_700_000_000 + self._saved,) * 2)


def test_an_edited_cell_is_what_runs(notebook: Notebook) -> None:
    for factor in (2, 3):
        notebook.run(
            f"""
            def inner(number):
                return number * {factor}
            def cell(number):
                return inner(number)
            """
        )
        expected = [number * factor for number in range(6)]
        assert notebook.run("print(mapped(cell))") == f"{expected}\n"
    # Only what the function calls is edited.
    notebook.run("def inner(number): return -number")
    assert notebook.run("print(mapped(cell))") == f"{[-number for number in range(6)]}\n"


def test_a_reloaded_module_is_what_runs(notebook: Notebook) -> None:
    module = Module(notebook, "reloaded")
    module.save("LEVEL = 1\ndef scale(number): return number * LEVEL")
    notebook.run("import reloaded")
    assert notebook.run("print(mapped(reloaded.scale))") == "[0, 1, 2, 3, 4, 5]\n"
    module.save("LEVEL = 2\ndef scale(number): return [number * LEVEL]")
    assert notebook.run("print(mapped(reloaded.scale))") == "[0, 1, 2, 3, 4, 5]\n"
    notebook.run("importlib.reload(reloaded)")
    assert notebook.run("print(mapped(reloaded.scale))") == "[[0], [2], [4], [6], [8], [10]]\n"


def test_what_autoreload_has_loaded_is_what_runs(notebook: Notebook) -> None:
    module = Module(notebook, "watched")
    module.save("def scale(number): return number\nclass Thing:\n    def value(self): return 1")
    notebook.run("%load_ext autoreload\n%autoreload 2")
    notebook.run(
        """
        import watched
        from watched import Thing
        def cell(number):
            return watched.scale(number), Thing().value()
        """
    )
    try:
        assert notebook.run("print(mapped(cell, range(2)))") == "[(0, 1), (1, 1)]\n"
        module.save(
            "def scale(number): return -number\nclass Thing:\n    def value(self): return 2"
        )
        assert notebook.run("print(mapped(cell, range(2)))") == "[(0, 2), (-1, 2)]\n"
    finally:
        notebook.run("%autoreload 0")


def test_a_patched_function_is_what_runs(notebook: Notebook) -> None:
    Module(notebook, "patched").save(
        "def fetch(number): return number\ndef call(number): return fetch(number)"
    )
    notebook.run("import patched\nfrom unittest import mock")
    assert notebook.run("print(mapped(patched.call, range(3)))") == "[0, 1, 2]\n"
    assert (
        notebook.run(
            """
            with mock.patch("patched.fetch", lambda number: number + 10):
                print(mapped(patched.call, range(3)))
            print(mapped(patched.call, range(3)))
            """
        )
        == "[10, 11, 12]\n[0, 1, 2]\n"
    )


def test_a_mock_hears_of_its_calls_or_is_refused(notebook: Notebook) -> None:
    Module(notebook, "mocked").save(
        "def fetch(number): return number\ndef call(number): return fetch(number)"
    )
    notebook.run("import mocked\nfrom unittest import mock")
    printed = notebook.run(
        """
        with mock.patch("mocked.fetch", return_value=7) as fetch:
            print(mapped(mocked.call, range(3), plan=None), fetch.call_count)
            try:
                mapped(mocked.call, range(3))
            except poolwise.PlanRefused as error:
                print(error)
        """
    )
    assert printed.startswith("[7, 7, 7] 3\n")
    assert "mock" in printed
    assert "threads or a plain loop" in printed


def test_a_table_that_is_changed_in_place_is_seen_as_it_is_now(notebook: Notebook) -> None:
    pytest.importorskip("numpy")
    notebook.run(
        """
        import numpy
        class Table:
            def __init__(self, values):
                self.values = values
        table = Table(numpy.ones(500_000, dtype="int64"))
        def total(number):
            return int(table.values.sum()) + number
        """
    )
    for step, expected in ((0, 500_000), (1, 1_000_000), (0, 1_000_000)):
        notebook.run(f"table.values += {step}")
        printed = notebook.run("print(set(mapped(total, [0] * 50)))")
        assert printed == f"{{{expected}}}\n"


def test_a_data_frame_is_read_and_seen_as_it_is_now(notebook: Notebook) -> None:
    pytest.importorskip("pandas")
    notebook.run(
        """
        import pandas
        frame = pandas.DataFrame({"a": range(500_000)})
        def largest(number):
            return int(frame["a"].max()) + number
        """
    )
    for step, expected in ((0, 499_999), (1, 500_000)):
        notebook.run(f'frame["a"] += {step}')
        assert notebook.run("print(set(mapped(largest, [0] * 50)))") == f"{{{expected}}}\n"


def test_a_table_goes_once_to_each_worker_not_with_each_call(notebook: Notebook) -> None:
    pytest.importorskip("numpy")
    printed = notebook.run(
        """
        import numpy, threading
        numbers = numpy.ones(4_000_000)
        def first(number):
            return float(numbers[number]), id(numbers), os.getpid()
        def sent():
            with open("/proc/self/io") as file:
                return int(file.read().split("wchar:")[1].split()[0])
        mapped(pid)
        results = mapped(first, range(200))
        # In each worker all calls read one and the same object.
        workers = {pid for _, _, pid in results}
        print(len({each[1:] for each in results}) == len(workers) and os.getpid() not in workers)
        """
    )
    assert printed == "True\n"


@pytest.mark.parametrize("plan", ["process:2", "thread:4", "inline", None])
@pytest.mark.fault
def test_the_interrupt_button_ends_the_run_at_the_first_press(
    notebook: Notebook, plan: str | None
) -> None:
    ended, printed = notebook.interrupt(
        f"""
        import time
        def wait(number):
            time.sleep(0.01)
            if number == 20:
                print("running", flush=True)
            return number
        # Not a loop: in its body the press would leave the run as it is, for whoever goes on.
        list(poolwise.map(wait, range(100_000), plan={plan!r}))
        """,
        "running",
    )
    assert ended == "KeyboardInterrupt", printed
    # The kernel lives, and so do new runs; nothing of the old one goes on.
    assert notebook.run("print(mapped(abs, [-1, 2]), len(poolwise.last_run().results()))") == (
        "[1, 2] 0\n"
    )
    # Threads of its last calls may be about to end; one with another call to come never would.
    notebook.run(
        """
        import threading
        for thread in threading.enumerate():
            if thread.name.startswith("poolwise"):
                thread.join()
        """
    )
    assert notebook.run("print(threading.active_count() < 30)") == "True\n"


@pytest.mark.fault
def test_the_interrupt_button_while_an_executor_is_waited_for(notebook: Notebook) -> None:
    ended, printed = notebook.interrupt(
        """
        import time
        pool = poolwise.Executor(mechanism="process", max_workers=2)
        print("running", flush=True)
        pool.submit(time.sleep, 30).result()
        """,
        "running",
    )
    assert ended == "KeyboardInterrupt", printed
    # The press has ended the wait; not the end of the call, after which it would be heard too.
    assert notebook.run("print(pool.stats().done)\npool.kill_workers(); pool.shutdown()") == "0\n"
    assert notebook.run("print(mapped(abs, [-1, 2]))") == "[1, 2]\n"
