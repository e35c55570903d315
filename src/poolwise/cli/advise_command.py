"""``poolwise advise``: the plan to take, and why."""

from __future__ import annotations

from argparse import Namespace

from poolwise.api.advising import Advice, advise
from poolwise.cli.call import Spread
from poolwise.cli.errors import CommandError, Stopped, cut
from poolwise.cli.inputs import open_inputs
from poolwise.cli.output import Output, complain
from poolwise.cli.signals import Signals
from poolwise.cli.target import load_target
from poolwise.errors import PoolwiseError
from poolwise.explain import explain_advice
from poolwise.units import plural


def run(arguments: Namespace, signals: Signals, stdout: int) -> int:
    """Write the advice; return the exit code.

    Raises:
        CommandError: wrong usage, or there is nothing to learn from.
        Stopped: a signal came.
    """
    target = load_target(arguments.target, spread=arguments.spread)
    inputs = open_inputs(arguments, vars(target.module), signals)
    function = Spread(target.function) if arguments.spread else target.function
    try:
        advice = advise(
            function,
            (value for _, value in inputs),
            verify=arguments.verify,
            total=inputs.total,
            on_error="return",
            max_workers=arguments.max_workers,
            threads_per_worker=arguments.threads_per_worker,
            max_concurrency=arguments.max_concurrency,
        )
    except ValueError as error:
        raise inputs.error or CommandError(str(error)) from None
    except PoolwiseError as error:
        raise CommandError(str(error), code=1) from None
    advice.close()
    if signals.received is not None:
        raise Stopped
    if inputs.error is not None:
        raise inputs.error
    _look_at_failures(advice)
    with Output(None, stdout, signals) as output:
        output.write(_text(advice, arguments).rstrip("\n") + "\n")
    return 0


def _look_at_failures(advice: Advice) -> None:
    """Say it if sampled calls raised.

    Raises:
        CommandError: all of them did.
    """
    record = advice.record()
    if not record.failed:
        return
    first = next((each for each in advice.run() if isinstance(each, Exception)), None)
    what = cut(f"the first: {type(first).__name__}: {first}")
    sampled = plural(record.done + record.failed, "sampled call")
    if not record.done:
        raise CommandError(f"nothing to advise on: {sampled}, all raised; {what}", code=1)
    complain(f"{record.failed:,} of {sampled} raised; {what}")


def _text(advice: Advice, arguments: Namespace) -> str:
    explanation = explain_advice(advice.record(), advice.forecasts, for_command=True)
    if arguments.json:
        return explanation.to_json()
    return explanation.code if arguments.code else str(explanation)
