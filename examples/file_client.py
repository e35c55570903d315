"""The other end of `serve_files`: start a server, and download from it."""

import atexit
import os
import sys
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from subprocess import PIPE, Popen
from urllib.parse import quote, urlsplit

_servers = ExitStack()
atexit.register(_servers.close)


def server_url(variable: str, *, latency: float, slots: int) -> str:
    """Return the URL in the environment's ``variable``, where the first to ask puts a new server.

    Child processes inherit the variable, and so use the server of their parent.
    """
    if variable not in os.environ:
        program = Path(__file__).with_name("serve_files.py")
        options = [f"--latency={latency}", f"--slots={slots}"]
        # In a process group of its own, out of reach of the terminal's Ctrl-C.
        server = Popen(
            [sys.executable, program, *options], stdin=PIPE, stdout=PIPE, text=True, process_group=0
        )
        assert server.stdin
        assert server.stdout
        _servers.enter_context(server)
        # The server ends with its standard input, so no forked child may hold that open.
        os.register_at_fork(after_in_child=server.stdin.close)
        os.environ[variable] = server.stdout.readline().rstrip()
    return os.environ[variable]


def download(url: str, path: str) -> bytes:
    """Return the content of the file at ``path`` as the server at ``url`` has it."""
    with closing(HTTPConnection(urlsplit(url).netloc)) as connection:
        connection.request("GET", quote(path))
        with connection.getresponse() as response:
            if response.status != 200:
                raise OSError(f"{path}: {response.status} {response.reason}")
            return response.read()
