"""Looking like the caller: folder, environment, paths, arguments, warnings, logging, locale, the
rights of new files, decimal arithmetic. And the part of the machine that is this worker's.
"""

from __future__ import annotations

import os
import sys
from marshal import loads as unmarshal
from time import tzset

from _poolwise_worker import inner_threads, transfer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")
    #: Precision, rounding, least and greatest exponent, capitals, clamp, names of trapped signals.
    Arithmetic = tuple[int, str, int, int, int, int, tuple[str, ...]]

#: Worker processes that share this machine's CPUs with this one, itself included; 1 outside a
#: worker. What a call runs in parallel by itself has to do with its share of the CPUs.
siblings = 1

#: Whether standard output and error of the caller are those that it was started with, so that a
#: worker may write there itself.
plain_output = (True, True)

#: The most bytes of an arena for results.
arena_limit = 1 << 30

#: Variables that tell libraries how many threads they may have, where the caller has not set them.
_inner: dict[bytes, bytes] = {}

#: The caller's decimal context; ``None`` if it is the usual one. Each runner takes it on in its own
#: thread, when it next has something to run: such contexts belong to threads.
arithmetic: Arithmetic | None = None


def take_on(payload: bytes | bytearray) -> None:
    """Make this process look like the caller as it was when it packed `payload`."""
    global plain_output, arithmetic
    surroundings: dict[str, Any] = unmarshal(payload)
    plain_output = surroundings["plain_output"]
    arithmetic = surroundings["arithmetic"]
    if surroundings["umask"] is not None:
        os.umask(surroundings["umask"])
    try:
        os.chdir(surroundings["cwd"])
    except OSError:
        pass  # the folder may be gone; the caller would not notice either
    environ = surroundings["environ"] | _inner
    zone = os.environb.get(b"TZ")
    for name in os.environb.keys() - environ.keys():
        del os.environb[name]
    for name, value in environ.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
    if os.environb.get(b"TZ") != zone:
        tzset()
    sys.path[:] = surroundings["path"]
    if hasattr(sys, "argv"):  # in a program that is embedded in another it may be missing
        sys.argv[:] = surroundings["argv"]
    sys.setrecursionlimit(surroundings["recursionlimit"])
    sys.set_int_max_str_digits(surroundings["digits"])
    _take_locale(surroundings["locale"])
    _take_filters(surroundings["warnings"])
    if surroundings["logging"] or _levelled:
        _take_levels(*surroundings["logging"] or (0, {}))
    if surroundings["authkey"] is not None:
        from multiprocessing.process import current_process

        current_process().authkey = surroundings["authkey"]


def take_part(payload: bytes | bytearray) -> None:
    """Keep to a part of the machine. What the worker is to look like is told after that, if it
    changes at the same time: a variable that the caller has set by now is its own.
    """
    global siblings, arena_limit, _inner
    siblings, arena_limit, threads = unmarshal(payload)
    before, _inner = _inner, {name.encode(): b"%d" % most for name, most in threads.items()}
    inner_threads.limit(min(threads.values(), default=0))
    for name in before.keys() - _inner.keys():
        os.environb.pop(name, None)
    os.environb.update(_inner)


def begin_as_fork(output: tuple[bool, bool]) -> None:
    """Be a server that was just forked from the caller, and looks like it. What the caller keeps
    to, if it is a worker itself, is this process's own.

    Libraries are limited here, as in most workers, which then have nothing left to find.
    """
    global plain_output, arithmetic, _inner
    plain_output = output
    arithmetic = arithmetic_here()
    _note_levels()
    _inner = {}
    inner_threads.begin_as_fork()


#: What every thread begins with.
_USUAL: Arithmetic = (
    28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0,
    ("DivisionByZero", "InvalidOperation", "Overflow"),
)  # fmt: skip


def arithmetic_here() -> Arithmetic | None:
    """Return the decimal context of this thread, ``None`` if it is the usual one."""
    decimal = sys.modules.get("decimal")
    if decimal is None or not hasattr(decimal, "getcontext"):  # or just being imported elsewhere
        return None
    now = decimal.getcontext()
    trapped = tuple(sorted(each.__name__ for each, traps in now.traps.items() if traps))
    found: Arithmetic = (
        now.prec, now.rounding, now.Emin, now.Emax, now.capitals, now.clamp, trapped,
    )  # fmt: skip
    return None if found == _USUAL else found


def take_arithmetic(wanted: Arithmetic | None) -> None:
    """Calculate in this thread as the caller does."""
    if wanted is None and "decimal" not in sys.modules:
        return
    import decimal

    prec, rounding, least, greatest, capitals, clamp, trapped = wanted or _USUAL
    traps = [getattr(decimal, each) for each in trapped]
    decimal.setcontext(
        decimal.Context(prec, rounding, least, greatest, capitals, clamp, traps=traps)
    )


def _take_locale(name: str) -> None:
    from _locale import LC_ALL, setlocale

    try:
        if setlocale(LC_ALL) != name:
            setlocale(LC_ALL, name)
    except Exception:  # the private module's own
        pass  # the caller has it from files that are gone


def _take_filters(pickled: list[tuple[str, bytes]]) -> None:
    _awaited.clear()
    filters = []
    for module, data in pickled:
        if not module or module in sys.modules:
            filters += _filter(data)
        else:
            stand_in = ("ignore", None, type("Awaited", (Warning,), {}), None, 0)
            _awaited.append((module, data, stand_in))
            filters.append(stand_in)
    _set_filters(filters)


#: Filters for warnings of modules that are not here yet: the module, the filter, and what stands in
#: its place and matches nothing. To import NumPy for its `RankWarning`, in every worker, would take
#: ten times as long as all else. A call that imports such a module itself has the module's own
#: filters until the next batch.
_awaited: list[tuple[str, bytes, tuple[Any, ...]]] = []


def keep_filters(read: Callable[[Any], T], payload: Any) -> T:
    """Read something, which may import modules, without what these do to the filters: the caller
    had imported them before it told what its filters are.

    Runners may do this at once: whoever sees that a module has arrived leaves the same filters.
    """
    if not _awaited:
        return read(payload)
    import warnings

    before, awaited = warnings.filters[:], _awaited[:]
    value = read(payload)
    arrived = [each for each in awaited if each[0] in sys.modules]
    if arrived:
        reals = {id(stand_in): _filter(data) for _, data, stand_in in arrived}
        _set_filters([real for each in before for real in reals.get(id(each), [each])])
        _awaited[:] = [each for each in _awaited if each not in arrived]
    return value


def _filter(pickled: bytes) -> list[Any]:
    """Return the filter; none if its category is not to be had here, for then nothing warns so."""
    try:
        return [transfer.loads(pickled)]
    except Exception:
        return []


def _set_filters(filters: list[Any]) -> None:
    import warnings

    warnings.filters[:] = filters  # type: ignore[index]
    warnings.simplefilter("default", append=True)  # has the caches forget the filters before
    del warnings.filters[-1]  # type: ignore[attr-defined]


#: Loggers whose levels came from the caller.
_levelled: set[str] = set()


def _note_levels() -> None:
    """Take the levels that this process has since it was forked for the caller's."""
    logging = sys.modules.get("logging")
    if logging is not None:
        _levelled.add("")
        loggers = list(logging.root.manager.loggerDict.items())
        _levelled.update(name for name, logger in loggers if getattr(logger, "level", 0))


def _take_levels(disabled: int, levels: dict[str, int]) -> None:
    import logging

    logging.disable(disabled)
    for name in _levelled - levels.keys():
        logging.getLogger(name).setLevel(logging.NOTSET if name else logging.WARNING)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    _levelled.clear()
    _levelled.update(levels)
