"""Memory through which large buffers travel from one process to another, without a socket.

An arena is an anonymous file that both map; one process writes, the other reads. The `Writer`
places bytes in a slot and says where in a message of its own; the `Reader` makes a view of that
place, with no copy. It maps the file privately: what it writes through a view, it alone sees.

**Arena law.** A slot is written again only when the last view of it in the reader is dead, and the
reader has said so. Views that outlive the reader, the pool, or the process at the other end stay
as they are.

`slots` keeps account of what is free, `memory` is what the system has to offer, `forks` knows of
processes that user code forks.

Rejected: a named block, which someone has to unlink even if everyone is killed; a ring buffer,
which one result that is kept would block for ever; a mapping for each view, each of which takes a
descriptor in Python before 3.13.
"""

from _poolwise_worker.arena.memory import create
from _poolwise_worker.arena.reader import Reader
from _poolwise_worker.arena.writer import Writer

__all__ = ["Reader", "Writer", "create"]
