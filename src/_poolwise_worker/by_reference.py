"""Pickling by value only what cannot go by reference to a fork of this process."""

from __future__ import annotations

import io
import sys
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pickle


def dumps(value: object) -> bytes:
    """Pickle lambdas, closures and the like by value, what can be found by name by reference.

    Raises whatever the object's pickling raises.
    """
    with io.BytesIO() as file:
        _pickler(file).dump(value)
        return file.getvalue()


def _pickler(file: io.BytesIO) -> pickle.Pickler:
    import cloudpickle  # on first need: it takes 20 ms

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def reducer_override(self, obj: object) -> object:
            if isinstance(obj, FunctionType | type) and _is_where_it_says(obj):
                return NotImplemented  # by reference
            return super().reducer_override(obj)

    pickler: pickle.Pickler = Pickler(file, 5)
    return pickler


def _is_where_it_says(definition: FunctionType | type) -> bool:
    found: object = sys.modules.get(definition.__module__)
    for name in definition.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is definition
