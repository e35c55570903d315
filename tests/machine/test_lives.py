"""Workers of several kinds live in turns, so that no moment of the machine's decides about one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from poolwise.machine.resources import lives as module
from poolwise.machine.resources.lives import Life, in_turns
from poolwise.timing.clock import SystemClock
from poolwise.timing.repeat import Effort
from poolwise.timing.sample import Gap, Sample

#: A tenth of a second in each of three turns, and ten lives at most.
EFFORT = Effort(0.3, least=3, most=30, tolerance=0.1, piece=0.002, largest=1)


class World(SystemClock):
    """Workers whose lives take as long as they say; it notes who lived."""

    def __init__(self) -> None:
        self.time = 0.0
        self.lived: list[str] = []

    def now(self) -> float:
        return self.time

    def life(self, name: str, takes: float) -> Callable[[], Life]:
        def live() -> Life:
            self.time += takes
            self.lived.append(name)
            return Life(create=takes, destroy=0.0, whole=takes, faults=None, memory=None)

        return live


def test_each_kind_has_its_turn_again_and_again_and_the_first_turn_does_not_count() -> None:
    world = World()
    kinds = {"slow": world.life("slow", 1.0), "fast": world.life("fast", 0.06)}
    found = in_turns(kinds, EFFORT, clock=world)
    assert world.lived == ["slow", "fast", "fast"] * (1 + EFFORT.least)
    assert {name: len(each.all) for name, each in found.items()} == {"slow": 3, "fast": 6}
    assert found["fast"].figure("s", lambda life: life.create) == Sample("s", (0.06,) * 6)


def test_a_turn_has_an_end_where_lives_take_no_time() -> None:
    world = World()
    found = in_turns({"none": world.life("none", 0.0)}, EFFORT, clock=world)
    assert len(found["none"].all) == EFFORT.most


def test_a_kind_that_cannot_live_is_a_gap_and_ends_no_other() -> None:
    world = World()

    def refuse() -> Life:
        world.lived.append("none")
        raise OSError("no more of them")

    found = in_turns({"none": refuse, "one": world.life("one", 1.0)}, EFFORT, clock=world)
    assert found["none"].figure("s", lambda life: life.create) == Gap("OSError: no more of them")
    assert world.lived == ["none", *["one"] * 4]
    assert len(found["one"].all) == 3


def test_what_the_system_does_not_say_of_a_life_is_a_gap() -> None:
    world = World()
    found = in_turns({"one": world.life("one", 1.0)}, EFFORT, clock=world)
    assert isinstance(found["one"].figure("1", lambda life: life.faults), Gap)


@pytest.mark.parametrize("throttled", [False, True])
def test_lives_say_whether_they_were_throttled(
    monkeypatch: pytest.MonkeyPatch, throttled: bool
) -> None:
    times = itertools.count(7) if throttled else itertools.repeat(7)
    monkeypatch.setattr(module, "times_throttled", times.__next__)
    world = World()
    found = in_turns({"one": world.life("one", 1.0)}, EFFORT, clock=world)
    figure = found["one"].figure("s", lambda life: life.create)
    assert isinstance(figure, Sample)
    assert figure.throttled is throttled
