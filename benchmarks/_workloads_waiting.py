"""Work that waits: for time, servers, files and other programs; and some that computes as well."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _workload import Workload, times

_ADDRESS = "POOLWISE_BENCH_SERVER"


def nap(milliseconds: int) -> int:
    """Wait, as one waits for a device."""
    time.sleep(milliseconds / 1_000)
    return milliseconds


_SERVER = """
import sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
slots, wait = threading.Semaphore(int(sys.argv[1])), float(sys.argv[2])
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with slots:
            time.sleep(wait)
        body = self.path.encode() * 100
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(ThreadingHTTPServer):
    request_queue_size = 256
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def server(slots: int, wait: float) -> Iterator[None]:
    """Run an HTTP server that answers so many at once, after so many seconds."""
    command = [sys.executable, "-c", _SERVER, str(slots), str(wait)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        os.environ[_ADDRESS] = f"http://127.0.0.1:{process.stdout.readline().strip()}"
        yield
    finally:
        process.kill()
        process.communicate()


def fetch(number: int) -> int:
    """Get a page."""
    with urllib.request.urlopen(f"{os.environ[_ADDRESS]}/{number}") as reply:
        return len(reply.read())


_FOLDER = Path(tempfile.gettempdir()) / "poolwise-bench-regret-files"


@contextmanager
def folder() -> Iterator[None]:
    """Make an empty folder."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(_FOLDER, ignore_errors=True)


def store(number: int) -> int:
    """Write a file so that it stays, and read it again."""
    path = _FOLDER / str(number)
    with path.open("wb") as file:
        file.write(b"%d" % number * 8_000)
        file.flush()
        os.fsync(file.fileno())
    return len(path.read_bytes())


def sorted_by_program(number: int) -> int:
    """Have another program sort lines."""
    lines = "".join(f"{(number * 7_919 + line * 104_729) % 60_000}\n" for line in range(12_000))
    done = subprocess.run(["sort", "-n"], input=lines, capture_output=True, text=True, check=True)
    return int(done.stdout.split("\n", 1)[0])


def wait_then_compute(item: tuple[float, int]) -> int:
    """Wait for data, then work on it in Python."""
    seconds, steps = item
    time.sleep(seconds)
    total = 0
    for step in range(steps):
        total = (total * 31 + step) % 1_000_003
    return total + len(hashlib.sha256(b"%d" % total).digest())


WORKLOADS = {
    "sleep": Workload(nap, lambda scale: [5] * times(scale, 160), False),
    "few long waits": Workload(nap, lambda scale: [100 + n for n in range(times(scale, 8))], False),
    "HTTP": Workload(
        fetch, lambda scale: range(times(scale, 80)), False, lambda: server(64, 10e-3)
    ),
    "HTTP, 8 slots": Workload(
        fetch, lambda scale: range(times(scale, 60)), False, lambda: server(8, 15e-3)
    ),
    "files": Workload(store, lambda scale: range(times(scale, 200)), False, folder),
    "child processes": Workload(sorted_by_program, lambda scale: range(times(scale, 40)), False),
    "wait, compute a bit": Workload(
        wait_then_compute, lambda scale: [(5e-3, 12_000)] * times(scale, 130), False
    ),
    "wait, compute a lot": Workload(
        wait_then_compute, lambda scale: [(5e-3, 70_000)] * times(scale, 80), False
    ),
}
