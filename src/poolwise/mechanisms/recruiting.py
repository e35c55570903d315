"""Getting workers for a pool: idle ones of earlier pools, or new ones from a server."""

from __future__ import annotations

from poolwise.mechanisms import idle_workers, servers
from poolwise.mechanisms.encoding import Encoder
from poolwise.mechanisms.missing import Missing
from poolwise.mechanisms.protocol import WorkerOptions
from poolwise.mechanisms.servers import Fork, Server
from poolwise.mechanisms.surroundings import Surroundings, looks, part, part_for_server
from poolwise.mechanisms.worker_ends import WorkerEnds
from poolwise.mechanisms.worker_link import WorkerLink
from poolwise.task import Task
from poolwise.units import Bytes, Seconds


def share_for_server(options: WorkerOptions) -> bytes:
    """Return what a server takes on for such workers."""
    return part_for_server(options.siblings, options.threads_per_worker, options.arena_limit)


class Recruiter:
    """Gets the workers of one pool, and has the encoders for what is sent to them: one for each
    server that they come from. Belongs to the pool's owner.
    """

    def __init__(self, options: WorkerOptions, missing: Missing) -> None:
        self._options = options
        self._missing = missing
        self._encoders: dict[Server, Encoder] = {}
        self._learned: Task | None = None  # all encoders have it
        #: Workers that an initializer has changed, or with few calls left, serve one pool only.
        own = options.initializer is not None or options.calls_per_worker is not None
        self.idle_timeout: Seconds = 0.0 if own or options.one_call else options.idle_timeout
        #: What their server keeps them to.
        self.limits: tuple[Seconds, Bytes] | None = None
        if options.call_timeout is not None or options.memory_limit is not None:
            self.limits = options.call_timeout or 0.0, options.memory_limit or 0
        #: What the first workers are to look like, and the fork that they come from, as all is now:
        #: they may be started beside calls, which change for a while what they share with this
        #: process, or where its output goes.
        self._surroundings: Surroundings | None = self._surroundings_now()
        self._fork = servers.standing(options.start_method, options.tasks)

    def surroundings(self) -> Surroundings:
        """Return what workers that are started now are to look like."""
        return self._surroundings or self._surroundings_now()

    def _surroundings_now(self) -> Surroundings:
        options = self._options
        share = part(options.siblings, options.threads_per_worker, options.arena_limit)
        return Surroundings(looks(), share)

    def forget_beginning(self) -> None:
        """From now on workers look like this process when they are started."""
        self._surroundings = self._fork = None

    def learn(self, task: Task) -> None:
        """Have the encoders know a task. The same again costs nothing."""
        if task is not self._learned:
            for encoder in self._encoders.values():
                encoder.learn(task)
            self._learned = task

    def encoder_of(self, worker: WorkerLink) -> Encoder:
        """Return the encoder for what is sent to `worker`."""
        return self._encoders[worker.server]

    def close(self) -> None:
        """Let go of the encoders, which may have large frames; a pool may be garbage for long."""
        self._encoders.clear()
        self._learned = None

    def worker(self) -> WorkerLink:
        """Return an idle worker, or one that is being started.

        Raises:
            OSError: the system does not give what one needs.
        """
        options = self._options
        spawned = options.start_method == "spawn"
        server = self._fork or servers.server_for(
            options.start_method, options.tasks, share_for_server(options)
        )
        encoder = self._encoder_for(server)
        if self.idle_timeout:
            idle = idle_workers.take(server, options, spawned=spawned)
            if idle is not None:
                return idle
        ends = WorkerEnds(options.threads_per_worker)
        try:
            self._ask(server, encoder, ends, spawned=spawned)
        except ConnectionError:
            # The server has died, a fault like another: workers live on, new ones come from a
            # new one.
            ends.close()
            if server.wanted:  # else it was only dismissed, by another thread
                self._missing.died_before_ready(server)
            servers.lost(server)
            self._fork = None
            if self._missing.hopeless:
                raise
            return self.worker()
        except BaseException:
            ends.close()
            raise
        ends.hand_over()
        return self._link(server, encoder, ends, spawned=spawned)

    def _ask(self, server: Server, encoder: Encoder, ends: WorkerEnds, *, spawned: bool) -> None:
        if encoder.needs_cloudpickle() and not spawned:
            # Each worker would spend 20 ms on it, more than on all the rest of its start.
            server.preload("cloudpickle", "_poolwise_worker.by_value")
        threads = self._options.threads_per_worker
        server.start_worker(ends, threads, spawn=spawned, limits=self.limits)

    def _link(
        self, server: Server, encoder: Encoder, ends: WorkerEnds, *, spawned: bool
    ) -> WorkerLink:
        options = self._options
        threads = options.threads_per_worker
        worker = WorkerLink(
            ends, server, threads, options.siblings, encoder.way, options.arena_limit
        )
        worker.spawned = spawned
        if isinstance(server, Fork):
            worker.told = server.surroundings
        return worker

    def _encoder_for(self, server: Server) -> Encoder:
        """Return the encoder for workers of `server`, to which all tasks are known."""
        encoder = self._encoders.get(server)
        if encoder is None:
            encoder = Encoder(for_forks=server.is_fork)
            if isinstance(server, Fork):
                encoder.inherit(server.tasks)
            for task in self._options.tasks:
                encoder.learn(task)
            self._encoders[server] = encoder
            self._learned = None
        return encoder
