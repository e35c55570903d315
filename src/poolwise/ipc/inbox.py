"""The one place where an owner waits: for messages from threads, and for descriptors.

Everything that poolwise does for one workload is done by one thread, its *owner*, inside
`Inbox.wait`. Others never touch its state; they `post` what is to be done. So the state of a run
needs no lock, and there is exactly one wait to reason about.
"""

from __future__ import annotations

import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from math import ceil
from typing import TypeAlias

from _poolwise_worker import forks
from _poolwise_worker.spinning import SOON, Spinner
from poolwise.ipc.slices import slices
from poolwise.units import Seconds

Action: TypeAlias = Callable[[], None]

#: Held while a bell is rung and while one is closed: a descriptor that is closed may be open again
#: a moment later, as something else. Reentrant, because a signal handler may post while it
#: interrupts a post. One for all inboxes, so that it is easily renewed in a process that the user
#: forks: whoever held it is not there to let it go. Nor is a thread that was stopped because the
#: interpreter ends: then it is not taken any more.
_ringing = threading.RLock()


def _after_fork() -> None:
    global _ringing
    _ringing = threading.RLock()


forks.in_child(_after_fork)


class Inbox:
    """Messages and descriptors of one owner.

    Any thread may call `post`; everything else is the owner's. Who wakes a waiting owner: a
    poster, a descriptor, or the time-out. A poster that dies before it posts wakes nobody, so
    mechanisms post from the outermost frame of their threads, and processes are watched through
    descriptors, which the kernel makes ready when they die.
    """

    def __init__(self) -> None:
        # SimpleQueue.put is atomic, reentrant, and safe in signal handlers and destructors.
        self._posted: queue.SimpleQueue[Action] = queue.SimpleQueue()
        # Not epoll: an epoll instance is shared with processes that the user forks, and what they
        # unwatch would be unwatched here. Owners watch few descriptors. Not `selectors`, whose
        # layers are in the way of each wake-up.
        self._poll: select.poll | None = None
        self._watched: dict[int, Action] = {}
        self._bell: tuple[int, int] | None = None
        self._spinner = Spinner()
        # Written by the owner, read by posters. The owner sets it *before* it looks into the
        # queue a last time, a poster reads it *after* it has put: one of them sees the other.
        self._in_poll = False

    def post(self, action: Action) -> None:
        """Have `action` called by the owner, in its next `wait`. From any thread."""
        self._posted.put(action)
        if self._in_poll and not sys.is_finalizing():
            with _ringing:
                if self._bell is not None:
                    try:  # noqa: SIM105 - as a context it would cost three calls for each ring
                        os.write(self._bell[1], b"\0")
                    except BlockingIOError:
                        pass  # the pipe is full of rings already

    def watch(self, descriptor: int, events: int, action: Action) -> None:
        """Call `action` in `wait` whenever `descriptor` is ready; replaces an earlier watch.

        `events` are those of `select.poll`: ``POLLIN``, ``POLLOUT``. That the other end is gone
        makes a descriptor ready whichever are asked for.
        """
        if self._poll is None:
            self._bell = os.pipe()
            for end in self._bell:
                os.set_blocking(end, False)
            self._poll = select.poll()
            self._poll.register(self._bell[0], select.POLLIN)
            self._watched[self._bell[0]] = self._silence
        self._poll.register(descriptor, events)
        self._watched[descriptor] = action

    def unwatch(self, descriptor: int) -> None:
        """Stop watching; harmless if it was not watched. Call before closing the descriptor."""
        if self._poll is not None and self._watched.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def wait(self, timeout: Seconds | None = None, *, expecting: int | None = None) -> bool:
        """Act on what has come; if nothing has, wait for something, at most `timeout` seconds.

        Returns whether anything was acted on. ``timeout=0`` never waits, ``None`` waits for
        ever. Interrupted by signal handlers that raise, such as Ctrl-C; see `slices`. Who is
        `expecting` something of a process looks for a while before it sleeps, if what it last
        waited for came at once.
        """
        acted = not self._posted.empty() and self._act_on_posted()
        if self._poll is None:
            if not acted and (timeout is None or timeout > 0):
                for left in slices(timeout):
                    try:
                        action = self._posted.get(timeout=left)
                    except queue.Empty:
                        continue
                    action()
                    self._act_on_posted()
                    return True
            return acted
        self._in_poll = True
        try:
            idle = not acted and self._posted.empty()
            if idle and expecting is not None and (timeout is None or timeout > SOON):
                ready = self._look_then_sleep(timeout, expecting)
            else:
                ready = self._sleep(timeout if idle else 0)
        finally:
            self._in_poll = False
        if len(ready) == 1:
            self._watched[ready[0][0]]()
        else:
            self._act_on(ready)
        if not self._posted.empty():
            acted = self._act_on_posted() or acted
        return acted or bool(ready)

    def _look_then_sleep(self, timeout: Seconds | None, process: int) -> list[tuple[int, int]]:
        assert self._poll is not None
        began = time.perf_counter()
        ready = self._spinner.look(self._poll) or self._sleep(timeout)
        self._spinner.note(time.perf_counter() - began, process)
        return ready

    def _sleep(self, timeout: Seconds | None) -> list[tuple[int, int]]:
        assert self._poll is not None
        ready: list[tuple[int, int]] = []
        for left in slices(timeout):
            ready = self._poll.poll(None if left is None else max(0, _milliseconds(left)))
            if ready:
                break
        return ready

    def sleep(self, seconds: Seconds) -> None:
        """Let some time pass, whatever comes. Interrupted by signal handlers that raise."""
        time.sleep(seconds)

    def close(self) -> None:
        """Let go of the descriptors. Posting stays harmless and is ignored."""
        self._poll = None
        self._watched.clear()
        if sys.is_finalizing():
            return
        with _ringing:
            bell, self._bell = self._bell, None
            if bell is not None:
                for end in bell:
                    os.close(end)

    def _silence(self) -> None:
        assert self._bell is not None
        try:
            while len(os.read(self._bell[0], 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def _act_on(self, ready: list[tuple[int, int]]) -> None:
        watched = [(descriptor, self._watched[descriptor]) for descriptor, _ in ready]
        for descriptor, action in watched:
            # An action may have unwatched, or even closed and reused, a later descriptor.
            if self._watched.get(descriptor) is action:
                action()

    def _act_on_posted(self) -> bool:
        acted = False
        # At most what is there now: posters must not keep the owner in here for ever.
        for _ in range(self._posted.qsize()):
            try:
                action = self._posted.get_nowait()
            except queue.Empty:
                break
            action()
            acted = True
        return acted


def _milliseconds(timeout: Seconds) -> int:
    """Round up, as descriptors are polled: what is waited for is due when that returns."""
    return ceil(timeout * 1e3)
