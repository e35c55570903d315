"""The pilot: the first calls, run one at a time and timed. Their results are kept."""

from __future__ import annotations

from collections.abc import Callable

from poolwise.probe.profile import Sample
from poolwise.timing.clock import Clock
from poolwise.units import Seconds

#: How long the pilot may take. Shorter knows less (a wrong plan can cost far more than this);
#: longer delays parallelism. A single call may outlast it.
BUDGET: Seconds = 5e-3

#: So many calls that took so long tell as much: their mean is right within a third, however they
#: differ, and what else matters of short calls is seen later.
_PLENTY, _WHILE = 16, 2e-3

#: A first call of up to so long may have imported and connected for all that follow: another one
#: tells. A longer one is not worth the wait, in which nothing runs at once.
WARM_UP: Seconds = 20e-3

#: It did if it took so many times as long.
WARMER = 5.0

#: Below this, a batch says more about reading the clock than about the calls.
_SHORT: Seconds = 1e-4


class Pilot:
    """Times calls that `run` runs: it is given a number and returns how many there were.

    `prepare` is given the same number before the clocks are read: drawing inputs from a slow
    generator is not the calls' time.

    For calls of 50 ns even reading a clock is expensive, so the number of calls between two
    readings is doubled. The very first call is left out of the sample if others follow it and
    it was much longer: it imports, connects and fills caches.
    """

    def __init__(
        self,
        run: Callable[[int], int],
        clock: Clock,
        prepare: Callable[[int], object] = lambda calls: None,
    ) -> None:
        self._run = run
        self._clock = clock
        self._prepare = prepare

    def sample(self, enough: Callable[[Sample], bool] = lambda sample: False) -> Sample:
        """Run calls until the budget is spent, none is left, or the latest ones are `enough`."""
        samples: list[Sample] = []
        size, spent = 1, 0.0
        queued, began = self._clock.queued(), self._clock.now()
        while spent < BUDGET or (len(samples) == 1 and spent < WARM_UP):
            sample = self._timed(size)
            if not sample.calls:
                break
            samples.append(sample)
            spent += sample.wall
            if len(samples) == 2 and _was_warming_up(samples):
                del samples[0]
                spent = sample.wall
            if enough(sample):
                samples = [sample]
                break
            if spent >= _WHILE and sum(each.calls for each in samples) >= _PLENTY:
                break
            if sample.wall < _SHORT:
                size *= 2
        # On a busy machine a thread waits for a CPU; that is not the task's waiting.
        elapsed = max(self._clock.now() - began, 1e-9)
        running = max(0.1, 1.0 - (self._clock.queued() - queued) / elapsed)
        # Short batches carry the clock's cost; the long ones at the end do not.
        samples = [each for each in samples if each.calls * 8 >= samples[-1].calls]
        return Sample(
            calls=sum(each.calls for each in samples),
            concurrency=1,
            wall=sum(each.wall for each in samples) * running,
            service=sum(each.service for each in samples) * running,
            cpu=sum(each.cpu for each in samples),
            helpers=sum(each.helpers for each in samples),
        )

    def _timed(self, size: int) -> Sample:
        self._prepare(size)
        clock = self._clock
        children, process, thread = clock.children_cpu(), clock.process_cpu(), clock.thread_cpu()
        before = clock.now()
        calls = self._run(size)
        wall = clock.now() - before
        thread = clock.thread_cpu() - thread
        process = clock.process_cpu() - process
        children = clock.children_cpu() - children
        return Sample(calls, 1, wall, wall, thread, max(0.0, process - thread) + children)


def _was_warming_up(samples: list[Sample]) -> bool:
    return _each(samples[0]) > WARMER * _each(samples[1])


def _each(sample: Sample) -> Seconds:
    return sample.wall / sample.calls
