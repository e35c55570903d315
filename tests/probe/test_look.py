"""What is large is looked at in part: what each call changes there shows, and nothing else does."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import poolwise
from poolwise.probe import EffectWatch
from poolwise.probe.contents import Budget, contents
from poolwise.task import Task
from programs import NEEDS_NUMPY

MANY = 200_000


class Model:
    """Small counters beside large weights."""

    def __init__(self, weights: object) -> None:
        self.weights, self.steps, self.log = weights, 0, list[int]()
        self.scale: float | None = None

    def predict(self, number: int) -> int:
        self.steps += 1
        return self.steps

    def note(self, number: int) -> int:
        self.log.append(number)
        return len(self.log)

    def lazy(self, number: int) -> float:
        if self.scale is None:
            self.scale = 2.0
        return self.scale * number


def watch(function: Callable[..., object], inputs: Iterable[object]) -> EffectWatch:
    watch, task = EffectWatch(), Task(function)
    for argument in inputs:
        watch.before(task, ([argument],))
        function(argument)
        watch.after(task, ([argument],))
    return watch


def storing(target: Any, places: Callable[[int], object] = int) -> Callable[[int], None]:
    def store(number: int) -> None:
        target[places(number)] = number % 200 + 1

    return store


def growing(target: Any) -> Callable[[int], None]:
    return lambda number: target.update({-1 - number: 1})


def appending(target: Any) -> Callable[[int], None]:
    return lambda number: target.append(number)


def renaming(table: Any) -> Callable[[int], None]:
    return lambda number: table.s.array.__setitem__(number, "another")


def reading(target: Any) -> Callable[[int], object]:
    return lambda number: target[number]


def zeros(count: int) -> Any:
    numpy = pytest.importorskip("numpy")
    return numpy.zeros(count)


def frame(rows: int) -> Any:
    numpy = pytest.importorskip("numpy")
    return pytest.importorskip("pandas").DataFrame({"a": numpy.arange(float(rows))})


def strings() -> Any:
    return pytest.importorskip("pandas").DataFrame({"s": [f"name{n}" for n in range(MANY)]})


CHANGED: dict[str, Callable[[], Callable[..., object]]] = {
    "a small attribute": lambda: Model(bytes(4 << 20)).predict,
    "a small list": lambda: Model(bytearray(4 << 20)).note,
    "an attribute beside an array": lambda: Model(zeros(500_000)).predict,
    "a list beside an array": lambda: Model(zeros(500_000)).note,
    "an array from its beginning": lambda: storing(zeros(1_000_000)),
    "an array from its end": lambda: storing(zeros(1_000_000), lambda n: -1 - n),
    "an array in the middle": lambda: storing(zeros(1_000_000), lambda n: 500_000 + 7 * n),
    "a huge array from its beginning": lambda: storing(zeros(20_000_000)),
    "a huge array, wide rows": lambda: storing(
        zeros(20_000_000).reshape(20, -1), lambda n: slice(n, n + 1)
    ),
    "an array that is not contiguous": lambda: storing(zeros(2_000_000)[::2]),
    "a bytearray": lambda: storing(bytearray(4 << 20), lambda n: (1 << 20) + n),
    "a dictionary": lambda: storing(dict.fromkeys(range(MANY), 0)),
    "a dictionary's size": lambda: growing(dict.fromkeys(range(MANY), 0)),
    "a list": lambda: appending(list(range(500_000))),
    "a list's end": lambda: storing(list(range(500_000)), lambda n: -1 - n),
    "a column": lambda: storing(frame(300_000), lambda n: "b"),
    "strings of a frame": lambda: renaming(strings()),
    "a large list beside what has no name": lambda: storing(
        [*range(500_000), lambda: None], lambda n: -2 - n
    ),
}


@NEEDS_NUMPY
@pytest.mark.parametrize("make", CHANGED.values(), ids=CHANGED)
def test_a_large_thing_that_each_call_changes_is_for_a_loop(
    make: Callable[[], Callable[..., object]],
) -> None:
    refusal = watch(make(), range(3)).refusal
    assert refusal is not None
    assert "each call changes" in refusal.reason


@NEEDS_NUMPY
@pytest.mark.parametrize("make", [zeros, frame], ids=["array", "frame"])
def test_large_arguments_that_are_changed(make: Callable[[int], Any]) -> None:
    def center(table: Any) -> None:
        table -= table.mean() - 1

    refusal = watch(center, [make(300_000) for _ in range(3)]).refusal
    assert refusal is not None
    assert refusal.reason == "each call changes its arguments"


UNCHANGED: dict[str, Callable[[], Callable[..., object]]] = {
    "an array": lambda: reading(zeros(1_000_000)),
    "a huge array": lambda: reading(zeros(20_000_000)),
    "an array that is not contiguous": lambda: reading(zeros(2_000_000)[::2]),
    "a dictionary": lambda: reading(dict.fromkeys(range(MANY), 0)),
    "a list": lambda: reading([str(n) for n in range(MANY)]),
    "strings of a frame": lambda: reading(strings().s),
    "a set": lambda: {*range(MANY)}.__contains__,
    "a lazy attribute beside an array": lambda: Model(zeros(500_000)).lazy,
}


@NEEDS_NUMPY
@pytest.mark.parametrize("make", UNCHANGED.values(), ids=UNCHANGED)
def test_a_large_thing_that_is_read_is_for_any_plan(
    make: Callable[[], Callable[..., object]],
) -> None:
    harmless = watch(make(), range(3))
    assert harmless.refusal is None
    assert not harmless.undecided


@NEEDS_NUMPY
def test_what_was_seen_in_part_only_is_named() -> None:
    assert watch(reading(zeros(1_000_000)), range(2)).partly == ()
    (name,) = watch(reading(zeros(20_000_000)), range(2)).partly
    assert name == "a ndarray that the function holds"
    assert watch(len, [[str(n) for n in range(MANY)]] * 2).partly == ("its arguments",)
    assert watch(len, ["ab", "cd"]).partly == ()


def test_a_first_call_that_writes_what_was_there_does_not_hide_the_others() -> None:
    refusal = watch(lambda number: CELLS.__setitem__(number, number), range(4)).refusal
    assert refusal is not None


CELLS = [0] * 10


@pytest.mark.parametrize("library", [None, pytest.param("numpy", marks=NEEDS_NUMPY)])
def test_checksums_tell_changes_of_content_and_of_order(
    library: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library is None:
        monkeypatch.delitem(sys.modules, "numpy", raising=False)
    else:
        __import__(library)
    data = bytes(range(256)) * 12_000 + b"tail"
    seen = contents(data, Budget())
    assert contents(bytearray(data), Budget()) == seen
    for place in (0, 1_000_003, len(data) - 5, len(data) - 1):
        other = bytearray(data)
        other[place] ^= 1
        assert contents(other, Budget()) != seen
    assert contents(data[::-1], Budget()) != seen
    assert contents(data[8:] + data[:8], Budget()) != seen


def test_a_budget_that_is_used_up_leaves_a_sample() -> None:
    data, budget = bytearray(8 << 20), Budget(full=1 << 20)
    seen = contents(data, budget)
    assert budget.partly
    assert contents(bytearray(len(data)), Budget(full=1 << 20)) == seen
    for begin in (0, 1 << 20, len(data) - 300_000):
        other = bytearray(data)
        other[begin : begin + 300_000] = b"1" * 300_000
        assert contents(other, Budget(full=1 << 20)) != seen


def numbers() -> Iterator[int]:
    yield from range(10_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lines"
    path.write_text("".join(f"{number}\n" for number in range(10_000)))
    return path


@pytest.mark.parametrize("kind", ["r", "rb", "iterated", "csv", "generator"])
def test_what_is_read_in_turn_is_for_a_loop(kind: str, path: Path) -> None:
    with open(path, "rb" if kind == "rb" else "r") as file:
        taken: Any = {"csv": csv.reader(file), "generator": numbers()}.get(kind, file)
        take = file.readline if kind in ("r", "rb") else taken.__next__
        refusal = watch(lambda number: (taken, take()), range(4)).refusal
    assert refusal is not None


def test_a_file_that_is_written_may_be_written_in_any_order(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as file:
        harmless = watch(lambda number: file.write(f"{number}\n"), range(4))
    assert harmless.refusal is None
    assert not harmless.undecided


def busy(seconds: float = 2e-3) -> None:
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        pass


@NEEDS_NUMPY
def test_calls_that_change_something_beside_what_is_large_are_as_in_a_loop() -> None:
    model = Model(zeros(500_000))

    def predict(number: int) -> int:
        busy()
        return model.predict(number)

    assert list(poolwise.map(predict, range(150))) == list(range(1, 151))
    assert model.steps == 150


def test_lines_that_are_read_in_turn_are_as_in_a_loop(path: Path) -> None:
    with open(path) as lines:

        def read(number: int) -> str:
            busy()
            return lines.readline()

        assert list(poolwise.map(read, range(150))) == [f"{number}\n" for number in range(150)]


@NEEDS_NUMPY
def test_an_explanation_says_what_was_seen_in_part_only() -> None:
    table = zeros(20_000_000)

    def read(number: int) -> float:
        busy()
        return float(table[number])

    run = poolwise.map(read, range(20))
    run.results()
    assert "all of what is large (a ndarray that the function holds)" in str(run.explain())
