"""Let things go wrong, the same in each library, and see what becomes of the other calls.

Each program maps 40 inputs over two worker processes, of which input 7 does what the row says, and
then uses the same pool once more. Where calls are too long, each library is given its own limit of
a second for one call, if it has one (stdlib and Pool: how long a result is waited for).

A cell says how many of the 40 inputs came back with a result, what came in the place of the others
(or was raised instead of all of them), whether the pool worked afterwards, and what was left:
processes that still lived two seconds after the program had ended. A program that has not ended
after the time in the head has hung, and is ended. `--markdown` prints the table for the docs.

How to read it: the goal is 39 results, one error that names the culprit, a pool that works, nothing
left, no hang. A library that is not installed is left out; `pip install -e '.[bench]'` brings all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _faults import FAULTS, INPUTS, LIBRARIES
from _report import begin, options, table

from poolwise.units import duration

#: A program that takes longer has hung, in seconds.
_LONGEST = 20.0

#: What has not ended by then, after its program, is left.
_LEFT_AFTER = 2.0

_SCRIPT = Path(__file__).with_name("_faults.py")

#: The faults that come from outside, as a signal.
_SIGNALLED = ("Ctrl-C", "Ctrl-C in C code", "caller killed")

#: Marks the processes of a program, however they are started.
_MARK = "POOLWISE_FAULT"

_WORDS = {
    "exit": "a call ends its worker (`os._exit`)",
    "segfault": "a call reads address 0",
    "kill": "a worker gets SIGKILL, as when memory runs out",
    "die once": "a worker dies once; where it can be asked for, the call is run again",
    "sleep": "a call never ends; limit of 1 s",
    "C code": "a call never leaves C code that holds the GIL; limit of 1 s",
    "stop": "a worker is stopped (SIGSTOP); limit of 1 s",
    "memory": "a call takes 300 MB; limit of 100 MB, where there is one",
    "result cannot be sent": "a result cannot be pickled",
    "result cannot be read": "a result cannot be unpickled",
    "exception": "an exception cannot be unpickled",
    "argument cannot be read": "an argument cannot be unpickled",
    "initializer": "the initializer raises",
    "Ctrl-C": "Ctrl-C while a call sleeps",
    "Ctrl-C in C code": "Ctrl-C while a call is in C code that holds the GIL",
    "caller killed": "the caller is killed (SIGKILL)",
}


@dataclass
class Seen:
    """What one program did."""

    said: dict[str, Any] = field(default_factory=dict)
    hung: bool = False
    took: float = 0.0
    left: int = 0

    def __str__(self) -> str:
        return ", ".join(part for part in self._parts() if part)

    def _parts(self) -> list[str]:
        left = f"**{self.left} left**" if self.left else "nothing left"
        if "signal" in self.said:
            if self.hung:
                return ["**does not end**"]
            ended = f"ends in {duration(self.took)}"
            return [ended if self.said["signal"] != "caller killed" else "", left]
        return [
            self._outcomes(),
            "" if self.hung and "works" not in self.said else self._works(),
            left if self.left else "",
            "**hangs**" if self.hung else duration(self.took),
        ]

    def _outcomes(self) -> str:
        if "raised" in self.said:
            return f"raises {self.said['raised']}"
        if "results" not in self.said:
            return "" if self.hung else "the program dies"
        errors = Counter(self.said["errors"])
        each = [f"{count} {name}" for name, count in errors.most_common()]
        return " + ".join([f"{self.said['results']} results", *each])

    def _works(self) -> str:
        return "pool works" if self.said.get("works") else "pool is broken"


def run(library: str, fault: str) -> Seen:
    """Run one program and watch it."""
    mark = f"{library}-{fault}-{time.monotonic_ns()}"
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/said", "w+") as said:
        process = subprocess.Popen(
            [sys.executable, str(_SCRIPT), library, fault, folder],
            stdout=said,  # a pipe would be held open by what is left
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
            env={**os.environ, _MARK: mark},
        )
        seen = Seen()
        began = time.monotonic()
        try:
            if fault in _SIGNALLED:
                began = _signal(process, fault, Path(folder))
                seen.said["signal"] = fault
            process.wait(_LONGEST)
        except subprocess.TimeoutExpired:
            seen.hung = True
        seen.took = time.monotonic() - began
        if not seen.hung:
            seen.left = _left(mark)
        _end(mark, process)
        said.seek(0)
        for line in said:
            if line.startswith("{"):
                seen.said.update(json.loads(line))
    return seen


def _heed_ctrl_c() -> None:
    """What runs in the background of a shell ignores it, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _signal(process: subprocess.Popen[bytes], fault: str, folder: Path) -> float:
    """Wait until the faulty call has begun, then send the signal; return when."""
    until = time.monotonic() + _LONGEST
    while not (folder / "begun").exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)  # for the other calls to end
    if fault != "caller killed":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.kill()
    return time.monotonic()


def _marked(mark: str) -> list[int]:
    """Return the processes of a program that live."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                inside = f"{_MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0")
                if inside and state != "Z":
                    found.append(int(entry.name))
    return found


def _left(mark: str) -> int:
    until = time.monotonic() + _LEFT_AFTER
    while _marked(mark) and time.monotonic() < until:
        time.sleep(0.02)
    return len(_marked(mark))


def _end(mark: str, process: subprocess.Popen[bytes]) -> None:
    while marked := _marked(mark):
        for pid in marked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    process.wait()


def _installed(library: str) -> bool:
    return library in ("stdlib", "Pool") or find_spec(library) is not None


def main() -> None:
    """Run all programs, and print what they did."""
    parser = options(__doc__, rounds=1)
    parser.add_argument("--only", choices=FAULTS, action="append", help="this fault (repeatable)")
    parser.add_argument("--peer", choices=LIBRARIES, action="append", help="this library")
    parser.add_argument("--markdown", action="store_true", help="print the table for the docs")
    given = begin(parser)
    libraries = given.peer or (["poolwise"] if given.smoke else list(LIBRARIES))
    libraries = [each for each in libraries if _installed(each)]
    faults = given.only or (["exit", "exception"] if given.smoke else list(FAULTS))
    print(f"{INPUTS} inputs, a program has hung after {duration(_LONGEST)}\n")
    rows = []
    for fault in faults:
        cells = [str(run(library, fault)) for library in libraries]
        rows.append([_WORDS[fault], *cells])
        if not given.markdown:
            print(_WORDS[fault])
            for library, cell in zip(libraries, cells, strict=True):
                print(f"  {library:10} {cell.replace('**', '')}")
    if given.markdown:
        print(f"| fault | {' | '.join(libraries)} |\n|{' --- |' * (len(libraries) + 1)}")
        for row in rows:
            print(f"| {' | '.join(row)} |")
    else:
        short = [[words[:40], *cells] for words, *cells in rows]
        print("\n" + table(["fault", *libraries], short, left=range(len(libraries) + 1)))


if __name__ == "__main__":
    main()
