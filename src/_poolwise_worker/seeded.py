"""Calls whose random numbers depend on the place of their input, and on nothing else."""

from __future__ import annotations

import sys
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Python and NumPy make their streams in the same way: of the same words they would be the same.
_PYTHON, _NUMPY = 0, 1


class Seeded(partial):  # type: ignore[type-arg]
    """A function that takes the number of its call before its arguments.

    The global generators of `random` and, if `numpy` says so, of NumPy are seeded for each call
    and put back after it. So a call in this process changes no stream of the program's, and what
    it draws depends neither on the calls before it nor on the plan.
    """

    seed: int
    numpy: bool

    def __call__(self, number: int, /, *args: Any) -> Any:
        """Call the function with streams of its own."""
        import random

        if self.numpy:
            import numpy.random as generators

            kept = generators.get_state()
            generators.seed(_words(self.seed, number, _NUMPY))
        state = random.getstate()
        words = _words(self.seed, number, _PYTHON)
        random.seed(
            int.from_bytes(b"".join(each.to_bytes(4, "little") for each in words), "little")
        )
        try:
            return super().__call__(*args)
        finally:
            random.setstate(state)
            if self.numpy:
                generators.set_state(kept)


def seeded(function: Any, seed: int) -> Seeded:
    """Return `function` with a stream for each call.

    Whether NumPy's is seeded is said here, once: it must not depend on what a worker has imported.
    """
    made = Seeded(function)
    made.seed = seed
    made.numpy = "numpy" in sys.modules
    return made


def _words(seed: int, number: int, whose: int) -> list[int]:
    """Return words of 32 bits that differ where anything differs."""
    words = [whose, number & 0xFFFFFFFF, number >> 32]
    while seed:
        words.append(seed & 0xFFFFFFFF)
        seed >>= 32
    return [*words, 1]  # so that no word before it is a leading zero
