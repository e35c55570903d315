"""Of which calls the code tells that they hold the GIL whenever they compute."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import math
import os
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from types import SimpleNamespace

import pytest

from poolwise.probe.holding import holds_the_gil
from poolwise.task import Task

TABLE = {"one": [1, 2, 3], "two": [4]}
WORDS = re.compile(r"\w+")
find_words = WORDS.findall
compress = zlib.compress
deep = [[[[[b"five deep"]]]]]
anything = SimpleNamespace(compress=zlib.compress)


def computes(x: object) -> object:
    return sum(divisor for divisor in range(2, 9) if hash(x) % divisor == 0)


def uses_constants(x: str) -> int:
    return len(TABLE) + len(WORDS.findall(x)) + len(find_words(x))


def uses_the_library(x: str) -> int:
    return len(json.loads(x)) + int(math.sqrt(2)) + len(Counter(x))


def reads_a_table(x: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(x)))


def calls_another(x: str) -> int:
    return uses_the_library(x) + uses_constants(x)


@lru_cache
def remembers(x: int) -> int:
    return x + 1


class Scores:
    """A class of the user's, of which calls make objects."""

    def __init__(self, words: str) -> None:
        self.words = words

    @property
    def score(self) -> int:
        return len(self.words)

    @staticmethod
    def squeezed(words: str) -> bytes:
        return zlib.compress(words.encode())


class Plain:
    """The same, without anything that lets go."""

    def __init__(self, words: str) -> None:
        self.words = words

    @property
    def score(self) -> int:
        return math.isqrt(len(self.words))


def makes_objects(x: str) -> int:
    return Plain(x).score


class Runs(threading.Thread):
    """A class of the user's with a base of which nothing is known."""


def makes_threads(x: str) -> str:
    return Runs(name=x).name


def of_nowhere(x: int) -> int:
    return x


of_nowhere.__module__ = None  # type: ignore[assignment]


class Pretends:
    """Says that it is something else, and that only if it is asked."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise AssertionError("code of the user's has run")


HOLDING: list[tuple[Callable[..., object], object]] = [
    (computes, 3),
    (computes, [{"a": (1.0, "b", None)}, b"bytes"]),
    (uses_constants, "a b"),
    (uses_the_library, "[1]"),
    (reads_a_table, "a,b"),
    (calls_another, "[1]"),
    (remembers, 3),
    (makes_objects, "a b"),
    (partial(pow, 3), 5),
    (lambda x: computes(x), 3),
    (json.loads, "[1]"),
    (math.factorial, 300),
    (str.upper, "a"),
    (find_words, "a b"),
]


@pytest.mark.parametrize(("function", "argument"), HOLDING)
def test_what_reaches_only_python_and_what_never_lets_go(
    function: Callable[..., object], argument: object
) -> None:
    assert holds_the_gil(Task(function), [[argument]])


def hashes(x: bytes) -> bytes:
    return hashlib.sha256(x).digest()


def compresses(x: bytes) -> bytes:
    return compress(x)


def imports_within(x: bytes) -> bytes:
    import bz2

    return bz2.compress(x)


def reads_a_file(x: str) -> bytes:
    with open(x, "rb") as file:
        return file.read()


def makes_squeezing_objects(x: str) -> bytes:
    return Scores.squeezed(x)


def calls_one_that_hashes(x: bytes) -> int:
    return len(hashes(x))


def uses_the_system(x: str) -> bool:
    return os.path.exists(x)


def uses_what_is_deep(x: int) -> object:
    return deep[x]


def uses_anything(x: bytes) -> object:
    return anything.compress(x)


def evaluates(x: str) -> object:
    return eval(x)


def enclosing(inner: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def outer(x: bytes) -> bytes:
        return inner(x)

    return outer


def numbers() -> Iterator[int]:
    yield 1


@functools.singledispatch
def dispatches(x: object) -> object:
    return x


class Own:
    """Whatever it does."""


LETTING_GO: list[tuple[Callable[..., object], object]] = [
    (hashes, b""),
    (compresses, b""),
    (imports_within, b""),
    (reads_a_file, "name"),
    (makes_squeezing_objects, "a"),
    (calls_one_that_hashes, b""),
    (uses_the_system, "name"),
    (uses_what_is_deep, 0),
    (uses_anything, b""),
    (evaluates, "1"),
    (enclosing(zlib.compress), b""),
    (enclosing(hashes), b""),
    (partial(hashes), b""),
    (zlib.crc32, b""),
    (hashlib.sha256(b"").copy, None),
    (dispatches, 1),
    (makes_threads, "a"),
    (of_nowhere, 1),
    (computes, Own()),
    (computes, zlib.compress),
    (computes, [zlib.compressobj()]),
    (computes, numbers()),
    (computes, deep),
]


@pytest.mark.parametrize(("function", "argument"), LETTING_GO)
def test_of_all_others_nothing_is_known(function: Callable[..., object], argument: object) -> None:
    assert not holds_the_gil(Task(function), [[argument]])


def test_no_code_of_the_users_runs() -> None:
    assert not holds_the_gil(Task(computes), [[Pretends()]])
    assert not holds_the_gil(Task(computes), [[[Pretends()]]])
