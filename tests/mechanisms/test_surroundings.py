"""Workers look like the caller does now, also those that were idle and those of an older fork."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs import METHODS, STARTS, run
from thorough import in_turns, thorough

#: What is read in a call, and what the program does to it.
CHANGES = {
    "variable": ("os.environ.get('POOLWISE_TEST')", "os.environ['POOLWISE_TEST'] = 'set'"),
    "variable that goes": ("os.environ.get('HOME')", "del os.environ['HOME']"),
    "folder": ("os.getcwd()", "os.chdir('/')"),
    "path": ("[e for e in sys.path if 'new' in e]", "sys.path.insert(0, '/new')"),
    "arguments": ("sys.argv[-1]", "sys.argv.append('another')"),
    "recursion limit": ("sys.getrecursionlimit()", "sys.setrecursionlimit(3210)"),
    "filter": ("filters()", "warnings.simplefilter('error', ImportWarning)"),
    "filters that go": ("filters()", "warnings.resetwarnings()"),
    "level": ("logging.getLogger('a').level", "logging.getLogger('a').setLevel(7)"),
    "root level": ("logging.root.level", "logging.root.setLevel(5)"),
    "level that goes": ("logging.getLogger('b').level", "logging.getLogger('b').setLevel(0)"),
    "disabled": ("logging.root.manager.disable", "logging.disable(40)"),
    "locale": ("locale.setlocale(locale.LC_ALL)", "locale.setlocale(locale.LC_ALL, 'C')"),
    "time zone": (
        "time.localtime(0).tm_hour",
        "os.environ['TZ'] = 'UTC-5'; time.tzset()",
    ),
}


@pytest.mark.parametrize("plan", ["process:2", *thorough("process:1")])
@pytest.mark.parametrize(("change", "method"), in_turns(CHANGES, STARTS))
def test_what_changes_is_seen(
    change: tuple[str, str], plan: str, method: str, tmp_path: Path
) -> None:
    read, action = change
    program = f"""
import locale, logging, time, warnings
locale.setlocale(locale.LC_ALL, "C.UTF-8")
logging.getLogger("b").setLevel(11)
def filters():
    return [(action, category.__name__) for action, _, category, _, _ in warnings.filters]
def call(x):
    return {read}
def check():
    got = list(poolwise.map(call, range(3), plan={plan!r}, start_method=method))
    assert got == [call(0)] * 3, (got, call(0))
before = call(0)
check()
{action}
assert call(0) != before
check()
check()
"""
    run(tmp_path, program, method, TZ="UTC-2")


NOISY = """
import warnings
class Noise(UserWarning): pass
warnings.simplefilter("ignore", Noise)
def warn():
    warnings.warn("noise", Noise)
"""


@pytest.mark.parametrize("arrives", ["never", "with the function", "with an argument"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_filter_waits_for_the_module_of_its_warnings(
    arrives: str, threads: int, tmp_path: Path
) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    program = f"""
import noisy, sys, warnings
warnings.simplefilter("error", noisy.Noise)

def filters():
    return [each[:1] + each[2:] for each in warnings.filters]

def check(function, argument, expected):
    for _ in range(2):
        plan = "process:2x{threads}"
        got = list(poolwise.map(function, [argument] * 8, plan=plan, start_method=method))
        assert got == [expected] * 8, got

def raises(warn):
    try:
        warn()
    except Warning:
        return filters()

arrives = {arrives!r}
if arrives == "never":
    check(lambda argument: "noisy" in sys.modules, 0, False)
elif arrives == "with the function":
    check(lambda argument: raises(noisy.warn), 0, filters())
else:
    check(raises, noisy.warn, filters())
"""
    run(tmp_path, program, "forkserver")


@METHODS
def test_a_warning_is_shown_or_raised_as_in_a_loop(method: str, tmp_path: Path) -> None:
    program = """
import warnings
class Mine(UserWarning): pass
def call(x):
    with warnings.catch_warnings(record=True) as caught:
        warnings.warn("one", UserWarning)
        return len(caught)
for action, expected in [("ignore", 0), ("always", 1), ("ignore", 0)]:
    warnings.simplefilter(action)
    assert mapped(call) == [expected] * 4, action
warnings.simplefilter("error")
try:
    mapped(call)
except UserWarning as error:
    assert str(error) == "one"
else:
    raise AssertionError
"""
    run(tmp_path, program, method)


@METHODS
@pytest.mark.parametrize("plan", ["process:1", "process:1x2", "process:2"])
def test_decimals_are_calculated_as_here_and_as_now(plan: str, method: str, tmp_path: Path) -> None:
    program = f"""
import decimal, time
def third(_):
    time.sleep(1e-3)  # so that each thread has some
    return str(decimal.Decimal(1) / 3)
for places in 5, 9, 28, 3, 28:
    decimal.getcontext().prec = places
    assert {{*mapped(third, range(8), plan={plan!r})}} == {{"0." + places * "3"}}, places
"""
    run(tmp_path, program, method)


@METHODS
def test_what_an_initializer_makes_of_decimals_stays(method: str, tmp_path: Path) -> None:
    program = """
import decimal
def prepare():
    decimal.getcontext().prec = 4
def third(_):
    return str(decimal.Decimal(1) / 3)
assert {*mapped(third, range(8), plan="process:1", initializer=prepare)} == {"0.3333"}
"""
    run(tmp_path, program, method)


@METHODS
def test_new_files_have_the_rights_of_the_callers_now(method: str, tmp_path: Path) -> None:
    program = """
def make(name):
    with open(name, "x") as file:
        return os.fstat(file.fileno()).st_mode & 0o777
for mask in 0o022, 0o077, 0o000, 0o022:
    os.umask(mask)
    names = [f"{mask}-{number}-{len(os.listdir('.'))}" for number in range(4)]
    assert {*mapped(make, names)} == {0o666 & ~mask}
"""
    run(tmp_path, program, method)


def test_who_does_not_calculate_with_decimals_does_not_import_them(tmp_path: Path) -> None:
    program = """
def imported(_):
    return "decimal" in sys.modules
assert {*mapped(imported)} == {False}
"""
    run(tmp_path, program, "forkserver")


@METHODS
def test_a_program_without_arguments_of_its_own(method: str, tmp_path: Path) -> None:
    """One that Python is embedded in may have none."""
    run(tmp_path, "del sys.argv\nsame_as_a_loop(abs)\nsame_as_a_loop(abs)", method)


def test_where_it_is_not_known_where_python_is_forks_do(tmp_path: Path) -> None:
    program = """
import threading, time
sys.executable = None
same_as_a_loop(abs)
poolwise.shutdown()
threading.Thread(target=time.sleep, args=(20,), daemon=True).start()

def burn(number):
    end = time.thread_time() + 0.005
    while time.thread_time() < end:
        pass
    return number

assert list(poolwise.map(burn, range(60))) == list(range(60))
try:
    mapped(burn)
except poolwise.PoolFailed as error:
    assert "sys.executable does not say where Python is" in str(error)
else:
    raise AssertionError("it has started another Python")
"""
    run(tmp_path, program, "default")
