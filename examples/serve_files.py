"""A file server that is slow on purpose: each request waits, and only so many at once.

It serves the files of `stdlib_files` by their absolute path, prints its URL, and ends when its
standard input does: whoever starts it holds the other end, and cannot leave it behind.
"""

import argparse
import asyncio
import os
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote

from stdlib_files import stdlib_files


async def serve(latency: float, slots: int) -> None:
    """Serve until standard input ends: ``slots`` requests at once, ``latency`` seconds each."""
    served = frozenset(stdlib_files())
    free_slots = asyncio.Semaphore(slots)

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        with closing(writer), suppress(EOFError, ConnectionError):
            request = await reader.readuntil(b"\r\n\r\n")
            path = unquote(request.split()[1].decode())
            async with free_slots:
                await asyncio.sleep(latency)
            found = path in served
            status = "200 OK" if found else "404 Not Found"
            body = Path(path).read_bytes() if found else b""
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()

    # At the end of standard input nobody is left to be answered: there is nothing to finish.
    asyncio.get_running_loop().add_reader(sys.stdin, os._exit, 0)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that a request takes")
    parser.add_argument("--slots", type=int, default=16, help="requests that are served at once")
    options = parser.parse_args()
    asyncio.run(serve(options.latency, options.slots))
