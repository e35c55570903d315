"""Servers that take their time, and other programs."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from _workload import Workload, times

_PORT = "POOLWISE_BENCH_PORT"

_ECHO = """
import asyncio
async def answer(reader, writer):
    line = await reader.readline()
    await asyncio.sleep(5e-3)
    writer.write(line)
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

#: Its arguments: how many answers are slow, for how long, how long others take, how many at once.
_HTTP = """
import itertools, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
slow, cold, warm, slots = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
free, count = threading.Semaphore(slots), itertools.count()
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if not free.acquire(blocking=False):
            self.reply(503, b"busy")
            return
        try:
            time.sleep(cold if next(count) < slow else warm)
        finally:
            free.release()
        self.reply(200, self.path.encode() * 50)
    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(ThreadingHTTPServer):
    request_queue_size = 512
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def serving(program: str, *arguments: float) -> Iterator[None]:
    """Run a server."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        os.environ[_PORT] = process.stdout.readline().strip()
        yield
    finally:
        process.kill()
        process.communicate()


def echo(number: int) -> str:
    """Say something, and hear it again."""
    with socket.create_connection(("127.0.0.1", int(os.environ[_PORT]))) as connection:
        connection.sendall(f"number {number}\n".encode())
        with connection.makefile() as replies:
            return replies.readline()


def get(number: int) -> tuple[int, bytes]:
    """Get a page."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ[_PORT]), timeout=20)
    try:
        connection.request("GET", f"/item/{number}")
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def page_length(number: int) -> int:
    """Get a page of a server that has enough for everyone."""
    status, body = get(number)
    if status != 200:
        raise RuntimeError(status)
    return len(body)


def patient_length(number: int) -> int:
    """Get a page of a server that turns callers away; come again, later every time."""
    for attempt in range(100):
        status, body = get(number)
        if status == 200:
            return len(body)
        time.sleep(min(10e-3 * (attempt + 1), 60e-3))
    raise RuntimeError("too busy for too long")


_SCRIPT = "import sys, json; print(json.dumps({'sum': sum(range(int(sys.argv[1])))}))"


def by_script(limit: int) -> str:
    """Have another interpreter compute something."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(limit)], capture_output=True, text=True, check=True
    )
    return done.stdout


WORKLOADS = {
    "TCP echo": Workload(
        echo, lambda scale: range(times(scale, 300)), False, lambda: serving(_ECHO)
    ),
    "HTTP, warming up": Workload(
        page_length,
        lambda scale: range(times(scale, 120)),
        False,
        lambda: serving(_HTTP, 6, 0.12, 8e-3, 1_000),
    ),
    "HTTP 503, retries": Workload(
        patient_length,
        lambda scale: range(times(scale, 80)),
        False,
        lambda: serving(_HTTP, 0, 0, 15e-3, 4),
    ),
    "python -c": Workload(
        by_script, lambda scale: range(400_000, 400_000 + times(scale, 25)), False
    ),
}
