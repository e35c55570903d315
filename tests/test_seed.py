"""With ``seed=`` the random numbers of calls do not depend on the plan."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter

import pytest

import poolwise
from executor.calls import compute
from programs import NEEDS_NUMPY


def draw(number: int) -> tuple[int, float, int]:
    return number, random.random(), random.getrandbits(64)


def draw_after_computing(number: int) -> tuple[int, float, int]:
    compute(2e-3)
    return draw(number)


def fail_after_drawing(number: int) -> None:
    raise ValueError(random.random())


def drawn(plan: str | None, seed: int, count: int = 40) -> list[tuple[int, float, int]]:
    return list(poolwise.map(draw, range(count), plan=plan, seed=seed))


def test_the_plan_does_not_matter() -> None:
    expected = drawn("inline", 7)
    assert drawn("process:1", 7) == drawn("process:2/3", 7) == drawn(None, 7) == expected
    # Nor do the calls before it, nor which worker has which call.
    assert drawn("process:2", 7, 10) == expected[:10]


def test_it_does_not_change_while_the_plan_does() -> None:
    results = list(poolwise.map(draw_after_computing, range(150), seed=7))
    assert results == drawn("inline", 7, 150)


def test_other_seeds_and_other_calls_have_other_numbers() -> None:
    seeds = [0, 1, 7, 2**32, 2**32 + 7, 2**64, 2**200]
    counted = Counter(value[1:] for seed in seeds for value in drawn("inline", seed))
    assert counted.most_common(1)[0][1] == 1


def test_the_programs_own_stream_goes_on() -> None:
    random.seed(3)
    expected = random.random()
    random.seed(3)
    drawn("inline", 7)
    list(poolwise.map(fail_after_drawing, [1, 2], plan="inline", seed=7, on_error="return"))
    assert random.random() == expected


def test_without_a_seed_nothing_is_repeated() -> None:
    assert list(poolwise.map(draw, range(20), plan="process:2")) != list(
        poolwise.map(draw, range(20), plan="process:2")
    )


def test_several_iterables_and_common_arguments() -> None:
    found = poolwise.map(pow, [2, 3], [5, 2], plan="inline", seed=1, common={"mod": 7})
    assert list(found) == [4, 2]


@pytest.mark.parametrize("plan", ["thread:2", "thread:1", "process:1x2"])
def test_threads_are_refused_because_they_share_the_streams(plan: str) -> None:
    with pytest.raises(poolwise.PlanRefused, match=r"seed= .*threads share.*one thread each"):
        poolwise.map(draw, range(3), plan=plan, seed=1)  # at once, as every option


@NEEDS_NUMPY
def test_streams_of_numpy_are_seeded_too() -> None:
    program = """
import numpy, random, poolwise
def draw(number):
    return float(numpy.random.random()), int(numpy.random.randint(1 << 30)), random.random()
found = [list(poolwise.map(draw, range(20), plan=plan, seed=5)) for plan in ("inline", "process:2")]
assert found[0] == found[1]
assert len({number for each in found[0] for number in each}) == 60  # no two streams are the same
numpy.random.seed(1); expected = numpy.random.random()
numpy.random.seed(1); list(poolwise.map(draw, range(3), plan="inline", seed=5))
assert numpy.random.random() == expected
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
