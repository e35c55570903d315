"""What was learnt of a function, kept for its next run: in this process, and for later ones."""

from poolwise.wisdom.entry import Entry
from poolwise.wisdom.inputs import inputs_like
from poolwise.wisdom.memory import drop, flush, keep, recall, spent
from poolwise.wisdom.subject import Subject, subject_of

__all__ = [
    "Entry",
    "Subject",
    "drop",
    "flush",
    "inputs_like",
    "keep",
    "recall",
    "spent",
    "subject_of",
]
