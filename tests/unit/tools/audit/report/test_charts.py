"""Pictures: well-formed, self-contained, within their frame, the same bytes every time."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from xml.dom import minidom

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.audit.report.charts import (
    CONTRAST,
    LABEL_MAX,
    MARKS,
    MATRIX_MAX,
    SERIES,
    WIDTH,
    Bar,
    Stretch,
    draw_bars,
    draw_classes,
    draw_flows,
    draw_matrix,
    draw_stacks,
    draw_times,
)

HOSTILE = "<script>&\"'税务]]>"
NAMES = st.text(max_size=60)
COUNTS = st.integers(0, 10**9)


def texts(svg: str) -> list[str]:
    document = minidom.parseString(svg)
    return [node.firstChild.nodeValue for node in document.getElementsByTagName("text")
            if node.firstChild is not None]  # fmt: skip


def check_frame(svg: str) -> None:
    """Well-formed, and no box reaches out of the picture."""
    document = minidom.parseString(svg)
    root = document.documentElement
    assert root is not None
    width, height = (int(root.getAttribute(name)) for name in ("width", "height"))
    assert width == WIDTH
    for box in document.getElementsByTagName("rect"):
        x, y, wide, tall = (int(box.getAttribute(name)) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + wide <= width
        assert y + tall <= height


PICTURES: dict[str, Callable[[str], str]] = {
    "bars": lambda word: draw_bars(word, [Bar(word, 3, word), Bar("b", 0, "0")]),
    "stacks": lambda word: draw_stacks(word, [word, "b"], [(word, (1, 2)), ("c", (0, 0))]),
    "classes": lambda word: draw_classes(word, [word, "b"], [(word, (1, 2)), ("c", (0, 0))]),
    "matrix": lambda word: draw_matrix(word, [word, "b"], {(word, "b"): (1, word)}),
    "flows": lambda word: draw_flows(
        word, (word, "b"), {("x", "y"): 1, ("y", "x"): 2}, {"x": word, "y": "b"}
    ),
    "times": lambda word: draw_times(
        word, (word, "b"), (0, 9), [(word, [Stretch(-5, 3, SERIES[0]), Stretch(3, 99, SERIES[1])])]
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_words_of_others_stay_words(name: str) -> None:
    svg = PICTURES[name](HOSTILE)
    check_frame(svg)
    assert "<script" not in svg
    assert any(HOSTILE[:4] in text for text in texts(svg))
    root = minidom.parseString(svg).documentElement
    assert root is not None
    assert root.getAttribute("aria-label") == HOSTILE


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_needs_nothing_else_and_has_no_fractions(name: str) -> None:
    svg = PICTURES[name]("a")
    assert svg == PICTURES[name]("a")
    assert not re.search(r"href|url\(|<style|<image|@import|\bon\w+=", svg)
    for value in re.findall(r'\b(?:x|y|x1|y1|x2|y2|width|height)="([^"]*)"', svg):
        assert re.fullmatch(r"-?\d+", value), value


@given(st.lists(st.tuples(NAMES, COUNTS), max_size=8))
def test_bars_stay_in_their_frame(rows: list[tuple[str, int]]) -> None:
    check_frame(draw_bars("a", [Bar(name, value, str(value)) for name, value in rows]))


@given(st.lists(st.tuples(NAMES, st.lists(COUNTS, min_size=3, max_size=3)), max_size=8))
def test_stacks_and_classes_stay_in_their_frame(rows: list[tuple[str, list[int]]]) -> None:
    check_frame(draw_stacks("a", ["x", "y", "z"], rows))
    check_frame(draw_classes("a", ["x", "y", "z"], rows))


@given(st.dictionaries(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")),
                       st.integers(1, 10**6), max_size=20))  # fmt: skip
def test_flows_stay_in_their_frame(flows: dict[tuple[str, str], int]) -> None:
    svg = draw_flows("a", ("from", "to"), flows, dict(zip("abcdef", "ABCDEF", strict=True)))
    check_frame(svg)
    assert svg.count("<path") == len(flows)


@given(st.integers(0, 40))
def test_a_matrix_draws_as_many_members_as_fit(count: int) -> None:
    names = [f"member {at}" for at in range(count)]
    cells = {(asking, giving): (len(asking), "9/9") for asking in names for giving in names}
    svg = draw_matrix("a", names, cells)
    check_frame(svg)
    assert svg.count("<rect") == min(count, MATRIX_MAX) ** 2


@given(st.lists(st.tuples(st.integers(0, 10**13), st.integers(0, 10**13)), max_size=6))
def test_lines_of_time_stay_in_their_frame(pairs: list[tuple[int, int]]) -> None:
    stretches = [Stretch(min(pair), max(pair), SERIES[0]) for pair in pairs]
    svg = draw_times("a", ("x", "y"), (5 * 10**12, 6 * 10**12), [("line", stretches)])
    check_frame(svg)
    assert svg.count("<rect") == len(pairs)


@pytest.mark.parametrize("label", ["a" * 80, "税" * 80, "短", "mixed 混合" * 20])
def test_a_label_is_cut_to_its_place(label: str) -> None:
    (shown, _) = texts(draw_bars("a", [Bar(label, 1, "1")]))
    wide = sum(2 if ord(char) > 0x2E80 else 1 for char in shown)
    assert wide * 13 * 50 // 100 <= LABEL_MAX
    assert shown == label or (shown.endswith("…") and label.startswith(shown[:-1]))


# --- what a bar made of parts tells -----------------------------------------------------------


def lightness(colour: str) -> float:
    """L* of CIELAB, from 0 to 100: how grey a colour is on a print without colours."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    shine = sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 116 * shine ** (1 / 3) - 16


@pytest.mark.parametrize(("fills", "least"), [(CONTRAST, 20), (MARKS, 9)])
def test_parts_differ_on_a_grey_print(fills: tuple[str, ...], least: int) -> None:
    shades = sorted(map(lightness, fills))
    assert min(after - before for before, after in itertools.pairwise(shades)) >= least


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=1, max_size=5))
def test_every_part_of_a_bar_is_drawn_and_its_number_told(
    stacks: list[tuple[int, int, int]],
) -> None:
    """Three that were denied among a million are what a reader looks for."""
    svg = draw_stacks("t", ("a", "b", "c"), [("row", values) for values in stacks], CONTRAST)
    check_frame(svg)
    drawn = svg.count("<rect") - 3  # the legend has three
    assert drawn == sum(value > 0 for values in stacks for value in values)
    told = Counter(re.findall(r"[0-9]+", " ".join(texts(svg))))
    assert not Counter(str(value) for values in stacks for value in values if value) - told
