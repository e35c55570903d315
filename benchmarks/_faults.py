"""One program in which something goes wrong, for one library; run by `bench_faults.py`.

``python _faults.py LIBRARY FAULT FOLDER`` maps a function over inputs, of which one is at fault,
and prints what came back as a line of JSON. Then it uses the same pool once more.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Inputs, and the one at fault.
INPUTS, FAULTY = 40, 7

#: What a call may take, in seconds, where the library takes a limit. The others take 5 ms.
LIMIT = 1.0

FOLDER = Path()


class TwoArguments(Exception):
    """An exception that pickle cannot make again."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Unreadable:
    """Cannot be read: not by a worker, or not by the caller."""

    def __init__(self, caller: int, *, here: bool) -> None:
        self.caller, self.here = caller, here

    def __reduce__(self) -> Any:
        return _read, (self.caller, self.here)


def _read(caller: int, here: bool) -> object:
    if (os.getpid() == caller) == here:
        raise ValueError("cannot be read")
    return Unreadable(caller, here=here)


def _grow(number: int) -> None:
    kept = [bytearray(b"x" * (1 << 20)) for _ in range(300)]
    time.sleep(5.0)
    del kept


def _exit(number: int) -> None:
    os._exit(3)


def _die_once(number: int) -> None:
    try:
        (FOLDER / "once").touch(exist_ok=False)
    except FileExistsError:
        return
    os._exit(3)


def _raise(number: int) -> None:
    raise TwoArguments(3, "three")


#: What the call of the faulty input does; it returns what this returns.
FAULTS: dict[str, Callable[[int], Any]] = {
    "exit": _exit,
    "segfault": lambda _: ctypes.string_at(0),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "die once": _die_once,
    "sleep": lambda _: time.sleep(3600.0),
    "C code": lambda _: ctypes.PyDLL(None).pause(),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "memory": _grow,
    "result cannot be sent": lambda _: (each for each in ()),
    "result cannot be read": lambda caller: Unreadable(caller, here=True),
    "exception": _raise,
    "argument cannot be read": lambda _: None,
    "initializer": lambda _: None,
    "Ctrl-C": lambda _: time.sleep(3600.0),
    "Ctrl-C in C code": lambda _: sum(range(10**13)),
    "caller killed": lambda _: time.sleep(3600.0),
}

#: The faults in which calls have a limit.
LIMITED = ("sleep", "C code", "stop")


def call(item: tuple[str, int, str, int, object]) -> object:
    """Do what all libraries map."""
    global FOLDER
    fault, number, folder, caller, _ = item
    FOLDER = Path(folder)
    if number != FAULTY:
        time.sleep(0.005)
        return number
    (FOLDER / "begun").touch()
    return FAULTS[fault](caller if fault == "result cannot be read" else number)


def broken() -> None:
    """An initializer that fails."""
    raise KeyError("no such setting")


Mapped = Callable[[list[Any]], list[Any]]


class Pool:
    """One library's pool: `map` returns a value or an exception for each input, as far as the
    library tells; otherwise it raises.
    """

    def __init__(self, fault: str) -> None:
        self.limit = LIMIT if fault in LIMITED else None
        self.memory = "100 MB" if fault == "memory" else None
        self.retries = 1 if fault == "die once" else 0
        self.initializer = broken if fault == "initializer" else None

    def map(self, inputs: list[Any]) -> list[Any]:
        raise NotImplementedError

    def close(self) -> None:
        pass


def _each(futures: list[Any], limit: float | None) -> list[Any]:
    got: list[Any] = []
    for future in futures:
        try:
            got.append(future.result(limit))
        except Exception as error:
            got.append(error)
    return got


class Poolwise(Pool):
    def __init__(self, fault: str) -> None:
        import poolwise

        super().__init__(fault)
        self.pool = poolwise.Executor(
            2,
            mechanism="process",
            task_timeout=self.limit,
            memory_limit=self.memory,
            retries=self.retries,
            initializer=self.initializer,
        )

    def map(self, inputs: list[Any]) -> list[Any]:
        return _each([self.pool.submit(call, each) for each in inputs], None)

    def close(self) -> None:
        self.pool.shutdown()


class Standard(Pool):
    def __init__(self, fault: str) -> None:
        from concurrent.futures import ProcessPoolExecutor

        super().__init__(fault)
        self.pool = ProcessPoolExecutor(2, initializer=self.initializer)

    def map(self, inputs: list[Any]) -> list[Any]:
        return _each([self.pool.submit(call, each) for each in inputs], self.limit)

    def close(self) -> None:
        self.pool.shutdown()


class Multiprocessing(Pool):
    def __init__(self, fault: str) -> None:
        import multiprocessing

        super().__init__(fault)
        self.pool = multiprocessing.Pool(2, self.initializer)

    def map(self, inputs: list[Any]) -> list[Any]:
        got: list[Any] = []
        for result in [self.pool.apply_async(call, (each,)) for each in inputs]:
            try:
                got.append(result.get(self.limit))
            except Exception as error:
                got.append(error)
        return got

    def close(self) -> None:
        self.pool.close()
        self.pool.join()


class Joblib(Pool):
    def map(self, inputs: list[Any]) -> list[Any]:
        from joblib import Parallel, delayed

        options: dict[str, Any] = {"timeout": self.limit} if self.limit else {}
        if self.initializer is not None:
            options["initializer"] = self.initializer
        return list(Parallel(2, **options)(delayed(call)(each) for each in inputs))


class Mpire(Pool):
    def __init__(self, fault: str) -> None:
        from mpire import WorkerPool

        super().__init__(fault)
        self.pool = WorkerPool(2)

    def map(self, inputs: list[Any]) -> list[Any]:
        init = None if self.initializer is None else self.initializer
        results = [
            self.pool.apply_async(call, (each,), worker_init=init, task_timeout=self.limit)
            for each in inputs
        ]
        got: list[Any] = []
        for result in results:
            try:
                got.append(result.get())
            except Exception as error:
                got.append(error)
        return got

    def close(self) -> None:
        self.pool.stop_and_join()
        self.pool.terminate()


class Pebble(Pool):
    def __init__(self, fault: str) -> None:
        from pebble import ProcessPool

        super().__init__(fault)
        self.pool = ProcessPool(2, initializer=self.initializer)

    def map(self, inputs: list[Any]) -> list[Any]:
        futures = [self.pool.schedule(call, args=(each,), timeout=self.limit) for each in inputs]
        return _each(futures, None)

    def close(self) -> None:
        self.pool.close()
        self.pool.join()


LIBRARIES: dict[str, type[Pool]] = {
    "poolwise": Poolwise,
    "stdlib": Standard,
    "Pool": Multiprocessing,
    "joblib": Joblib,
    "mpire": Mpire,
    "pebble": Pebble,
}


def main(library: str, fault: str, folder: str) -> None:
    """Run it, and print what came."""
    caller = os.getpid()

    def inputs(count: int, faulty: bool) -> list[Any]:
        numbers = [each for each in range(count) if faulty or each != FAULTY]
        return [
            (
                fault,
                each,
                folder,
                caller,
                Unreadable(caller, here=False)
                if (fault, each) == ("argument cannot be read", FAULTY)
                else None,
            )
            for each in numbers
        ]

    pool = LIBRARIES[library](fault)
    said: dict[str, Any] = {"results": 0, "errors": []}
    try:
        for each in pool.map(inputs(INPUTS, True)):
            if isinstance(each, BaseException):
                said["errors"].append(type(each).__name__)
            else:
                said["results"] += 1
    except Exception as error:
        said["raised"] = type(error).__name__
    print(json.dumps(said), flush=True)
    try:
        again = pool.map(inputs(10, False))
        works = [each for each in again if not isinstance(each, BaseException)]
        print(json.dumps({"works": len(works) == 9}), flush=True)
    except Exception:
        print(json.dumps({"works": False}), flush=True)
    pool.close()
    print(json.dumps({"closed": True}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
