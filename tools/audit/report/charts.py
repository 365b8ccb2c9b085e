"""Pictures as SVG: pure functions from numbers and words to text, the same bytes every time.

Every picture is as wide as the text of a page, brings no style sheet, font or script, says its
numbers in words too, and can be told apart without colours. Coordinates are whole numbers.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from tools.output import printable

WIDTH = 680
ROW, GAP = 24, 8
LABEL, LABEL_MAX = 190, 400  # room for the labels at the left, as much as the longest needs
INK, PALE, LINE, BLUE = "#1b2733", "#e8ebee", "#c9d1d8", "#144e7a"
# Dark to light, so that they differ in grey as well.
SERIES = ("#144e7a", "#4d8fc0", "#a9cfe6", "#d98f33", "#b3402f", "#7a7f85")
DARK = frozenset({"#144e7a", "#b3402f", "#8f2318"})  # white words on these
# From the worst to the best, and good beside bad: no two are alike on a grey print.
MARKS = ("#8f2318", "#e0a24a", "#e8ebee", "#a9cfe6", "#4d8fc0")
CONTRAST = ("#4d8fc0", "#f2c879", "#8f2318")
_THIN = frozenset(" .,:;'|!()[]-·ijlIftr")
FONTS = "system-ui, 'Noto Sans CJK SC', 'Microsoft YaHei', 'WenQuanYi Zen Hei', sans-serif"
MATRIX_MAX = 16
FLOW_EDGE_MAX = 260
CELL = 48  # a cell of a matrix that has room for its words


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a list: its label, its length, and what is written behind it."""

    label: str
    value: int
    text: str
    fill: str = BLUE


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a line of time, from one moment to another; `fill` is its colour."""

    start_ms: int
    end_ms: int
    fill: str


def draw_bars(title: str, bars: Sequence[Bar], *, maximum: int | None = None) -> str:
    """A list of bars, one below the other; the longest reaches to the edge, or `maximum` does."""
    largest = maximum or max((bar.value for bar in bars), default=0)
    label = _room([bar.label for bar in bars])
    room = WIDTH - label - 90
    parts: list[str] = []
    for row, bar in enumerate(bars):
        y = row * ROW
        length = max(bar.value * room // largest, 1) if bar.value and largest else 0
        parts.append(_text(0, y + 16, _fit(bar.label, label - 10)))
        parts.append(_box(label, y + 4, length, ROW - GAP, bar.fill))
        parts.append(_text(label + length + 6, y + 16, bar.text))
    return _picture(title, len(bars) * ROW, parts)


def draw_stacks(
    title: str,
    legend: Sequence[str],
    stacks: Sequence[tuple[str, Sequence[int]]],
    fills: Sequence[str] = SERIES,
) -> str:
    """Bars made of parts, one part for each word of the legend, all to the same scale.

    A part has its number in it; those of a bar with a part too short for it stand behind the bar.
    """
    largest = max((sum(values) for _, values in stacks), default=0)
    left = _room([label for label, _ in stacks])
    room = WIDTH - left - 60

    def has_hidden(values: Sequence[int]) -> bool:
        return any(value and not _has_room(value, value * room // largest) for value in values)

    if any(has_hidden(values) for _, values in stacks):
        longest = max(text_width(_add_up(values), 13) for _, values in stacks)
        room = max(WIDTH - left - longest - 8, WIDTH // 4)
    parts = list(_legend(legend, fills, left))
    for row, (label, values) in enumerate(stacks):
        y, x = (row + 1) * ROW + 4, left
        parts.append(_text(0, y + 16, _fit(label, left - 10)))
        for at, value in enumerate(values):
            length = max(value * room // largest, 1) if value else 0
            if length:
                parts.append(_box(x, y + 4, length, ROW - GAP, fills[at]))
                if _has_room(value, length):
                    ink = "#fff" if fills[at] in DARK else INK
                    parts.append(_text(x + length // 2, y + 16, str(value), fill=ink, middle=True))
            x += length
        words = _add_up(values) if has_hidden(values) else str(sum(values))
        parts.append(_text(x + 6, y + 16, words))
    return _picture(title, (len(stacks) + 1) * ROW + 4, parts)


def _has_room(value: int, length: int) -> bool:
    """Whether a part of a bar can hold its number."""
    return length > 9 * len(str(value))


def _add_up(values: Sequence[int]) -> str:
    return f"{sum(values)} = {' + '.join(map(str, values))}"


def draw_classes(
    title: str, classes: Sequence[str], panels: Sequence[tuple[str, Sequence[int]]]
) -> str:
    """Distributions side by side, two in a row: a column for each class with its number."""
    width, height, base = WIDTH // 2 - 10, 150, 96
    column = width // len(classes)
    parts = []
    for at, (name, values) in enumerate(panels):
        left, top = at % 2 * (WIDTH // 2 + 10), at // 2 * height
        largest = max(values, default=0)
        parts.append(_text(left, top + 14, _fit(name, width), bold=True))
        bottom = top + base + 20
        for place, (label, value) in enumerate(zip(classes, values, strict=True)):
            x = left + place * column
            tall = max(value * (base - 24) // largest, 1) if value else 0
            parts.append(_box(x + 3, bottom - tall, column - 6, tall, BLUE))
            if value:
                number = _text(x + column // 2, bottom - tall - 4, str(value), size=11, middle=True)
                parts.append(number)
            parts.append(_text(x + column // 2, bottom + 14, label, size=10, middle=True))
        parts.append(_line(left, bottom, left + width, bottom))
    return _picture(title, (len(panels) + 1) // 2 * height, parts)


def draw_matrix(
    title: str, names: Sequence[str], cells: Mapping[tuple[str, str], tuple[int, str]]
) -> str:
    """A square of names: rows ask, columns answer. A cell has a value, which shades it, and text.

    Columns are headed by the number of their row. Of more names than fit, the first are drawn.
    """
    shown = names[:MATRIX_MAX]
    labels = [f"{at}  {name}" for at, name in enumerate(shown, start=1)]
    left = min(_room(labels), max(WIDTH - CELL * len(shown), LABEL))
    side = min((WIDTH - left) // max(len(shown), 1), 90)
    tall = min(side, 30)
    largest = max((value for value, _ in cells.values()), default=0)
    parts = []
    for at, label in enumerate(labels):
        x, y = left + at * side, 22 + at * tall
        parts.append(_text(x + side // 2, 14, str(at + 1), middle=True))
        parts.append(_text(0, y + tall // 2 + 5, _fit(label, left - 10)))
    for row, asking in enumerate(shown):
        for column, giving in enumerate(shown):
            x, y = left + column * side, 22 + row * tall
            value, text = cells.get((asking, giving), (0, ""))
            share = value * 100 // largest if largest else 0
            fill = PALE if row == column else _shade(share)
            parts.append(_box(x, y, side, tall, fill, stroke=LINE))
            ink = "#fff" if share >= 55 else INK
            size = 12 if side > 40 else 9
            words = _fit(text, side - 2, size=size)
            parts.append(
                _text(x + side // 2, y + tall // 2 + 4, words, fill=ink, size=size, middle=True)
            )
    return _picture(title, 24 + len(shown) * tall, parts)


def draw_flows(
    title: str,
    heads: tuple[str, str],
    flows: Mapping[tuple[str, str], int],
    names: Mapping[str, str],
) -> str:
    """Bands from the sources at the left to the targets at the right, as thick as they are many."""
    total = sum(flows.values())
    edge = min(_room([f"{name} · {total}" for name in names.values()]), FLOW_EDGE_MAX)
    parts = [_text(0, 14, heads[0], bold=True), _text(WIDTH, 14, heads[1], bold=True, end=True)]
    thick = {pair: max(value * 220 // total, 2) for pair, value in flows.items()} if total else {}
    sides = tuple(_sums(thick, side) for side in (0, 1))
    tops = tuple(_tops(sums) for sums in sides)
    ends: list[dict[str, int]] = [dict(side) for side in tops]
    for (source, target), value in flows.items():
        band = thick[source, target]
        start, end = ends[0][source] + band // 2, ends[1][target] + band // 2
        ends[0][source] += band
        ends[1][target] += band
        words = f"{names[source]} → {names[target]}: {value}"
        curve = f"M{edge},{start} C{WIDTH // 2},{start} {WIDTH // 2},{end} {WIDTH - edge},{end}"
        parts.append(
            f'<path d="{curve}" fill="none" stroke="{SERIES[1]}" stroke-opacity="0.55" '
            f'stroke-width="{band}"><title>{_escape(words)}</title></path>'
        )
    for side, x in ((0, edge - 8), (1, WIDTH - edge)):
        for name, size in sides[side].items():
            many = sum(value for pair, value in flows.items() if pair[side] == name)
            y = tops[side][name]
            parts.append(_box(x, y, 8, size, BLUE))
            number = f" · {many}"
            words = _fit(names[name], edge - 14 - text_width(number, 13)) + number
            at, is_end = (edge - 14, True) if side == 0 else (WIDTH - edge + 14, False)
            parts.append(_text(at, y + size // 2 + 5, words, end=is_end))
    bottom = max((tops[side][name] + size for side in (0, 1) for name, size in sides[side].items()),
                 default=20)  # fmt: skip
    return _picture(title, bottom + 10, parts)


def draw_times(
    title: str,
    ends: tuple[str, str],
    span: tuple[int, int],
    lines: Sequence[tuple[str, Sequence[Stretch]]],
) -> str:
    """Lines of time below each other within `span`; `ends` are the words for its two ends."""
    start_ms, end_ms = span
    left = _room([label for label, _ in lines])
    room = WIDTH - left - 10
    whole = max(end_ms - start_ms, 1)

    def place(time_ms: int) -> int:
        return left + (min(max(time_ms, start_ms), end_ms) - start_ms) * room // whole

    parts = [
        _text(left, 14, ends[0], size=11),
        _text(left + room, 14, ends[1], size=11, end=True),
    ]
    for row, (label, stretches) in enumerate(lines):
        y = (row + 1) * ROW
        parts.append(_text(0, y + 16, _fit(label, left - 10)))
        parts.append(_line(left, y + 12, left + room, y + 12))
        for each in stretches:
            x = place(each.start_ms)
            parts.append(_box(x, y + 5, max(place(each.end_ms) - x, 3), ROW - GAP - 2, each.fill))
    return _picture(title, (len(lines) + 1) * ROW, parts)


def _sums(thick: Mapping[tuple[str, str], int], side: int) -> dict[str, int]:
    sums: dict[str, int] = {}
    for pair, size in thick.items():
        sums[pair[side]] = sums.get(pair[side], 0) + size
    return sums


def _tops(sums: Mapping[str, int]) -> dict[str, int]:
    """Where each begins, at least a line of text apart."""
    tops, y = {}, 26
    for name, size in sums.items():
        tops[name] = y
        y += max(size, 14) + 10
    return tops


def _room(labels: Sequence[str]) -> int:
    """Pixels for the labels at the left: what the longest needs, within bounds."""
    longest = max((text_width(label, 13) for label in labels), default=0)
    return min(max(longest + 12, LABEL), LABEL_MAX)


def _legend(words: Sequence[str], fills: Sequence[str], left: int) -> Iterator[str]:
    x = left
    for at, word in enumerate(words):
        yield _box(x, 4, 12, 12, fills[at])
        yield _text(x + 17, 15, word, size=12)
        x += 17 + text_width(word, 12) + 18


def _picture(title: str, height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {max(height, 1)}" '
        f'width="{WIDTH}" height="{max(height, 1)}" role="img" '
        f'aria-label={quoteattr(printable(title))} font-family="{FONTS}" font-size="13">'
    )
    return "\n".join([head, *parts, "</svg>"])


def _box(x: int, y: int, width: int, height: int, fill: str, *, stroke: str = "") -> str:
    edge = f' stroke="{stroke}"' if stroke else ""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"{edge}/>'


def _line(x: int, y: int, x2: int, y2: int) -> str:
    return f'<line x1="{x}" y1="{y}" x2="{x2}" y2="{y2}" stroke="{LINE}"/>'


def _text(
    x: int,
    y: int,
    words: str,
    *,
    fill: str = INK,
    size: int = 13,
    bold: bool = False,
    middle: bool = False,
    end: bool = False,
) -> str:
    more = "" if size == 13 else f' font-size="{size}"'
    more += ' font-weight="bold"' if bold else ""
    more += ' text-anchor="middle"' if middle else ' text-anchor="end"' if end else ""
    return f'<text x="{x}" y="{y}" fill="{fill}"{more}>{_escape(words)}</text>'


def _escape(words: str) -> str:
    """Text for XML, which knows no control characters; the names of members may have some."""
    return escape(printable(words))


def _shade(share: int) -> str:
    """From nearly white to a dark blue, by per cent."""
    light, dark = (246, 249, 252), (20, 78, 122)
    mixed = (low + (high - low) * share // 100 for low, high in zip(light, dark, strict=True))
    return "#" + bytes(mixed).hex()


def _fit(words: str, width: int, *, size: int = 13) -> str:
    """The words, cut so that they fit into so many pixels."""
    if text_width(words, size) <= width:
        return words
    while words and text_width(words + "…", size) > width:
        words = words[:-1]
    return words + "…" if words else ""


def text_width(words: str, size: int) -> int:
    """Pixels of words in a wide font, so that they fit in a narrow one too."""
    return sum(map(_hundredths, words)) * size // 100


def _hundredths(char: str) -> int:
    """Width of a character in hundredths of its height."""
    if char in _THIN:
        return 40
    if unicodedata.east_asian_width(char) in "WF" or char in "mwMW…":
        return 100
    return 78 if char.isupper() else 65
