"""Python that computes, with a history: growing, skewed, cached, lazily loaded, interrupted."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from _workload import Workload, times


def harmonic(terms: int) -> Fraction:
    """Add up fractions exactly; so many more take as much longer."""
    total = Fraction(0)
    for term in range(1, terms + 1):
        total += Fraction(1, term)
    return total


_WIDTH, _HEIGHT, _STEPS = 400, 200, 220


def mandelbrot_row(row: int) -> list[int]:
    """Return the steps to escape of each pixel of a row."""
    imaginary = 2.4 * row / _HEIGHT - 1.2
    result: list[int] = []
    for column in range(_WIDTH):
        point = complex(3.2 * column / _WIDTH - 2.2, imaginary)
        z, steps = 0j, 0
        while steps < _STEPS and z.real * z.real + z.imag * z.imag < 4.0:
            z = z * z + point
            steps += 1
        result.append(steps)
    return result


# Sudoku: some take a moment, some go astray for long

_SOLVED = "".join(str((3 * (row % 3) + row // 3 + column) % 9 + 1)
                  for row in range(9) for column in range(9))  # fmt: skip


def puzzles(scale: float) -> list[str]:
    """Puzzles with digits, bands and rows shuffled, and 25 to 40 digits left."""
    draw = random.Random(203)
    result: list[str] = []
    for _ in range(times(scale, 200)):
        digits = draw.sample("123456789", 9)
        rows = [3 * band + row for band in draw.sample(range(3), 3)
                for row in draw.sample(range(3), 3)]  # fmt: skip
        columns = [3 * band + column for band in draw.sample(range(3), 3)
                   for column in draw.sample(range(3), 3)]  # fmt: skip
        kept = set(draw.sample(range(81), draw.randrange(22, 40)))
        result.append(
            "".join(
                digits[int(_SOLVED[9 * rows[cell // 9] + columns[cell % 9]]) - 1]
                if cell in kept
                else "."
                for cell in range(81)
            )
        )
    return result


def solution(puzzle: str) -> str:
    """Solve a puzzle by trying, from the top left to the bottom right."""
    cells = [0 if cell == "." else int(cell) for cell in puzzle]
    rows, columns, boxes = ([set[int]() for _ in range(9)] for _ in range(3))
    for place, digit in enumerate(cells):
        if digit:
            rows[place // 9].add(digit)
            columns[place % 9].add(digit)
            boxes[place // 27 * 3 + place % 9 // 3].add(digit)

    def fill(place: int) -> bool:
        while place < 81 and cells[place]:
            place += 1
        if place == 81:
            return True
        row, column = rows[place // 9], columns[place % 9]
        box = boxes[place // 27 * 3 + place % 9 // 3]
        for digit in range(1, 10):
            if digit in row or digit in column or digit in box:
                continue
            cells[place] = digit
            row.add(digit), column.add(digit), box.add(digit)
            if fill(place + 1):
                return True
            row.discard(digit), column.discard(digit), box.discard(digit)
            cells[place] = 0
        return False

    return "".join(map(str, cells)) if fill(0) else ""


# A model that the first call loads


@cache
def model() -> dict[str, float]:
    """Load a language model, which takes 100 ms or so."""
    draw = random.Random(204)
    counts: dict[str, float] = {}
    for _ in range(110_000):
        trigram = "".join(draw.choices("etaoinshrdlu ", k=3))
        counts[trigram] = counts.get(trigram, 0.5) + 1.0
    return counts


def likelihood(text: str) -> float:
    """Score a text."""
    counts = model()
    score = 0.0
    for place in range(len(text) - 2):
        score += counts.get(text[place : place + 3], 0.5) / (1.0 + counts.get(text[place], 0.0))
    return score / len(text)


def texts(scale: float) -> list[str]:
    """Texts of 8,000 letters."""
    draw = random.Random(205)
    return ["".join(draw.choices("etaoinshrdlu ", k=8_000)) for _ in range(times(scale, 260))]


# Ways through a town, remembered by where they start

_SIDE = 72


@cache
def distances(start: int) -> list[int]:
    """Return how far all crossings are from one, by Dijkstra's algorithm."""
    far = [1 << 30] * (_SIDE * _SIDE)
    far[start] = 0
    heap = [(0, start)]
    while heap:
        distance, place = heapq.heappop(heap)
        if distance > far[place]:
            continue
        row, column = divmod(place, _SIDE)
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= row + down < _SIDE and 0 <= column + right < _SIDE:
                other = place + down * _SIDE + right
                longer = distance + 3 + (place * 7_919 + other * 104_729) % 11
                if longer < far[other]:
                    far[other] = longer
                    heapq.heappush(heap, (longer, other))
    return far


def trip(ends: tuple[int, int]) -> int:
    """How long a trip is."""
    start, end = ends
    return distances(start)[end]


def trips(scale: float) -> list[tuple[int, int]]:
    """Trips from some 90 depots to anywhere."""
    draw = random.Random(206)
    depots = [draw.randrange(_SIDE * _SIDE) for _ in range(times(scale, 90))]
    count = times(scale, 6_000)
    return [(draw.choice(depots), draw.randrange(_SIDE * _SIDE)) for _ in range(count)]


# Most calls compute, every tenth asks somebody


def collatz(number: int) -> int:
    """The longest chain among 500 numbers."""
    longest = 0
    for start in range(number, number + 500):
        steps, value = 0, start
        while value != 1:
            value = value // 2 if value % 2 == 0 else 3 * value + 1
            steps += 1
        longest = max(longest, steps)
    return longest


def look_up_or_compute(number: int) -> int:
    """Ask for every tenth, which takes 25 ms; compute the others."""
    if number % 10 == 9:
        time.sleep(25e-3)
        return number
    return collatz(1_000 + number)


def polled(scale: float) -> Iterator[int]:
    """Numbers from a source that takes a millisecond for each."""
    for number in range(times(scale, 280)):
        time.sleep(1e-3)
        yield 5_000 + 3 * number


WORKLOADS = {
    "growing fractions": Workload(
        harmonic, lambda scale: range(1, 1 + 4 * times(scale, 400), 4), True
    ),
    "Mandelbrot rows": Workload(
        mandelbrot_row, lambda scale: range(0, _HEIGHT, _HEIGHT // times(scale, _HEIGHT)), True
    ),
    "sudoku": Workload(solution, puzzles, True),
    "load model, score": Workload(likelihood, texts, True),
    "memoised routes": Workload(trip, trips, True),
    "every tenth waits": Workload(look_up_or_compute, lambda scale: range(times(scale, 200)), True),
    "slow generator": Workload(collatz, polled, True),
}
