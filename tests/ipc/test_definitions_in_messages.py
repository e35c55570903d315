"""What the main script defines is the same for who gets it in a message, and stays as it was."""

from __future__ import annotations

from pathlib import Path

import channel_calls
import pytest
from channel_peer import peers

import programs
from poolwise import Queue

_PROGRAM = """
import enum, multiprocessing

count = 0

class Command(enum.Enum):
    STOP = 1

class Message:
    def bump(self):
        global count
        count += 1
        return count

class Stop:
    pass

def helper():
    return count

def same(message, command, stop):
    return [type(message) is Message, command is Command.STOP, stop is Stop]

def answer(there, back, shared):
    *got, function = [there.get(timeout=20) for _ in range(4)]
    back.put(same(*got) + same(*shared.value))
    back.put(function is helper)
    for each in Message(), Command.STOP, Stop, helper:
        back.put(each)

def check(start, has_functions):
    there, back = poolwise.Queue(), poolwise.Queue()
    methods = Message.bump, Message.__dict__["__module__"]
    given = Message(), Command.STOP, Stop
    end = start(there, back, poolwise.share(given))
    for each in (*given, helper):
        there.put(each)
    assert back.get(timeout=20) == [True] * 6
    assert back.get(timeout=20) == has_functions
    *got, function = [back.get(timeout=20) for _ in range(4)]
    assert same(*got) == [True] * 3
    assert (function is helper) == has_functions
    assert methods == (Message.bump, Message.__dict__["__module__"])
    assert got[0].bump() == count
    end()

def of_multiprocessing(method):
    def start(*args):
        process = multiprocessing.get_context(method).Process(target=answer, args=args)
        process.start()
        return process.join
    return start

def of_a_pool(method):
    def start(*args):
        pool = poolwise.Executor(plan="process:1", start_method=method)
        pool.submit(abs, 1).result()  # the worker runs already
        future = pool.submit(answer, *args)
        def end():
            future.result()
            pool.shutdown()
        return end
    return start

if __name__ == "__main__":
    check(of_a_pool("fork"), True)
    check(of_a_pool("forkserver"), False)
    check(of_multiprocessing("fork"), True)
    check(of_multiprocessing("spawn"), True)
"""


def test_it_is_the_same_in_every_process(tmp_path: Path) -> None:
    programs.run(tmp_path, _PROGRAM)


def test_a_function_that_was_defined_anew_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        """
def answer(there, back):
    for each in there:
        back.put(each())

def helper():
    return "old"

pool = poolwise.Executor(plan="process:1", start_method="fork")
there, back = poolwise.Queue(), poolwise.Queue()
future = pool.submit(answer, there, back)
there.put(helper)
assert back.get(timeout=20) == "old"

def helper():
    return "new"

there.put(helper)
assert back.get(timeout=20) == "new"
there.close()
future.result()
pool.shutdown()
""",
    )


@pytest.mark.parametrize("kind", ["fork", "exec"])
def test_a_class_of_a_function_comes_back_as_itself(kind: str) -> None:
    class Local:
        def method(self) -> type:
            return Local

    method = Local.method
    there, back = Queue(), Queue()
    with peers(kind) as (peer,):
        peer.start(channel_calls.echo, there, back)
        for _ in range(3):
            there.put(Local())
            got = back.get(timeout=30)
            assert type(got) is Local
            assert got.method() is Local
        there.close()
        peer.result()
    assert Local.method is method
