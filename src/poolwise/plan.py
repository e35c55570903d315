"""The plan: one small space that holds every way to run a workload.

Two numbers are the whole difference between processes and threads: how many isolated address
spaces (*workers*), and how many concurrent calls in each (*threads per worker*).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from poolwise.units import plural, whole

#: The mechanisms a plan may name, in the order in which they are listed to people.
MECHANISMS = ("inline", "thread", "process")

_SPEC = re.compile(r"(?P<name>[a-z_]+)(:(?P<workers>\d+)(x(?P<threads>\d+))?)?(/(?P<batch>\d+))?")


def _meant(mechanism: str) -> str:
    from difflib import get_close_matches  # only when something is wrong

    near = get_close_matches(mechanism, MECHANISMS, 1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"a plan takes {', '.join(MECHANISMS)}; without a plan, poolwise chooses one"


def check_count(name: str, value: object, least: int = 1) -> int:
    """Return `value` as an `int` if it is a whole number of at least `least`, of whatever type.

    Raises:
        TypeError: it is not an integer; the text names the option.
        ValueError: it is below that.
    """
    number = whole(value)
    if number is None:
        raise TypeError(f"{name} takes a whole number of at least {least}, not {value!r}")
    if number < least:
        raise ValueError(f"{name} takes a whole number of at least {least}, not {number}")
    return number


@dataclass(frozen=True, slots=True)
class Plan:
    """How a workload runs: mechanism, workers, threads per worker, batch size.

    `workers` are threads of a thread plan and processes of a process plan; `threads_per_worker`
    are the calls at once inside each process. `batch_size` is the number of calls sent in one
    message; ``None`` lets poolwise adapt it while it runs.

    Raises:
        ValueError: an unknown mechanism, or a count below 1, or threads inside something other
            than a process.
        TypeError: a count that is not an integer.

    >>> plan = Plan("process", workers=4, threads_per_worker=8, batch_size=16)
    >>> str(plan)
    '4 processes × 8 threads, batches of 16'
    >>> plan.spec
    'process:4x8/16'
    >>> Plan.parse("process:4x8/16") == plan
    True
    """

    mechanism: str
    workers: int = 1
    threads_per_worker: int = 1
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.mechanism not in MECHANISMS:
            accepted = ", ".join(MECHANISMS)
            raise ValueError(
                f"unknown mechanism {self.mechanism!r}; a plan takes {accepted}; a text such as "
                "'process:4x8' is for Plan.parse; without a plan, poolwise chooses one"
            )
        for name in ("workers", "threads_per_worker", "batch_size"):
            value = getattr(self, name)
            if value is not None or name != "batch_size":
                object.__setattr__(self, name, check_count(name, value))  # frozen
        if self.mechanism == "inline" and self.workers > 1:
            raise ValueError("inline runs in the caller's thread: it takes workers=1")
        if self.mechanism != "process" and self.threads_per_worker > 1:
            raise ValueError(
                f"threads_per_worker belongs to process plans; for {self.mechanism} plans "
                "say workers instead"
            )

    @property
    def concurrency(self) -> int:
        """The number of calls that run at once: workers × threads per worker."""
        return self.workers * self.threads_per_worker

    @property
    def spec(self) -> str:
        """The plan as the text that `plan=`, ``--plan`` and ``POOLWISE_PLAN`` take."""
        text = self.mechanism
        if self.mechanism != "inline":
            text += f":{self.workers}"
        if self.threads_per_worker > 1:
            text += f"x{self.threads_per_worker}"
        if self.batch_size is not None:
            text += f"/{self.batch_size}"
        return text

    @classmethod
    def parse(cls, spec: str) -> Plan:
        """Read a plan from its `spec`.

        Raises:
            ValueError: the text is not a plan; the message shows the form.
        """
        match = _SPEC.fullmatch(spec.strip()) if isinstance(spec, str) else None
        if match is None:
            raise ValueError(
                f"{spec!r} is not a plan; write MECHANISM[:WORKERS[xTHREADS]][/BATCH], "
                'for example "thread:8" or "process:4x8/16"'
            )
        name, batch = match["name"], match["batch"]
        if name not in MECHANISMS:
            raise ValueError(f"{spec!r} is not a plan: unknown mechanism {name!r}; {_meant(name)}")
        return cls(
            name,
            int(match["workers"] or 1),
            int(match["threads"] or 1),
            None if batch is None else int(batch),
        )

    def __str__(self) -> str:
        match self.mechanism:
            case "inline":
                text = "plain loop"
            case "thread":
                text = plural(self.workers, "thread")
            case _:
                text = plural(self.workers, self.mechanism)
                if self.threads_per_worker > 1:
                    text += f" × {plural(self.threads_per_worker, 'thread')}"
        if self.batch_size is not None:
            text += f", batches of {self.batch_size}"
        return text
