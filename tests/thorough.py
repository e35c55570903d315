"""Plans and ways to start that the whole suite takes minutes for, and rarely tells anything new.

``POOLWISE_TESTS=all`` runs them too.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def thorough(*more: T) -> list[T]:
    """Return what is to be tested besides, if everything is."""
    return list(more) if os.environ.get("POOLWISE_TESTS") == "all" else []
