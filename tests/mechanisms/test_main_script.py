"""What the main script defines is its own in children of `multiprocessing`, too, where the script
was run again under another name; and under either name it keeps its slots and its source.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import programs

_SCRIPT = """
import enum, functools, multiprocessing, sys, threading, time, typing
from concurrent.futures import ProcessPoolExecutor

Some = typing.TypeVar("Some")
factor = 1
table = [1] * 200_000

class Kind(enum.Enum):
    ONE = 1

class Wrong(Exception):
    pass

class Thing(typing.Generic[Some]):
    def __init__(self, value): self.value = value

def scaled(value): return value * factor + table[0] - 1
def made(value): return Thing(value), Kind.ONE, Some
def kept(thing): return type(thing) is Thing and scaled(thing.value), thing
def wrong(value): raise Wrong(value)
@functools.cache
def cached(value): return value
def own_name(_): return __name__

def check(mapped):
    assert mapped(scaled, [1, 2]) == [scaled(1), scaled(2)]
    for thing, kind, some in mapped(made, [3, 4]):
        assert type(thing) is Thing and kind is Kind.ONE and some is Some
    for (value, thing), number in zip(mapped(kept, [Thing(5), Thing(6)]), (5, 6)):
        assert value == scaled(number) and type(thing) is Thing
    assert mapped(cached, [7]) == [7]
    assert mapped(own_name, [8]) == [__name__]
    try:
        mapped(wrong, [9])
    except Wrong as error:
        assert error.args == (9,)
    else:
        raise AssertionError
    try:  # of a class that the function does not name
        mapped(hidden, [10])
    except Hidden as error:
        assert type(error.args[0]) is Thing
    else:
        raise AssertionError

class Hidden(Exception): pass
kinds = {"hidden": Hidden}
def hidden(value): raise kinds["hidden"](Thing(value))

def change(to):
    global factor, table
    factor, table = to, [to] * 200_000

def job(method):
    options = {} if method == "auto" else {"plan": "process:2", "start_method": method}
    for number in 1, 2:  # what has changed is seen
        change(number)
        check(lambda function, inputs: list(poolwise.map(function, inputs, **options)))
    with poolwise.Executor(**options) as executor:
        for number in 3, 4:
            change(number)
            check(lambda function, inputs: list(executor.map(function, inputs)))
    worker = poolwise.Worker(kept, (Thing(5),), mechanism="process")
    worker.start()
    value, thing = worker.result(30)
    assert value == scaled(5) and type(thing) is Thing

def with_a_thread(method):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    job(method)

def in_a_process(start, function, *args):
    process = multiprocessing.get_context(start).Process(target=function, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0
"""

STARTS = pytest.mark.parametrize("start", ["spawn", "forkserver", "fork"])


@STARTS
@pytest.mark.parametrize("method", ["auto", "fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_may_use_all_workers(
    start: str, method: str, tmp_path: Path
) -> None:
    programs.run(
        tmp_path,
        f"{_SCRIPT}\nif __name__ == '__main__':\n    in_a_process({start!r}, job, {method!r})\n",
    )


@pytest.mark.parametrize("method", ["auto", "spawn"])
def test_it_may_have_another_thread(method: str, tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        f"{_SCRIPT}\nif __name__ == '__main__':\n"
        f"    in_a_process('spawn', with_a_thread, {method!r})\n",
    )


def test_calls_of_a_process_pool_may(tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        f"""{_SCRIPT}
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(job, "auto").result()
        pool.submit(job, "forkserver").result()
""",
    )


def test_a_script_that_is_run_as_a_module_may(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        f"import poolwise\n{_SCRIPT}\nif __name__ == '__main__':\n"
        f"    in_a_process('spawn', job, 'auto')\n    in_a_process('spawn', job, 'spawn')\n"
    )
    programs.run(
        tmp_path,
        "import subprocess\n"
        "subprocess.run([sys.executable, '-W', 'error', '-m', 'program'], check=True)\n",
    )


_SLOTS = """
import abc, dataclasses, multiprocessing, typing

@dataclasses.dataclass(slots=True)
class Row:
    x: int

@dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True)
class Frozen:
    x: int

class Base:
    __slots__ = ("a",)

class Derived(Base):
    __slots__ = {"b": "its documentation", "__hidden": None}
    def __init__(self): self.a, self.b, self.__hidden = 1, 2, 3
    def all(self): return self.a, self.b, self.__hidden

class Open(Base):
    pass

class Both:
    __slots__ = ("a", "__dict__", "__weakref__")

class Abstract(abc.ABC):
    __slots__ = "only"
    @abc.abstractmethod
    def get(self): ...

class Concrete(Abstract):
    __slots__ = ()
    def get(self): return self.only

class Number(int):
    __slots__ = ()

class Pair(typing.NamedTuple):
    x: int
    y: int = 2

class Wrong(Exception):
    __slots__ = ("why",)
    def __init__(self, why):
        super().__init__("wrong")
        self.why = why

KINDS = [Row, Frozen, Derived, Open, Both, Concrete, Number, Pair]

def made(_=None):
    row, frozen, derived, opened, both, concrete, number, pair = things = [
        Row(1), Frozen(2), Derived(), Open(), Both(), Concrete(), Number(3), Pair(4)
    ]
    opened.a, opened.z, both.a, both.z, concrete.only = 1, 2, 3, 4, 5
    return things

def right(things):
    row, frozen, derived, opened, both, concrete, number, pair = things
    return (
        [type(thing) for thing in things] == KINDS
        and (row, frozen, pair, number) == (Row(1), Frozen(2), Pair(4), 3)
        and (derived.all(), concrete.get()) == ((1, 2, 3), 5)
        and (opened.a, opened.z, both.a, both.z) == (1, 2, 3, 4)
        and not any(hasattr(each, "__dict__") for each in (row, frozen, derived, concrete, number))
    )

def returned(things):
    assert right(things)
    return things

def wrong(why):
    raise Wrong(why)

def echo(there, back):
    for things in there:
        assert right(things)
        back.put(things)
        back.put(made())

def check(there, back):
    for _ in range(2):
        there.put(made())
        assert right(back.get(timeout=20)) and right(back.get(timeout=20))
    there.close()

def job():
    for start in "fork", "forkserver", "spawn":
        with poolwise.Executor(plan="process:1", start_method=start) as executor:
            for things in [*executor.map(made, [0, 1]), *executor.map(returned, [made(), made()])]:
                assert right(things)
            error = executor.submit(wrong, Row(7)).exception()
            assert type(error) is Wrong and error.why == Row(7), error
            there, back = poolwise.Queue(), poolwise.Queue()
            end = executor.submit(echo, there, back)
            check(there, back)
            end.result()
            shared = poolwise.share(made())
            assert right(executor.submit(lambda: shared.value).result())
        assert right(list(poolwise.map(made, [0], plan="process:1", start_method=start))[0])
    with poolwise.Executor() as executor:
        for things in executor.map(made, range(200)):
            assert right(things)
    worker = poolwise.Worker(returned, (made(),), mechanism="process")
    worker.start()
    assert right(worker.result(30))

def in_a_process(function, *args):
    process = multiprocessing.get_context("spawn").Process(target=function, args=args)
    process.start()
    return process
"""


def test_classes_of_the_main_script_keep_their_slots(tmp_path: Path) -> None:
    programs.run(tmp_path, f"{_SLOTS}\njob()\n")


def test_so_they_do_where_the_script_was_run_again(tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        f"""{_SLOTS}
if __name__ == "__main__":
    there, back = poolwise.Queue(), poolwise.Queue()
    others = in_a_process(job), in_a_process(echo, there, back)
    check(there, back)
    for each in others:
        each.join()
        assert each.exitcode == 0
""",
    )


_SOURCE = """
import inspect, multiprocessing, traceback

def fail(x):
    return 1 / x  # this line

def source(_):
    return inspect.getsource(fail)

def nested(_):
    return (lambda x: 1 / x).__code__.co_filename

def job():
    for start in "fork", "forkserver", "spawn":
        with poolwise.Executor(plan="process:1", start_method=start) as executor:
            error = executor.submit(fail, 0).exception()
            assert "return 1 / x  # this line" in "".join(traceback.format_exception(error))
            assert executor.submit(source, 0).result() == inspect.getsource(fail)
            assert executor.submit(nested, 0).result() == __file__

if __name__ == "__main__":
    job()
    process = multiprocessing.get_context("spawn").Process(target=job)
    process.start()
    process.join()
    assert process.exitcode == 0
"""


def test_tracebacks_and_inspect_find_the_source(tmp_path: Path) -> None:
    programs.run(tmp_path, _SOURCE)


def test_what_has_no_file_does_not_get_that_of_another(tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        """
space = {"__name__": "__main__"}
exec(compile("def fail(x):\\n    return 1 / x", "<string>", "exec"), space)
def named(function): return function.__code__.co_filename
assert mapped(named, [space["fail"]]) == ["<dynamic-code>"]
""",
        "forkserver",
    )
