"""Workers that there should be and are not: when to try again, and when to give up."""

from __future__ import annotations

from time import monotonic

from poolwise.units import Seconds

#: So many workers in a row may die before they are ready; then the pool has failed. One may be
#: bad luck (memory was short for a moment); more is a fault that a new worker will meet too.
_STILLBORN = 3

#: A worker that could not be started is tried again after so many seconds; the time doubles with
#: each failure.
_PATIENCE_LEAST, _PATIENCE_MOST = 1.0, 60.0


class Missing:
    """What one pool knows of workers that could not be started. Belongs to its owner.

    Those missing are tried again one by one, when calls are sent, and ever more rarely. `alone` is
    whether none was left, and one more is tried by itself.
    """

    def __init__(self) -> None:
        self.wanted = 0  # workers that there should be
        self.alone = False
        self._stillborn: set[object] = set()  # workers and servers, since a worker was ready last
        self._patience: Seconds = 0.0
        self._again_at: Seconds = 0.0  # never 0 since one has been missing

    def one_is_ready(self) -> None:
        """Take heart: what is in a worker's way is not in every worker's way."""
        self._stillborn.clear()
        self.alone, self._patience = False, 0.0

    def died_before_ready(self, who: object) -> None:
        """Note the death of a worker, or of a server that had none ready; of each once."""
        self._stillborn.add(who)

    @property
    def hopeless(self) -> bool:
        """Whether too many have died before they were ready."""
        return len(self._stillborn) >= _STILLBORN

    def put_off(self) -> None:
        """Note that one could not be started, and is not to be tried at once."""
        self._patience = min(2.0 * self._patience, _PATIENCE_MOST) or _PATIENCE_LEAST
        self._again_at = monotonic() + self._patience

    def any_of(self, workers: int) -> bool:
        """Whether some are missing, with so many there."""
        return self._again_at > 0.0 and self.wanted > workers

    def due(self, workers: int) -> bool:
        """Whether to try one now, with so many there."""
        return self.any_of(workers) and monotonic() >= self._again_at
