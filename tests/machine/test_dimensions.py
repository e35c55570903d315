"""The records of the six dimensions."""

from __future__ import annotations

from dataclasses import fields

from poolwise.machine import dimensions
from poolwise.machine.claims.vocabulary import FIELDS
from poolwise.machine.profile import DIMENSIONS


def test_no_two_dimensions_have_the_same_quantity_and_each_has_a_name_of_its_own() -> None:
    names = [
        (dimension, field.name)
        for dimension in DIMENSIONS
        for field in fields(getattr(dimensions, dimension.capitalize()))
    ]
    assert len({name for _, name in names}) == len(names)
    named = {tuple(path.split(".")) for path in FIELDS}
    unnamed = {
        ("communication", "increments"),
        ("communication", "increments_with_lock"),
        ("implementation", "programs"),
    }  # no figures
    assert set(names) - unnamed == named
    assert len({(each.en, each.zh) for each in FIELDS.values()}) == len(FIELDS)
