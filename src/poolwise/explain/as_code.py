"""A plan as a program: what one would write by hand, with the standard library alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from poolwise.explain.importing import Reference
from poolwise.explain.reference import reference, stub
from poolwise.plan import Plan
from poolwise.planner import batch_size
from poolwise.units import Seconds

#: What a worker process with threads is handed at once, in calls per thread. It waits for the
#: slowest call of each hand-over: with 16 per thread for about a sixteenth of the time.
_ROUNDS = 16

_INLINE = """
import sys

def run(*inputs):
    return [CALL(*each) for each in zip(*inputs)]
"""

_THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor

def run(*inputs):
    with ThreadPoolExecutor(max_workers={workers}) as pool:
        return list(pool.map(CALL, *inputs))
"""

_PROCESSES = """
import sys
from concurrent.futures import ProcessPoolExecutor

def run(*inputs):
    with ProcessPoolExecutor(max_workers={workers}) as pool:
        return list(pool.map(CALL, *inputs, chunksize={batch}))
"""

_PROCESSES_OF_THREADS = """
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

def start_threads():
    global threads
    threads = ThreadPoolExecutor(max_workers={threads_per_worker})


def work(calls):
    return list(threads.map(CALL, *zip(*calls)))


def run(*inputs):
    calls = list(zip(*inputs))
    parts = [calls[i : i + {slice}] for i in range(0, len(calls), {slice})]
    with ProcessPoolExecutor(max_workers={workers}, initializer=start_threads) as pool:
        return [result for part in pool.map(work, parts) for result in part]
"""

_MAIN = """
if __name__ == "__main__":
    inputs = sys.argv[1:]  # your inputs; run() takes one iterable for each argument
    for result in run(inputs):
        print(result)
"""

#: Every name that the programs above use and that a function of the user's could have, too.
_NAMES = (
    *("run", "start_threads", "threads", "work"),
    *("inputs", "pool", "calls", "parts", "part", "result", "each", "i"),
    *("sys", "ThreadPoolExecutor", "ProcessPoolExecutor"),
)


def as_code(
    plan: Plan,
    function: Callable[..., object],
    *,
    service: Seconds | None = None,
    total: int | None = None,
    missing: Iterable[str] = (),
) -> str:
    """Return a program that runs `function` over inputs under `plan`.

    It has a function ``run(*iterables)``, which returns the results in order, and applies it to
    its command line. `service`, in seconds a call, and `total`, in calls, set the size of
    batches where the plan leaves it open. `missing` are options that the program does not have; it
    says so, one by one.

    A function that can neither be imported nor written out is a stub there, and says so.
    """
    found = reference(function)
    notes = [*_about_parts(plan), *(f"# Not in here: {each}" for each in missing)]
    program = _program(plan, found, service, total, notes)
    try:
        compile(program, "<by hand>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        found = stub(function, "its source cannot stand on its own")
        program = _program(plan, found, service, total, notes)
    return program


def _about_parts(plan: Plan) -> list[str]:
    """Say why parts are larger than the batches of the plan, where they have to be.

    A worker of poolwise has several batches at once. Here a process has one part.
    """
    threads = plan.threads_per_worker
    if plan.batch_size is None or plan.batch_size >= threads:
        return []
    return [
        f"# In parts of {threads}: a process has one at a time, and {threads} threads to serve."
    ]


def _program(
    plan: Plan, found: Reference, service: Seconds | None, total: int | None, notes: list[str]
) -> str:
    template, lines = _template(plan), found.lines
    imports, _, rest = f"{template}\n{_MAIN}".strip("\n").partition("\n\n")
    for name in _NAMES:
        if name in found.names and name not in found.usual:
            other = _unused(name, found.names)
            imports = re.sub(rf"\b{name}(?=,|$)", f"{name} as {other}", imports, flags=re.M)
            rest = re.sub(rf"\b{name}\b", other, rest)
            if name == "sys":
                lines = tuple(re.sub(r"^sys(?=\.path\.insert\()", other, line) for line in lines)
    lines = tuple(line for line in lines if line not in imports.split("\n"))
    rest = rest.format(
        workers=plan.workers,
        threads_per_worker=plan.threads_per_worker,
        batch=_batch(plan, service, total),
        slice=_slice(plan, service, total),
    ).replace("CALL", found.call)
    title = f"# {plan}, by hand: the standard library is enough."
    return "\n".join(
        [title, *notes, *found.future, imports, _set_apart(lines), rest.lstrip("\n"), ""]
    )


def _unused(name: str, names: frozenset[str]) -> str:
    """Return `name` with as many underscores behind it as make it none of `names`."""
    while name in names:
        name += "_"
    return name


def _set_apart(lines: tuple[str, ...]) -> str:
    """Return the lines with the blank lines that belong around them."""
    text = "\n".join(lines).strip("\n")
    if not text:
        return "\n"
    defines = text.startswith(("def ", "class ", "async ", "@", "#"))
    return ("\n\n" if defines else "\n") + text + "\n\n"


def _template(plan: Plan) -> str:
    if plan.mechanism == "inline":
        return _INLINE
    if plan.mechanism == "thread":
        return _THREADS
    return _PROCESSES if plan.threads_per_worker == 1 else _PROCESSES_OF_THREADS


def _batch(plan: Plan, service: Seconds | None, total: int | None) -> int:
    if plan.batch_size is not None:
        return plan.batch_size
    known = service is not None and math.isfinite(service)
    return batch_size(plan, service if known else None, total)


def _slice(plan: Plan, service: Seconds | None, total: int | None) -> int:
    """Return how many calls a process with threads is handed at once."""
    threads = plan.threads_per_worker
    if plan.batch_size is not None:
        return max(threads, plan.batch_size)
    size = max(_ROUNDS * threads, _batch(plan, service, total))
    if total is not None:
        size = min(size, math.ceil(total / (2 * plan.workers)))  # each process twice at least
    return max(threads, size)
