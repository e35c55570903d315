"""Queues, pipes, shared objects and locks: the same objects between threads and processes.

They live in `_poolwise_worker` because workers have them too; `poolwise.ipc` shows them to users.
From below: `memory` is what processes share, `mutex` guards it and `identity` tells the dead;
`monitor` is state with a guard and a place to wait, on which `locks`, `semaphores`, `events`,
`conditions` and `barriers` stand. `heap` holds large buffers and `messages` makes bytes, with
`definitions` for what cannot be imported; `ring` and `line` are what `queues` passes messages
through, `pipes` and `shared` the other two ways.
"""
