"""Choosing: which candidates there are, which is best, how large batches are. Opens nothing."""

from poolwise.planner.batching import batch_size, in_flight_batches
from poolwise.planner.candidates import Limits, candidates, evened
from poolwise.planner.choose import choose, kind, ranked

__all__ = [
    "Limits",
    "batch_size",
    "candidates",
    "choose",
    "evened",
    "in_flight_batches",
    "kind",
    "ranked",
]
