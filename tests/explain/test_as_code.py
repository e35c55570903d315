"""The programs by hand: each one runs, and gives what a loop gives."""

from __future__ import annotations

import functools
import importlib.util
import math
import operator
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from explain_records import a_profile, a_record, forecasts_for, read

import poolwise
from poolwise.explain import explain_advice, explain_run
from poolwise.explain.as_code import as_code
from poolwise.plan import Plan

PLANS = [
    Plan("inline"),
    Plan("thread", 3),
    Plan("process", 2),
    Plan("process", 2, batch_size=5),
    Plan("process", 2, 3),
    Plan("process", 2, 3, batch_size=4),
]
WORDS = [f"word{number}" for number in range(23)]

every_plan = pytest.mark.parametrize("plan", PLANS, ids=[plan.spec for plan in PLANS])


def _lines(program: str, folder: Path, *arguments: str) -> list[str]:
    """Run a program in a folder of its own, and return what it printed."""
    file = folder / "by_hand" / "program.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(program)
    command = [sys.executable, "-W", "error", str(file), *arguments]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=file.parent, timeout=50
    )
    assert run.returncode == 0, f"{program}\n{run.stderr}"
    assert not run.stderr
    return run.stdout.splitlines()


def _with_inputs(program: str, *iterables: str) -> str:
    """The program, with its inputs put in as a person would do."""
    assert "sys.argv[1:]" in program
    program = program.replace("sys.argv[1:]", iterables[0])
    return program.replace("run(inputs)", f"run({', '.join(['inputs', *iterables[1:]])})")


def _load(file: Path, name: str) -> ModuleType:
    """Load a file as a module that nobody can import."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- plans ---------------------------------------------------------------------------------------


@every_plan
def test_every_plan_gives_what_a_loop_gives(plan: Plan, tmp_path: Path) -> None:
    assert _lines(as_code(plan, read), tmp_path, *WORDS) == [read(word) for word in WORDS]


@every_plan
def test_no_inputs_are_no_results(plan: Plan, tmp_path: Path) -> None:
    assert _lines(as_code(plan, read), tmp_path) == []


@every_plan
def test_several_iterables_give_several_arguments(plan: Plan, tmp_path: Path) -> None:
    program = _with_inputs(as_code(plan, pow), "range(9)", "[2, 3] * 5")
    expected = [str(pow(base, [2, 3][base % 2])) for base in range(9)]
    assert _lines(program, tmp_path) == expected


@every_plan
def test_a_program_is_short_and_says_what_it_is(plan: Plan) -> None:
    program = as_code(plan, read, service=1e-3, total=1_000)
    assert program.startswith(f"# {plan}, by hand")
    assert len([line for line in program.splitlines() if line]) <= 25
    assert max(map(len, program.splitlines())) <= 110
    assert program.endswith("\n")
    assert "\n\n\n\n" not in program


def test_the_program_has_the_numbers_of_the_plan() -> None:
    assert "ThreadPoolExecutor(max_workers=7)" in as_code(Plan("thread", 7), read)
    program = as_code(Plan("process", 3, 5, 40), read)
    assert "ProcessPoolExecutor(max_workers=3, initializer=start_threads)" in program
    assert "ThreadPoolExecutor(max_workers=5)" in program
    assert "i + 40" in program


def test_batches_follow_the_length_of_calls_where_the_plan_leaves_them_open() -> None:
    plan = Plan("process", 2)
    assert "chunksize=1)" in as_code(plan, read, service=1.0, total=1_000)
    assert "chunksize=250)" in as_code(plan, read, service=1e-6, total=1_000)
    assert "chunksize=1)" in as_code(plan, read)
    assert "chunksize=1)" in as_code(plan, read, service=float("nan"))


def test_a_process_with_threads_is_handed_enough_for_all_of_them() -> None:
    plan = Plan("process", 2, 8)
    assert "i + 128]" in as_code(plan, read, service=5e-3, total=100_000)
    assert "i + 25]" in as_code(plan, read, service=5e-3, total=100)
    assert "i + 8]" in as_code(plan, read, service=5e-3, total=3)


def test_an_exception_of_a_call_comes_out(tmp_path: Path) -> None:
    program = _with_inputs(as_code(Plan("process", 2, 2), math.sqrt), "[1.0, -1.0]")
    with pytest.raises(AssertionError, match="ValueError"):
        _lines(program, tmp_path)


# ---- functions that can be imported --------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (len, "['a', 'bcd']"),
        (str.upper, "['a', 'bcd']"),
        (int, "['1', '22']"),
        (int.from_bytes, "[b'1', b'22']"),
        (dict.fromkeys, "['a', 'bcd']"),
        (math.sqrt, "[1.0, 4.0]"),
        (operator.neg, "[1.0, 4.0]"),
        (textwrap.dedent, "[' a', '  b']"),
        (functools.partial(int, base=16), "['a', 'ff']"),
        (functools.partial(pow, 2), "[3, 4]"),
        (functools.partial(functools.partial(pow, 2), 3), "[5, 7]"),
    ],
    ids=str,
)
def test_functions_of_the_standard_library(
    function: Callable[..., object], inputs: str, tmp_path: Path
) -> None:
    program = _with_inputs(as_code(Plan("process", 2), function), inputs)
    assert "sys.path" not in program
    assert "builtins" not in program
    assert _lines(program, tmp_path) == [str(function(value)) for value in eval(inputs)]


def test_a_function_of_an_installed_package(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    program = _with_inputs(as_code(Plan("process", 2), numpy.linalg.norm), "[[3.0, 4.0]]")
    assert "sys.path" not in program
    assert _lines(program, tmp_path) == ["5.0"]


@every_plan
def test_a_function_of_a_file_that_was_loaded_by_its_path(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "fetch.py"
    file.write_text("SUFFIX = '!'\ndef fetch(text):\n    return text + SUFFIX\n")
    function = _load(file, "fetch").fetch
    program = as_code(plan, function)
    assert f'sys.path.insert(0, "{tmp_path}")' in program
    assert "from fetch import fetch\n" in program
    assert _lines(program, tmp_path, "a", "b") == ["a!", "b!"]


def test_a_file_that_was_loaded_under_another_name(tmp_path: Path) -> None:
    file = tmp_path / "fetch.py"
    file.write_text("def fetch(text):\n    return text * 2\n")
    function = _load(file, "some.other_name").fetch
    assert _lines(as_code(Plan("process", 2), function), tmp_path, "a") == ["aa"]


def test_a_file_whose_name_is_no_identifier_in_a_folder_with_an_odd_one(tmp_path: Path) -> None:
    file = tmp_path / 'it\'s "odd" ä' / "my-fetch.py"
    file.parent.mkdir()
    file.write_text("def fetch(text):\n    return text * 2\n")
    program = as_code(Plan("process", 2), _load(file, "my-fetch").fetch)
    assert _lines(program, tmp_path, "a") == ["aa"]


def test_a_function_of_a_package_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "poolwise_test_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text(
        "class Tool:\n    @staticmethod\n    def use(x): return x * 3\n"
    )
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "leaf.py").write_text(
        "from .. import Tool\ndef leaf(x): return Tool.use(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    leaf = importlib.import_module("poolwise_test_package.inner.leaf").leaf
    tool = importlib.import_module("poolwise_test_package").Tool.use
    for function in (leaf, tool):
        program = as_code(Plan("process", 2), function)
        assert f'sys.path.insert(0, "{tmp_path}")' in program
        assert _lines(program, tmp_path, "a") == ["aaa"]


@pytest.mark.parametrize(
    "name", ["run", "work", "threads", "pool", "inputs", "calls", "map", "zip"]
)
@pytest.mark.parametrize("plan", [PLANS[0], PLANS[2], PLANS[4]], ids=lambda plan: plan.spec)
def test_a_function_that_is_called_like_something_in_the_program(
    name: str, plan: Plan, tmp_path: Path
) -> None:
    file = tmp_path / "names.py"
    file.write_text(f"def {name}(text):\n    return text * 2\n")
    program = as_code(plan, getattr(_load(file, "names"), name))
    assert _lines(program, tmp_path, "a", "b") == ["aa", "bb"]


# ---- functions that are written out --------------------------------------------------------------

SCRIPT = '''
from __future__ import annotations
import math as m
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from somewhere import Something

FACTORS = {"a": 2, "b": [3, 4]}
run = "a name of the program's"


class Scale:
    """A class of the script."""

    def __init__(self, by: int) -> None:
        self.by = by * FACTORS["a"]


def decorated(function):
    return function


def helper(x: Something) -> float:
    return m.sqrt(Scale(3).by * len(run) * x) + FACTORS["b"][1]


@decorated
def work(text: str, length: int = FACTORS["a"]) -> str:
    total = sum(helper(ord(c)) for c in text)
    return f"{PurePosixPath(text).name} {total:.3f} {length}" if text else work("x")
'''


@every_plan
def test_a_function_of_a_script_is_written_out_with_all_that_it_uses(
    plan: Plan, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"{SCRIPT}\n"
        "from poolwise.explain.as_code import as_code\n"
        "from poolwise.plan import Plan\n"
        f"sys.stdout.write(as_code(Plan.parse({plan.spec!r}), work))\n"
    )
    program = "\n".join(_run_script(script)) + "\n"
    assert "poolwise" not in program
    assert "script" not in program.replace("of the script", "")
    namespace = {"__name__": "loaded"}
    exec(SCRIPT, namespace)
    expected = [namespace["work"](text) for text in ("a/b", "", "xyz")]
    assert _lines(program, tmp_path, "a/b", "", "xyz") == expected


def _run_script(script: Path) -> list[str]:
    command = [sys.executable, str(script)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@every_plan
def test_a_lambda_and_what_it_closes_over(plan: Plan, tmp_path: Path) -> None:
    factor, offsets = 3, [1, 2]
    functions = [
        lambda x: x * factor + offsets[1],
        (lambda x, by=2: math.floor(x) * by),
    ]
    for function in functions:
        program = _with_inputs(as_code(plan, function), "range(5)")
        assert _lines(program, tmp_path) == [str(function(x)) for x in range(5)]


def test_a_lambda_in_the_middle_of_a_call(tmp_path: Path) -> None:
    found = functools.reduce(
        lambda first, second: first,
        [
            lambda x: x + 1,
            lambda y: y + 2,
        ],
    )
    program = _with_inputs(as_code(Plan("process", 2), found), "range(3)")
    assert _lines(program, tmp_path) == ["1", "2", "3"]


@every_plan
def test_a_local_function_and_what_it_closes_over(plan: Plan, tmp_path: Path) -> None:
    depth = 2

    def twice(text: str) -> str:
        return text * depth

    def local(text: str) -> str:
        def inner() -> str:
            return twice(text)

        return inner() + read(text)

    program = as_code(plan, local)
    assert _lines(program, tmp_path, "a", "b") == ["aaA", "bbB"]


# ---- functions that can be neither ---------------------------------------------------------------


class _Callable:
    def __call__(self, text: str) -> str:
        return text


def _closure_over(value: object) -> Callable[[str], object]:
    def closure(text: str) -> object:
        return value, text

    return closure


def _never_set() -> Callable[[str], object]:
    if not read:
        value = 1
    return lambda text: (value, text)


def _changes_a_global() -> Callable[[str], object]:
    def changes(text: str) -> str:
        global WORDS
        WORDS = [text]
        return text

    return changes


_without_source: dict[str, Callable[[str], object]] = {}
exec("def built(text): return text", _without_source)

STUBBED = {
    "an object that can be called": (_Callable(), "an object of type _Callable"),
    "a bound method": ("abc".startswith, "an object of type builtin_function"),
    "an open file": (_closure_over(sys.stdout), "value"),
    "a constant that nobody would read": (_closure_over("x" * 1_000), "value"),
    "a variable without a value": (_never_set(), "value, which has no value yet"),
    "a changed global": (_changes_a_global(), "it changes the global WORDS"),
    "no source": (_without_source["built"], "no source of built"),
    "a partial of an object": (functools.partial(operator.eq, object()), "object of type object"),
}


@pytest.mark.parametrize("kind", STUBBED)
@pytest.mark.parametrize("plan", [PLANS[0], PLANS[4]], ids=lambda plan: plan.spec)
def test_what_can_be_neither_imported_nor_written_out_is_a_stub_that_says_why(
    kind: str, plan: Plan, tmp_path: Path
) -> None:
    function, reason = STUBBED[kind]
    program = as_code(plan, function)
    assert "cannot be imported: put it into a module, and import it here" in program
    assert reason in program
    assert _lines(program, tmp_path) == []  # it runs; only a call has nothing to do
    with pytest.raises(AssertionError, match=r"NotImplementedError: put \w+ into a module"):
        _lines(program, tmp_path, "a")


def test_a_seed_is_not_written_out_and_the_stub_says_what_to_do(tmp_path: Path) -> None:
    program = poolwise.map(read, WORDS, plan="process:2", seed=7).explain().code
    assert "cannot be imported" not in program
    assert "# seed=7 is not written out" in program
    assert "# Have read take them from a random.Random of its own" in program
    assert _lines(program, tmp_path) == []
    with pytest.raises(AssertionError, match="NotImplementedError: seed random numbers in read"):
        _lines(program, tmp_path, "a")


# ---- in explanations -----------------------------------------------------------------------------


def test_an_explanation_holds_the_code_of_its_plan(tmp_path: Path) -> None:
    record = a_record(a_profile())
    forecasts = forecasts_for(a_profile(), record.machine, record.total)
    advice = explain_advice(record, forecasts)
    assert advice.code.startswith(f"# {forecasts[0].plan}, by hand")
    assert _lines(advice.code, tmp_path, *WORDS) == [read(word) for word in WORDS]
    run = explain_run(record)
    assert run.code.startswith(f"# {record.plan}, by hand")
    assert _lines(run.code, tmp_path, *WORDS) == [read(word) for word in WORDS]


def test_options_that_it_does_not_have_are_said_one_by_one() -> None:
    run = poolwise.map(
        len,
        WORDS,
        plan="process:2",
        on_error="return",
        ordered=False,
        retries=2,
        retry_on=OSError,
        task_timeout=30,
        initializer=print,
        max_concurrency=1,
    )
    notes = [line for line in run.explain().code.splitlines() if line.startswith("# Not in here: ")]
    assert [note.removeprefix("# Not in here: ") for note in notes] == [
        "ordered=False",
        'on_error="return"',
        "max_concurrency=1",
        "initializer=print",
        "retries=2",
        "retry_on=OSError",
        "task_timeout=30.0",
    ]
    assert "Not in here" not in poolwise.map(len, WORDS, plan="process:2").explain().code


def test_parts_that_are_larger_than_the_batches_of_the_plan_are_accounted_for() -> None:
    # A process has one part at a time: one of two calls would leave the third thread without any.
    code = as_code(Plan("process", 2, 3, batch_size=2), len)
    assert "calls[i : i + 3]" in code
    assert "# In parts of 3: a process has one at a time" in code
    assert "# In parts" not in as_code(Plan("process", 2, 3, batch_size=4), len)
