"""No ``if __name__ == "__main__"`` is needed, wherever code runs: workers do not import it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

#: A program that would start itself again and again if workers imported it.
PROGRAM = """
import os, poolwise

class Point:
    def __init__(self, x):
        self.x = x
    def __eq__(self, other):
        return type(other) is Point and other.x == self.x

def double(number):
    return Point(number * 2), os.getpid()

FACTOR = 5
run = poolwise.map(double, range(20), plan="process:2")
results = list(run)
assert [point for point, _ in results] == [Point(n * 2) for n in range(20)]
assert all(type(point) is Point for point, _ in results)
assert os.getpid() not in {pid for _, pid in results}
assert list(poolwise.map(lambda n: n * FACTOR, range(5), plan="process:2x2")) == [0, 5, 10, 15, 20]
with poolwise.Executor(mechanism="process", max_workers=1) as pool:
    assert pool.submit(lambda: FACTOR).result() == 5
print("it", "works")
"""


def run(*arguments: str, program: str | None = None) -> str:
    """Run Python with `arguments` and `program` on standard input; return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], input=program, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr.replace(">>> ", "").replace("... ", "").strip(), done.stderr
    return done.stdout


def test_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    assert run(str(script)).strip() == "it works"


def test_a_command() -> None:
    assert run("-c", PROGRAM).strip() == "it works"


def test_standard_input() -> None:
    assert run("-", program=PROGRAM).strip() == "it works"


def test_the_interactive_interpreter() -> None:
    lines = [
        "import poolwise",
        "def double(number):",
        "    return number * 2",
        "",
        "print(list(poolwise.map(double, range(5), plan='process:2')))",
        "",
    ]
    terminal, other_end = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
    with subprocess.Popen(
        [sys.executable, "-i", "-q"],
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        env=environment,
    ) as interpreter:
        os.close(other_end)
        try:
            os.write(terminal, "\n".join(lines).encode())
            seen = b""
            while b"[0, 2, 4, 6, 8]" not in seen:
                more = os.read(terminal, 4096)  # ends with an error when the interpreter does
                seen += more
            os.write(terminal, b"exit()\n")
            assert interpreter.wait(30) == 0
        finally:
            interpreter.kill()
            os.close(terminal)


@pytest.mark.leaves("jupyter_client keeps sockets and a kernel's files until it is collected")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(120)
def test_a_notebook_kernel() -> None:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
    try:
        printed: list[str] = []

        def listen(message: dict[str, object]) -> None:
            content = message["content"]
            assert isinstance(content, dict)
            printed.append(str(content.get("text") or content.get("traceback") or ""))

        reply = client.execute_interactive(PROGRAM, timeout=60, output_hook=listen)
        assert reply["content"]["status"] == "ok", "\n".join(printed)
        assert "it works" in "".join(printed)

        # A cell that is edited and run again: the new code is what runs.
        for factor in (2, 3):
            cell = f"""
def cell(number):
    return number * {factor}
print(list(poolwise.map(cell, range(4), plan="process:2")))
"""
            printed.clear()
            reply = client.execute_interactive(cell, timeout=60, output_hook=listen)
            assert reply["content"]["status"] == "ok", "\n".join(printed)
            assert str([number * factor for number in range(4)]) in "".join(printed)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
