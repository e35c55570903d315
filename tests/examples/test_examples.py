"""The examples do what they say, and leave neither a process nor a warning behind."""

from __future__ import annotations

import ast
import hmac
import os
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen, run
from urllib.parse import urlsplit

import hash_files
import parse_files
import pytest
import stdlib_files
from file_client import download

EXAMPLES = Path(stdlib_files.__file__).parent
PYTHON = [sys.executable, "-X", "dev", "-W", "error"]
TREE = Path(os.__file__).parent
SAMPLE = [str(TREE / name) for name in ("abc.py", "asyncio/streams.py", "json/__init__.py")]


def python(code: str, *arguments: str) -> str:
    """What `code` prints in a Python of its own, which must have nothing to complain about."""
    done = run(
        [*PYTHON, "-c", code, *arguments], cwd=EXAMPLES, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@contextmanager
def serving(**options: float) -> Iterator[str]:
    """The URL of a server that ends, by the end of its standard input, with the block."""
    command = [*PYTHON, EXAMPLES / "serve_files.py"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        assert server.communicate() == ("", "")
    assert server.returncode == 0


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port))


def test_lists_the_sources_of_the_standard_library():
    files = stdlib_files.stdlib_files()
    assert set(SAMPLE) <= set(files)
    assert files == sorted(files)
    assert all(file.endswith(".py") for file in files)
    folders = {folder for file in files for folder in Path(file).relative_to(TREE).parts[:-1]}
    assert folders.isdisjoint({"site-packages", "test", "tests", "idle_test"})


def test_prints_one_path_per_line():
    script = [*PYTHON, EXAMPLES / "stdlib_files.py"]
    done = run(script, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == stdlib_files.stdlib_files()


def test_a_broken_pipe_ends_the_listing_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    script = [*PYTHON, EXAMPLES / "stdlib_files.py"]
    done = run(script, stdout=writing, stderr=PIPE, check=False)
    os.close(writing)
    assert done.stderr == b""


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, *COMPREHENSIONS)


@pytest.mark.parametrize("path", SAMPLE)
def test_counts_what_the_syntax_tree_has(path: str):
    source = Path(path).read_bytes()
    nodes = list(ast.walk(ast.parse(source)))
    counts = parse_files.count_definitions(path)
    assert counts["classes"] == sum(isinstance(node, ast.ClassDef) for node in nodes)
    assert counts["functions"] == sum(isinstance(node, FUNCTIONS) for node in nodes) > 0


def test_counts_the_names_that_are_imported():
    source = b"import os, sys\nfrom json import dumps as write\ndef inside(): import re as sys"
    assert parse_files.count_in_source(source) == {"classes": 0, "functions": 1, "imports": 4}


def test_counts_in_every_file_of_the_standard_library():
    counts = map(parse_files.count_definitions, stdlib_files.stdlib_files())
    assert sum(count["functions"] for count in counts) > 1000


def test_the_hash_is_pbkdf2(tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"content")
    block = hmac.digest(b"content", b"poolwise" + (1).to_bytes(4, "big"), "sha256")
    result = int.from_bytes(block, "big")
    for _ in range(hash_files.ROUNDS - 1):
        block = hmac.digest(b"content", block, "sha256")
        result ^= int.from_bytes(block, "big")
    assert hash_files.stretched_hash(str(file)) == f"{result:064x}"


def test_fetches_from_a_server_that_it_starts_and_ends():
    code = "import sys, fetch_files; print(*map(fetch_files.fetch, sys.argv[1:]))"
    assert python(code, *SAMPLE) == " ".join(str(os.path.getsize(path)) for path in SAMPLE)


def test_fetches_and_counts():
    code = "import sys, fetch_and_parse; print(*map(fetch_and_parse.fetch_and_count, sys.argv[1:]))"
    assert python(code, *SAMPLE) == " ".join(map(str, map(parse_files.count_definitions, SAMPLE)))


def test_threads_share_the_server():
    with serving(latency=0, slots=4) as url, ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda path: download(url, path), SAMPLE * 20))
    assert contents == [Path(path).read_bytes() for path in SAMPLE] * 20


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_worker_uses_the_server_of_its_parent(method: str):
    code = f"""if True:
        import fetch_files
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context
        with ProcessPoolExecutor(1, get_context({method!r})) as pool:
            used = pool.submit(eval, "__import__('fetch_files').URL").result()
        print(used == fetch_files.URL)
    """
    assert python(code) == "True"


@pytest.mark.parametrize(
    "path",
    [
        __file__,
        "/etc/passwd",
        f"{TREE}/../../../../../../etc/passwd",
        f"{TREE}/../{TREE.name}/os.py",
        f"{TREE}/no such file.py",
        str(TREE),
        "/",
    ],
)
def test_refuses_all_but_the_listed_files(path: str):
    with serving(latency=0) as url, pytest.raises(OSError, match="404 Not Found"):
        download(url, path)


def test_a_client_that_hangs_up_does_not_disturb_the_server():
    with serving(latency=0) as url:
        connect(url).close()
        assert download(url, SAMPLE[0]) == Path(SAMPLE[0]).read_bytes()


@pytest.mark.parametrize("slots", [1, 2, 6])
def test_requests_wait_for_a_slot_and_then_for_the_latency(slots: int):
    latency, requests = 0.05, 6
    with serving(latency=latency, slots=slots) as url, ThreadPoolExecutor(requests) as pool:
        begun = time.monotonic()
        list(pool.map(download, [url] * requests, SAMPLE * 2))
        assert time.monotonic() - begun >= latency * requests / slots


def test_a_waiting_request_does_not_keep_the_server():
    with serving(latency=3600) as url, connect(url) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize("forks", [False, True], ids=["alone", "with a forked child that lives on"])
def test_the_server_ends_when_its_starter_is_killed(forks: bool):
    code = f"""if True:
        import os, sys, fetch_files
        if not {forks} or os.fork():
            print(fetch_files.URL, flush=True)
        sys.stdin.read()
    """
    command = [*PYTHON, "-c", code]
    with Popen(command, cwd=EXAMPLES, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as starter:
        url = starter.stdout.readline().strip()
        with connect(url) as connection:
            starter.kill()
            assert connection.recv(1) == b""  # the server does not hang up, so it is gone
        # All that hold these pipes have ended then, the forked child too, without a complaint.
        assert starter.communicate() == ("", "")
