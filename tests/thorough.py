"""Plans and ways to start that the whole suite takes minutes for, and rarely tells anything new.

``POOLWISE_TESTS=all`` runs them too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def thorough(*more: T) -> list[T]:
    """Return what is to be tested besides, if everything is."""
    return list(more) if os.environ.get("POOLWISE_TESTS") == "all" else []


def in_turns(cases: Mapping[str, object], ways: tuple[str, ...]) -> list[Any]:
    """Return parameters: each case in one of the ways, which take turns; in all, if everything is
    to be tested.
    """
    every = itertools.product(cases.items(), ways)
    turns = zip(cases.items(), itertools.cycle(ways), strict=False)
    chosen = every if os.environ.get("POOLWISE_TESTS") == "all" else turns
    return [pytest.param(case, way, id=f"{name}-{way}") for (name, case), way in chosen]
