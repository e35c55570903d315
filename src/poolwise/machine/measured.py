"""What is known of a machine: its facts, and each of the six dimensions that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from poolwise.machine.facts import Facts

if TYPE_CHECKING:  # what is measured seldom is not loaded with every map
    from poolwise.machine.dimensions import (
        Communication,
        Concurrency,
        Implementation,
        Isolation,
        Resources,
        Suitability,
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """Facts, and a record for each dimension; ``None`` for one that was not measured.

    This is all that the claims are judged by: see `poolwise.machine.claims.judge`.
    """

    facts: Facts
    isolation: Isolation | None = None
    resources: Resources | None = None
    communication: Communication | None = None
    concurrency: Concurrency | None = None
    suitability: Suitability | None = None
    implementation: Implementation | None = None
