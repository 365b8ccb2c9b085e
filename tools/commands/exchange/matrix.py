"""A matrix of ordered pairs as a picture: SVG that needs no other file, font or script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

CELL_WIDTH, CELL_HEIGHT = 92, 44
HEAD_HEIGHT, LABEL_WIDTH, MARGIN = 96, 190, 12
_WHITE_FROM = 55  # per cent of the largest value: darker cells have white words
_STYLE = (
    "text{font:13px system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;fill:#1b2733}"
    ".title{font-size:16px;font-weight:600}.small{font-size:11px}.middle{text-anchor:middle}.light{fill:#fff}"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place: a value that colours it, two lines, and a title for the pointer."""

    value: int
    first: str
    second: str
    title: str


def draw_matrix(
    title: str, legend: str, members: Sequence[str], cells: Mapping[tuple[str, str], Cell]
) -> str:
    """The picture: a row for each requester, a column for each provider."""
    width = 2 * MARGIN + LABEL_WIDTH + CELL_WIDTH * len(members)
    height = 2 * MARGIN + HEAD_HEIGHT + CELL_HEIGHT * len(members)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        _text(MARGIN, MARGIN + 16, title, "title"),
        _text(MARGIN, MARGIN + 36, legend, "small"),
    ]
    largest = max((cell.value for cell in cells.values()), default=0)
    for at, name in enumerate(members):
        x, y = _corner(at, at)
        parts.append(_text(MARGIN, y + CELL_HEIGHT // 2 + 5, name, ""))
        head = (x + CELL_WIDTH // 2, MARGIN + HEAD_HEIGHT - 8)
        parts.append(_text(*head, _short(name), "small middle"))
    for row, requester in enumerate(members):
        for column, provider in enumerate(members):
            cell = None if row == column else cells.get((requester, provider))
            parts += _draw_cell(_corner(row, column), cell, largest, is_own=row == column)
    return "\n".join([*parts, "</svg>", ""])


def _draw_cell(
    corner: tuple[int, int], cell: Cell | None, largest: int, *, is_own: bool
) -> list[str]:
    x, y = corner
    share = cell.value * 100 // largest if cell is not None and largest else 0
    fill = "#e8ebee" if is_own else _shade(share) if cell is not None else "#fff"
    box = (
        f'<rect x="{x}" y="{y}" width="{CELL_WIDTH}" height="{CELL_HEIGHT}" '
        f'fill="{fill}" stroke="#c9d1d8"'
    )
    if cell is None:
        return [box + "/>"]
    light = " light" if share >= _WHITE_FROM else ""
    middle = x + CELL_WIDTH // 2
    lines = [(y + 19, cell.first, ""), (y + 35, cell.second, " small")]
    return [f"<g><title>{escape(cell.title)}</title>{box}/>"] + [
        _text(middle, line, words, f"middle{size}{light}") for line, words, size in lines
    ] + ["</g>"]  # fmt: skip


def _corner(row: int, column: int) -> tuple[int, int]:
    x = MARGIN + LABEL_WIDTH + column * CELL_WIDTH
    return x, MARGIN + HEAD_HEIGHT + row * CELL_HEIGHT


def _shade(share: int) -> str:
    """From a light to a dark blue; zero stays nearly white."""
    light, dark = (241, 246, 250), (20, 78, 122)
    mixed = (low + (high - low) * share // 100 for low, high in zip(light, dark, strict=True))
    return "#" + bytes(mixed).hex()


def _text(x: int, y: int, words: str, style: str) -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x}" y="{y}"{named}>{escape(words)}</text>'


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"
