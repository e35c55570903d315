"""Objects become bytes and come back, or it is said why not."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from _poolwise_worker import transfer


class WithoutText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


class TwoArguments(Exception):
    """Pickles, and cannot be read again: a common mistake."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_what_plain_pickle_carries_travels_as_plain_pickle() -> None:
    assert transfer.dumps([1, "two", test_what_plain_pickle_carries_travels_as_plain_pickle]) == (
        pickle.dumps([1, "two", test_what_plain_pickle_carries_travels_as_plain_pickle], 5)
    )


def test_lambdas_and_closures_travel() -> None:
    factor = 3
    function = transfer.loads(transfer.dumps(lambda value: value * factor))
    assert function(2) == 6


def test_what_cannot_be_pickled_is_said_by_its_own_pickling() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        transfer.dumps(sys.stdout.buffer if hasattr(sys.stdout, "buffer") else iter(print, 0))


def test_a_class_of_main_is_the_same_class_when_it_comes_back() -> None:
    program = """
import subprocess, sys
from _poolwise_worker import transfer

class Point:
    def __init__(self, x): self.x = x

echo = "import sys; from _poolwise_worker import transfer as t; b = sys.stdin.buffer.read(); "
echo += "sys.stdout.buffer.write(t.dumps(t.loads(b)))"
run = subprocess.run([sys.executable, "-c", echo], input=transfer.dumps(Point(3)),
                     stdout=subprocess.PIPE, check=True)
back = transfer.loads(run.stdout)
assert type(back) is Point and back.x == 3, type(back)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_word_main_in_a_value_is_a_false_alarm() -> None:
    for value in ["__main__", b"__main__", {"name": ["__main__", 1]}]:
        assert transfer.loads(transfer.dumps(value)) == value


def test_an_exception_travels_with_its_traceback_as_text() -> None:
    def fail() -> None:
        raise ValueError("why")

    try:
        try:
            fail()
        except ValueError as error:
            raise LookupError("more") from error
    except LookupError as error:
        error.add_note("a note")
        error.code = 7  # type: ignore[attr-defined]
        pickled, text = transfer.dumps_error(error)
    assert pickled is not None
    back = transfer.loads(pickled)
    assert (type(back), back.args, back.code) == (LookupError, ("more",), 7)
    assert back.__notes__ == ["a note"]
    assert "ValueError: why" in text
    assert "LookupError: more" in text
    assert "in fail" in text


def test_an_exception_that_cannot_be_read_again_travels_as_text() -> None:
    pickled, text = transfer.dumps_error(TwoArguments(1, 2))
    assert pickled is None
    assert "TwoArguments: 1 and 2" in text
    pickled, text = transfer.dumps_error(ValueError(sys.stdout))
    assert pickled is None
    assert "ValueError" in text


def test_an_exception_is_described_whatever_its_text_does() -> None:
    assert transfer.describe(ValueError("why")) == "ValueError: why"
    assert "WithoutText" in transfer.describe(WithoutText())
    pickled, text = transfer.dumps_error(WithoutText())
    assert pickled is not None
    assert "WithoutText" in text


def test_what_is_unsendable_says_so_when_it_is_read() -> None:
    data = transfer.dumps(transfer.Unsendable("because"))
    with pytest.raises(transfer.Untransferable, match="because"):
        transfer.loads(data)
