"""``poolwise map``: a line of JSON for each input."""

from __future__ import annotations

import os
import stat
import sys
from argparse import Namespace
from collections.abc import Iterator
from functools import partial

from poolwise.api.mapping import map as poolwise_map
from poolwise.api.runs import Run
from poolwise.cli.call import Call, Spread, begin_no_more
from poolwise.cli.errors import CommandError, ReaderGone, Stopped
from poolwise.cli.inputs import Inputs, open_inputs
from poolwise.cli.output import Output, complain
from poolwise.cli.records import Records
from poolwise.cli.signals import Signals
from poolwise.cli.target import Target, load_target
from poolwise.errors import PlanRefused, PoolwiseError
from poolwise.executor.drive import Drive
from poolwise.explain import explain_run
from poolwise.units import plural


def run(arguments: Namespace, signals: Signals, stdout: int) -> int:
    """Run the function over the inputs; return the exit code.

    Raises:
        CommandError: wrong usage, or the results cannot be written.
        Stopped: a signal came before the work began.
    """
    target = load_target(arguments.target, spread=arguments.spread)
    inputs = open_inputs(arguments, vars(target.module), signals)
    _refuse_to_overwrite(arguments.output, inputs, target)
    records = Records(inputs, ordered=not arguments.unordered)
    function = Spread(target.function) if arguments.spread else target.function
    progress = _shows_progress(arguments, stdout)
    results = _start(arguments, Call(function), records, total=inputs.total, progress=progress)
    signals.drain_from_here(partial(_begin_no_more, results))
    try:
        with results, Output(arguments.output, stdout, signals) as output:
            try:
                _write_lines(results, records, output, fail_fast=arguments.fail_fast)
            except Stopped:  # the grace is over; what was computed can still be read
                results.close()
                _write_lines(results, records, output)
    except ReaderGone:  # it has read what it wanted
        return 1 if records.failed else 0
    except PlanRefused as error:
        raise CommandError(str(error)) from None
    except PoolwiseError as error:
        raise CommandError(str(error), code=1) from None
    return _conclude(arguments, signals, results, records)


def _start(
    arguments: Namespace,
    call: Call,
    records: Records,
    *,
    total: int | None,
    progress: bool,
) -> Run[object]:
    try:
        return poolwise_map(
            call,
            records.draw(),
            on_error="return",
            ordered=not arguments.unordered,
            progress=progress,
            total=total,
            plan=arguments.plan,
            mechanism=arguments.mechanism,
            max_workers=arguments.max_workers,
            threads_per_worker=arguments.threads_per_worker,
            max_concurrency=arguments.max_concurrency,
            chunksize=arguments.chunksize,
            buffersize=arguments.buffersize,
            retries=arguments.retries,
            task_timeout=arguments.timeout,
            memory_limit=arguments.memory_limit,
            isolate=arguments.isolate,
        )
    except ValueError as error:
        raise CommandError(str(error)) from None


def _begin_no_more(results: Run[object]) -> None:
    """Have calls that have not begun never do so, where they run in this process."""
    begin_no_more()
    drive = results._drive
    if isinstance(drive, Drive) and drive.plan.mechanism != "process":
        drive.teach_nothing()  # calls that are held back take no time


def _shows_progress(arguments: Namespace, stdout: int) -> bool:
    if arguments.quiet:
        return False
    if arguments.progress is not None:
        return bool(arguments.progress)
    # Where results scroll by, they are the progress, and a bar would stand between them.
    return arguments.output is not None or not os.isatty(stdout)


def _refuse_to_overwrite(output: str | None, inputs: Inputs, target: Target) -> None:
    """Refuse an output that is a file of the inputs, or TARGET's, by whatever name.

    Also what standard input is redirected from, whoever reads that: it may be the function.

    Raises:
        CommandError: it is one of these; nothing of it has been lost yet.
    """
    there = None if output is None else _status(output)
    if there is None or stat.S_ISCHR(there.st_mode):  # a terminal and /dev/null lose nothing
        return
    for file in (*inputs.files, 0):
        if _is_same(file, there):
            raise CommandError(f"-o {output} would overwrite the inputs; give another file")
    source = getattr(target.module, "__file__", None)
    if source is not None and _is_same(source, there):
        raise CommandError(f"-o {output} would overwrite the file of TARGET; give another file")


def _is_same(file: str | int, there: os.stat_result) -> bool:
    status = _status(file)
    return status is not None and os.path.samestat(status, there)


def _status(file: str | int) -> os.stat_result | None:
    try:
        return os.stat(file)
    except (OSError, ValueError):  # there is none, or none can have such a name
        return None


def _write_lines(
    results: Run[object], records: Records, output: Output, *, fail_fast: bool = False
) -> None:
    for part in _parts(results):
        for outcome in part:
            output.write(records.line(outcome))
            if fail_fast and records.failed:
                return
        output.flush()
    for line in records.rest():
        output.write(line)


def _parts(results: Run[object]) -> Iterator[Iterator[object]]:
    """Return the results in the parts in which they arrive.

    The run may wait between two parts and never within one: between them is when to flush.
    """
    return results._drive


def _conclude(
    arguments: Namespace, signals: Signals, results: Run[object], records: Records
) -> int:
    if signals.received is not None:
        if not arguments.quiet:
            complain(f"stopped by {signals.received.name} after {plural(records.lines, 'input')}")
        return signals.exit_code
    if arguments.explain and not arguments.quiet:
        print(explain_run(results.record(), for_command=True), file=sys.stderr)
    if not records.failed:
        return 0
    if not arguments.quiet:
        complain(_failures(arguments, records))
    return 1


def _failures(arguments: Namespace, records: Records) -> str:
    if arguments.fail_fast:  # others may have run, as the explanation says, and have no line
        written = plural(records.lines, "line")
        return f"--fail-fast ended it after {written}: {records.first_failure}"
    of = plural(records.lines, "input")
    return f"{records.failed:,} of {of} failed; the first: {records.first_failure}"
