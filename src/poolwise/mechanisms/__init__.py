"""Ways to run a batch: one file each, behind one small protocol.

`protocol` says what each must do, ``README.md`` the laws that the contract suite holds them to,
`table` lists them.
"""

from poolwise.mechanisms.protocol import ANY_SIZE, Mechanism, Pool, Readiness, Sink, WorkerOptions
from poolwise.mechanisms.table import mechanism

__all__ = ["ANY_SIZE", "Mechanism", "Pool", "Readiness", "Sink", "WorkerOptions", "mechanism"]
