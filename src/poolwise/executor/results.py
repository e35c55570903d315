"""What `Executor.map` returns: the results of calls that have been submitted, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from functools import partial
from itertools import islice, starmap
from typing import Any, TypeVar

from poolwise.timing.clock import SystemClock
from poolwise.units import Seconds

T = TypeVar("T")


class Results(Iterator[T]):
    """Results in input order, each for as long as nobody but its reader holds it.

    An exception that a call raised comes at its place, and iteration can go on after it. So does
    an exception of `arguments`, or of `submit` after shutdown, unless making this raises it
    already. `close`, and letting go of results that have begun to be read, cancels what has not
    started; results that nobody looks at are just computed.
    """

    def __init__(
        self,
        submit: Callable[..., Future[T]],
        fn: Callable[..., T],
        arguments: Iterable[Iterable[Any]],
        timeout: Seconds | None,
        buffersize: int | None,
    ) -> None:
        self._until = None if timeout is None else SystemClock().now() + timeout
        self._begun = False
        self._rest: Iterator[Future[T]] = starmap(partial(submit, fn), arguments)
        self._futures: deque[Future[T]] = deque()
        try:
            self._futures.extend(islice(self._rest, buffersize))
        except BaseException:
            self.close()
            raise
        if buffersize is None:
            self._rest = iter(())  # it holds the executor, which may end when nobody else does

    def __next__(self) -> T:
        self._begun = True
        try:
            future = self._futures.popleft()
        except IndexError:
            raise StopIteration from None
        try:
            result = self._wait_for(future)
        except BaseException as error:
            if not _is_its_own(future, error):  # the time is up, or the user wants an end
                future.cancel()
                self.close()
                raise
            self._submit_next()
            if isinstance(error, StopIteration):
                # Raised as it is, it would end the iteration and hide the results after it.
                raise RuntimeError("a call raised StopIteration") from error
            raise
        finally:
            del future  # whose exception has a traceback, which has this frame
        self._submit_next()
        return result

    def _wait_for(self, future: Future[T]) -> T:
        try:
            left = None if self._until is None else self._until - SystemClock().now()
            return future.result(left)
        except TimeoutError:
            if not future.done():
                raise
            return future.result()  # it came just now, or raised a time-out of its own
        finally:
            del future

    def _submit_next(self) -> None:
        try:
            self._futures.extend(islice(self._rest, 1))
        except Exception as error:
            self._rest = iter(())
            failed: Future[T] = Future()
            failed.set_exception(error)
            self._futures.append(failed)

    def close(self) -> None:
        """Cancel what has not started; there will be no more results."""
        self._rest = iter(())
        while self._futures:
            self._futures.popleft().cancel()

    def __del__(self) -> None:
        if getattr(self, "_begun", False):
            self.close()


def _is_its_own(future: Future[Any], error: BaseException) -> bool:
    """Whether `error` is what became of the call."""
    if future.cancelled():
        return isinstance(error, CancelledError)
    return future.done() and future.exception() is error
