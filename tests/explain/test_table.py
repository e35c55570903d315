"""Tables line up in a terminal, whatever the width of their characters."""

from __future__ import annotations

from poolwise.explain.table import columns, listed, paragraph, table, wrapped


def test_wide_characters_take_two_columns() -> None:
    rows = [["线程", "1 ms"], ["process", "40 ms"], ["子解释器", "–"]]
    lines = table(["种类", "time"], rows, left=[0]).splitlines()
    assert {columns(line) for line in lines} == {15}
    assert lines[1] == "线程       1 ms"


def test_labels_of_paragraphs_are_measured_too() -> None:
    assert paragraph("规则", ["a", "b"], indent=6) == ["规则  a", "      b"]


def test_lists_are_measured_too() -> None:
    assert listed(["一二三", "四五六"], width=14) == ["一二三", "四五六"]
    assert listed(["一二三", "四五六"], width=15) == ["一二三 · 四五六"]


def test_wrapping_keeps_every_character_and_the_width() -> None:
    text = "线程可以在等待 I/O 操作完成时释放 GIL，从而让其他线程运行（见“四”）。And a longword"
    for width in range(9, 60):
        lines = wrapped(text, width=width)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        assert all(columns(line) <= width + 4 for line in lines)  # a sign may hang over
        assert not any(line[0] in "，。）”" for line in lines)


def test_a_word_that_is_too_long_stands_alone() -> None:
    assert wrapped("a verylongword b", width=5) == ["a", "verylongword", "b"]
    assert wrapped("", width=5) == [""]
