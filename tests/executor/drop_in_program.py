"""A program that uses each documented feature of `concurrent.futures`.

`test_drop_in.py` runs it with other executors: the import of `Pool` is replaced, and what is said
of it below; nothing else.
"""

import asyncio
import concurrent.futures.process
import concurrent.futures.thread
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor as Pool

KIND = "thread"  # what calls run in; else "process"
NEWEST = False  # is `map` that of the newest Python, whichever this is?

DEADLINE = 30.0
LEVEL = None


def set_level(level, *more):
    global LEVEL
    LEVEL = level, *more


def read_level(_):
    return LEVEL


def fail_to_initialize():
    raise OSError("no such database")


def square(number):
    return number * number


def divide(number, divisor):
    return number // divisor


def slow(number, seconds=0.05):
    time.sleep(seconds)
    return number


def keywords(*args, **options):
    return args, sorted(options.items())


def time_out(number):
    raise TimeoutError(number)


def pid(_=None):
    return os.getpid()


def raised(call, *kinds):
    """The exception that a call raises."""
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError(f"{kinds} not raised")


def submit():
    with Pool(max_workers=3) as pool:
        assert isinstance(pool, concurrent.futures.Executor)
        future = pool.submit(square, 7)
        assert type(future).__mro__.count(concurrent.futures.Future) == 1
        assert future.result() == future.result(timeout=DEADLINE) == 49
        assert future.exception() is None
        assert future.done()
        assert not future.running()
        assert not future.cancelled()
        assert not future.cancel()
        assert pool.submit(keywords, 1, fn=2, self=3, timeout=4).result() == (
            (1,),
            [("fn", 2), ("self", 3), ("timeout", 4)],
        )
        raised(lambda: pool.submit(), TypeError)
        raised(lambda: pool.submit(fn=square), TypeError)
        failed = pool.submit(divide, 1, 0)
        assert isinstance(failed.exception(DEADLINE), ZeroDivisionError)
        assert str(raised(failed.result, ZeroDivisionError)).endswith("by zero")
        assert (pool.submit(pid).result() == os.getpid()) == (KIND == "thread")
    assert "shutdown" in str(raised(lambda: pool.submit(square, 1), RuntimeError))


def mapping():
    with Pool(3) as pool:
        assert list(pool.map(square, range(50))) == [n * n for n in range(50)]
        assert list(pool.map(divide, [8, 9, 10], [2, 3])) == [4, 3]
        assert list(pool.map(square, range(50), chunksize=7)) == [n * n for n in range(50)]
        assert list(pool.map(square, [], timeout=1)) == []
        late = pool.map(slow, [0, 1], [0, 1.0], timeout=0.3)
        assert next(late) == 0
        raised(lambda: next(late), TimeoutError)
        failing = pool.map(divide, [4, 1, 9], [2, 0, 3])
        assert next(failing) == 2
        raised(lambda: next(failing), ZeroDivisionError)
        if NEWEST:
            assert next(failing) == 3
            own = pool.map(time_out, [1, 2], timeout=DEADLINE)
            assert raised(lambda: next(own), TimeoutError).args == (1,)
            assert raised(lambda: next(own), TimeoutError).args == (2,)
        if NEWEST or sys.version_info >= (3, 14):
            drawn = []

            def inputs():
                for number in range(100):
                    drawn.append(number)
                    yield number

            results = pool.map(square, inputs(), buffersize=5)
            assert len(drawn) == 5
            assert [next(results) for _ in range(3)] == [0, 1, 4]
            assert len(drawn) == 8
            results.close()
            assert list(results) == []
            for wrong, kind in ((0, ValueError), ("5", TypeError)):
                raised(lambda wrong=wrong: pool.map(square, [1], buffersize=wrong), kind)


def waiting():
    with Pool(max_workers=2) as pool:
        futures = [pool.submit(slow, number) for number in range(4)]
        done, rest = concurrent.futures.wait(futures, return_when="FIRST_COMPLETED")
        assert done
        assert done | rest == {*futures}
        assert concurrent.futures.wait(futures).not_done == set()
        assert [each.result() for each in futures] == [0, 1, 2, 3]

        futures = [pool.submit(divide, 1, 0), pool.submit(slow, 1, 0.5)]
        done, rest = concurrent.futures.wait(
            futures, return_when=concurrent.futures.FIRST_EXCEPTION
        )
        assert futures[0] in done
        done, rest = concurrent.futures.wait(futures, timeout=0)
        assert len(done) + len(rest) == 2

        futures = [pool.submit(slow, number, 0.05 * (3 - number)) for number in range(3)]
        found = [each.result() for each in concurrent.futures.as_completed(futures, DEADLINE)]
        assert sorted(found) == [0, 1, 2]
        late = [pool.submit(slow, 1, 0.5)]
        raised(lambda: list(concurrent.futures.as_completed(late, 0.01)), TimeoutError)
        raised(lambda: late[0].result(0.01), concurrent.futures.TimeoutError)
        raised(lambda: late[0].exception(0.01), TimeoutError)

        with concurrent.futures.ThreadPoolExecutor(1) as other:  # beside a standard one
            mixed = [pool.submit(square, 3), other.submit(square, 4)]
            assert {each.result() for each in concurrent.futures.as_completed(mixed)} == {9, 16}


def cancelling():
    with Pool(max_workers=1) as pool:
        running = pool.submit(slow, 1, 0.5)
        queued = [pool.submit(slow, number, 0.0) for number in range(20)]
        assert queued[-1].cancel()
        assert queued[-1].cancelled()
        assert queued[-1].done()
        raised(queued[-1].result, concurrent.futures.CancelledError)
        raised(queued[-1].exception, concurrent.futures.CancelledError)
        assert running.result() == 1
        assert [each.result() for each in queued[:-1]] == [*range(19)]

    pool = Pool(max_workers=1)
    first = pool.submit(slow, 1, 0.2)
    while not first.running() and not first.done():
        time.sleep(0.001)
    others = [pool.submit(slow, number) for number in range(20)]
    pool.shutdown(wait=True, cancel_futures=True)
    assert first.result() == 1
    assert sum(each.cancelled() for each in others) >= 15
    assert all(each.done() for each in others)

    pool = Pool(max_workers=1)
    last = pool.submit(slow, 5, 0.1)
    pool.shutdown(wait=False)
    assert last.result() == 5


def callbacks():
    called = []
    with Pool(max_workers=2) as pool:
        future = pool.submit(slow, 1, 0.1)
        future.add_done_callback(called.append)
        assert future.result() == 1
        future.add_done_callback(lambda done: called.append(done.result()))
    assert called == [future, 1]


def futures_alone():
    """What executors and tests do with futures."""
    future = concurrent.futures.Future()
    assert future.set_running_or_notify_cancel()
    assert future.running()
    future.set_result(3)
    raised(lambda: future.set_result(4), concurrent.futures.InvalidStateError)
    failed = concurrent.futures.Future()
    failed.set_exception(KeyError(1))
    assert type(failed.exception()) is KeyError


def initializing():
    with Pool(max_workers=2, initializer=set_level, initargs=("high", 3)) as pool:
        assert {*pool.map(read_level, range(10))} == {("high", 3)}
    pool = Pool(max_workers=1, initializer=fail_to_initialize)
    error = raised(pool.submit(square, 1).result, concurrent.futures.BrokenExecutor)
    broken = {
        "thread": concurrent.futures.thread.BrokenThreadPool,
        "process": concurrent.futures.process.BrokenProcessPool,
    }[KIND]
    assert isinstance(error, broken)
    raised(lambda: pool.submit(square, 1), broken)
    pool.shutdown()
    for wrong in ({"max_workers": 0}, {"max_workers": -1}):
        assert "greater than 0" in str(raised(lambda wrong=wrong: Pool(**wrong), ValueError))
    assert "callable" in str(raised(lambda: Pool(initializer=3), TypeError))


def threads_only():
    with Pool(max_workers=2, thread_name_prefix="mine") as pool:
        name = pool.submit(lambda: threading.current_thread().name).result()
        assert name.startswith("mine_")
        with Pool(2, "yours") as second:
            assert second.submit(threading.current_thread).result().name.startswith("yours_")
    # As many at once as are documented, though each waits for all others.
    width = min(32, (os.cpu_count() or 1) + 4)
    meeting = threading.Barrier(width)
    with Pool() as pool:
        assert sorted(pool.map(lambda _: meeting.wait(DEADLINE), range(width))) == [*range(width)]


def processes_only():
    context = multiprocessing.get_context("spawn")
    with Pool(max_workers=1, mp_context=context, max_tasks_per_child=2) as pool:
        pids = [pool.submit(pid).result() for _ in range(4)]
        assert pids[0] == pids[1] != pids[2] == pids[3]
    raised(lambda: list(Pool(1).map(square, [1], chunksize=0)), ValueError)
    raised(lambda: Pool(max_tasks_per_child=0), ValueError)
    raised(lambda: Pool(max_tasks_per_child="2"), TypeError)
    if NEWEST or sys.version_info >= (3, 14):
        for end in ("terminate_workers", "kill_workers"):
            pool = Pool(max_workers=1)
            future = pool.submit(slow, 1, 20.0)
            assert pool.submit(pid) is not future
            while not future.running():
                time.sleep(0.001)
            getattr(pool, end)()
            raised(future.result, concurrent.futures.process.BrokenProcessPool)
            raised(lambda pool=pool: pool.submit(pid), RuntimeError)
    pool = Pool(max_workers=1)
    dead = pool.submit(os._exit, 3)
    raised(dead.result, concurrent.futures.process.BrokenProcessPool)
    pool.shutdown()


def beside_a_loop():
    async def main():
        loop = asyncio.get_running_loop()
        with Pool(max_workers=3) as pool:
            calls = [loop.run_in_executor(pool, square, number) for number in range(10)]
            assert await asyncio.gather(*calls) == [n * n for n in range(10)]
            wrapped = asyncio.wrap_future(pool.submit(divide, 1, 0))
            try:
                await wrapped
            except ZeroDivisionError:
                return "caught"

    assert asyncio.run(main()) == "caught"


if __name__ == "__main__":
    parts = [
        submit,
        mapping,
        waiting,
        cancelling,
        callbacks,
        futures_alone,
        initializing,
        threads_only if KIND == "thread" else processes_only,
        beside_a_loop,
    ]
    for part in parts:
        part()
        print(part.__name__, flush=True)
    Pool(max_workers=1).submit(print, "finished at exit", flush=True)
