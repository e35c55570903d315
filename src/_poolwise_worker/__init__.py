"""What runs inside a worker process; imports nothing of poolwise and little of anything else.

`server` is the parent of workers: one single-threaded process that forks them. `worker` is one of
these: its `intake` reads batches, a `runner` for each thread runs them, the `outbox` sends what
became of their calls. `wire` is what both ends of a socket agree on, `transfer` and `by_value` how
objects become bytes, with what `dynamic` knows of definitions and `script` of the main script;
`parts`, `buffers`, `arena` and `exchange` how large ones pass the socket by, `descriptors` how
those travel that live in some; in `snapshots` lies what all workers read. `state` and
`surroundings` make a worker look like the caller, `parting` makes a fork of the caller stop being
one, `forks` has what any fork lets go of. `channels` is what users talk through, `single` a process
for one call.
"""

from os import urandom

#: Tells whether another process is a fork of this program, or of the one that this is a fork of.
PROGRAM = urandom(8)
