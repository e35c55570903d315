"""What inputs have in common with others of their kind."""

from __future__ import annotations

import random
from array import array

import pytest

from poolwise.wisdom import inputs_like


def test_inputs_of_about_the_same_size_are_alike_and_others_are_not() -> None:
    assert inputs_like([range(16_000, 16_050)]) == inputs_like([[16_500] * 7])
    assert inputs_like([[3_000] * 4]) != inputs_like([[16_000] * 50])
    assert inputs_like([["page"] * 10]) != inputs_like([["page" * 1_000] * 10])
    assert inputs_like([[b"page"]]) != inputs_like([["page"]])
    assert inputs_like([[array("d", [0.0] * 8)]]) != inputs_like([[array("d", [0.0] * 800)]])
    assert inputs_like([[(5e-3, 12_000)] * 3]) != inputs_like([[(5e-3, 70_000)] * 3])


def test_a_sample_stands_for_all_whatever_their_order() -> None:
    sizes = [random.Random(1).randrange(500, 900) for _ in range(10_000)]
    assert inputs_like([sizes]) == inputs_like([sorted(sizes)]) == inputs_like([sizes[:100]])


def test_each_argument_counts() -> None:
    assert inputs_like([[1], ["a"]]) != inputs_like([[1], [2]])
    assert inputs_like([[1], []]) == ""


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -1,
        10**400,
        None,
        object(),
        (),
        [],
        lambda: 0,
        True,
        ((((1,),),),),
    ],
    ids=str,
)
def test_anything_is_like_itself(value: object) -> None:
    assert inputs_like([[value]]) == inputs_like([[value] * 50]) != ""


def test_no_code_of_a_class_is_run() -> None:
    class Odd(list[int]):
        def __len__(self) -> int:
            raise AssertionError

        def __float__(self) -> float:
            raise AssertionError

        __abs__ = __eq__ = __hash__ = __iter__ = __float__  # type: ignore[assignment]

    assert inputs_like([[Odd()]]).endswith("Odd 0")


def test_nothing_of_the_inputs_own_is_run() -> None:
    class Lazy:
        @property
        def __class__(self) -> type:
            raise AssertionError("asked what it is")

        def __len__(self) -> int:
            raise AssertionError("asked how long it is")

    assert inputs_like([[Lazy(), Lazy()]]).endswith("Lazy 0")
