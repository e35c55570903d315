"""Ways to run a batch: one file each, behind one small protocol.

`protocol` says what each must do, ``README.md`` the laws that the contract suite holds them to,
`table` lists them.
"""

import os

if hasattr(os, "fork"):
    # All that runs in a forked worker, before anything else and at one go: so it lies side by side,
    # and a worker touches, and so copies, fewer pages (2.1 MB of its own instead of 2.2).
    import _poolwise_worker.server  # noqa: F401
from poolwise.mechanisms.protocol import ANY_SIZE, Mechanism, Pool, Readiness, Sink, WorkerOptions
from poolwise.mechanisms.table import mechanism

__all__ = ["ANY_SIZE", "Mechanism", "Pool", "Readiness", "Sink", "WorkerOptions", "mechanism"]
