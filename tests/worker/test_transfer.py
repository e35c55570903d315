"""Objects become bytes and come back, or it is said why not."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from _poolwise_worker import raised, transfer


class Wordy(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(f"it was {number}")


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


class Name(str):
    """The name of an attribute. When it is read, another thread does something, once."""

    meanwhile: Callable[[], object] | None = None

    def _read(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            another = threading.Thread(target=meanwhile)
            another.start()
            another.join()

    def __iter__(self) -> Iterator[str]:
        self._read()
        return super().__iter__()

    def __lt__(self, other: str) -> bool:
        self._read()
        return super().__lt__(other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("way", [transfer.TO_WORKER, transfer.TO_CALLER, transfer.TO_OLDER_FORK])
def test_another_thread_may_set_an_attribute_of_a_function(way: transfer.Pickling) -> None:
    def function() -> int:
        return 1

    name = Name("first")
    vars(function)[name] = 1
    name.meanwhile = lambda: vars(function).update(second=2)
    back = transfer.loads(way.dumps(function))
    assert back() == 1
    assert name.meanwhile is None
    assert vars(back) == {"first": 1, "second": 2}


@pytest.mark.parametrize("way", [transfer.TO_WORKER, transfer.TO_CALLER, transfer.TO_OLDER_FORK])
def test_another_thread_may_delete_an_attribute_of_a_class(way: transfer.Pickling) -> None:
    name = Name("first")
    made = type("Made", (), {name: 1, "last": 2})
    name.meanwhile = lambda: delattr(made, "last")
    transfer.loads(way.dumps(made))
    assert name.meanwhile is None


def test_a_class_that_cannot_be_taken_apart_says_why() -> None:
    class Refusing(type):
        def __getattribute__(cls, name: str) -> object:
            if name == "__bases__":
                raise KeyError("mine")
            return super().__getattribute__(name)

    with pytest.raises(KeyError, match="mine"):
        transfer.dumps(Refusing("Made", (), {}))


def test_another_thread_finds_all_that_a_function_brings() -> None:
    """Two threads of a worker read functions that bring the same variables."""
    caller = """
import sys
from _poolwise_worker import transfer

class Slow:
    def __reduce__(self):
        import worker
        worker.meet()
        return Slow, ()

LEVEL = 3
SLOW = Slow()

def level(_):
    return LEVEL, SLOW

sys.stdout.buffer.write(transfer.dumps(level))
"""
    worker = """
import sys, threading
from types import ModuleType
from _poolwise_worker import transfer

pickled = sys.stdin.buffer.read()
here = threading.local()
results = []

def call():
    here.alone = True
    try:
        results.append(transfer.loads(pickled)(0)[0])
    except BaseException as error:
        results.append(repr(error))

def meet():
    # Between two variables, while the first function is read.
    if not hasattr(here, "alone"):
        here.alone = True
        another = threading.Thread(target=call)
        another.start()
        another.join()

module = sys.modules["worker"] = ModuleType("worker")
module.meet = meet
call_first = transfer.loads(pickled)
results.append(call_first(0)[0])
print(results)
"""
    silent = "import sys, types; m = sys.modules['worker'] = types.ModuleType('worker')\n"
    silent += "m.meet = lambda: None\n"
    pickled = _run(silent + caller)
    assert _run(worker, pickled) == b"[3, 3]\n"


def test_nothing_is_asked_for_descriptors_before_there_is_an_object_that_has_some() -> None:
    program = """
import sys, poolwise
from _poolwise_worker import transfer

def looks():
    return transfer._CHANNELS in sys.modules

with poolwise.Executor(plan="process:1", start_method="forkserver") as executor:
    before = executor.submit(looks).result(60), looks()
    lock = poolwise.Lock()
    locked = executor.submit(type(lock).locked, lock).result(60)
    print(before, locked, executor.submit(looks).result(60), looks())
"""
    assert _run(program) == b"(False, False) False True True\n"


def _run(program: str, given: bytes = b"") -> bytes:
    run = subprocess.run(
        [sys.executable, "-c", program], input=given, stdout=subprocess.PIPE, check=True
    )
    return run.stdout


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
    back = raised.unpack(pickled)
    assert (type(back), back.args, back.code) == (LookupError, ("more",), 7)  # type: ignore[attr-defined]
    assert back.__notes__ == ["a note"]
    assert type(back.__cause__) is ValueError
    assert back.__cause__ is back.__context__
    assert "ValueError: why" in text
    assert "LookupError: more" in text
    assert "in fail" in text


def test_an_exception_whose_constructor_takes_something_else_travels_whole() -> None:
    pickled, text = transfer.dumps_error(TwoArguments(1, 2))
    assert pickled is not None
    back = raised.unpack(pickled)
    assert (type(back), back.args) == (TwoArguments, ("1 and 2",))
    assert "TwoArguments: 1 and 2" in text


def test_an_exception_whose_constructor_makes_a_text_is_not_made_twice() -> None:
    pickled, _ = transfer.dumps_error(Wordy(3))
    assert pickled is not None
    assert str(raised.unpack(pickled)) == "it was 3"


def test_parts_of_a_group_keep_their_causes() -> None:
    part = KeyError(1)
    part.__cause__ = cause = TypeError("of the part")
    group = ExceptionGroup("several", [ValueError(0), part])
    cause.__cause__ = group  # a circle, which some code makes
    pickled, _ = transfer.dumps_error(group)
    assert pickled is not None
    back = raised.unpack(pickled)
    assert isinstance(back, ExceptionGroup)
    again = back.exceptions[1].__cause__
    assert (type(again), str(again)) == (TypeError, "of the part")
    assert again is not None
    assert again.__cause__ is back


def test_a_cause_that_cannot_travel_is_left_out() -> None:
    error = ValueError("why")
    error.__cause__ = OSError(sys.stdout)
    pickled, text = transfer.dumps_error(error)
    assert pickled is not None
    assert raised.unpack(pickled).__cause__ is None
    assert "OSError" in text


def test_a_cause_that_cannot_travel_whole_has_a_stand_in() -> None:
    error = ValueError("why")
    error.__cause__ = KeyError("kept", sys.stdout)
    pickled, _ = transfer.dumps_error(error)
    assert pickled is not None
    cause = raised.unpack(pickled).__cause__
    assert type(cause) is KeyError
    assert cause.args[0] == "kept"
    assert "args[1]" in cause.__notes__[0]


def test_an_exception_that_cannot_be_read_again_travels_as_text() -> None:
    pickled, text = transfer.dumps_error(OSError(sys.stdout))
    assert pickled is None
    assert "OSError" in text


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
