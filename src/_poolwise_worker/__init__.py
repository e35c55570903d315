"""What runs inside a worker process; imports nothing of poolwise and little of anything else.

`server` is the fork server: one single-threaded process that forks workers. `worker` is what a
worker does: take a batch, run it, send outcomes, retire. `wire` is what both ends of a socket
agree on, `transfer` how objects become bytes. `arena` is memory that the caller and a worker share,
`buffers` how objects with large buffers become a message and travel through it.
"""
