"""Lines of an access log against the ledger: whatever is changed afterwards is named."""

import re
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger.access.lines
from ledger.access.anchors import NO_ANCHOR, AccessLogged
from ledger.access.lines import (
    LINE_BYTES_MAX,
    NO_LINE,
    Anchor,
    Comparison,
    Line,
    Place,
    compare,
    encode_line,
    hash_line,
    parse_line,
)
from ledger.errors import InvalidEncoding

ONE = Line(
    n=1, previous=NO_LINE.hex(), at_ms=1_767_225_600_000, address="192.0.2.7", agent="curl/8",
    route="readEntry", ids={"index": "5"}, status=200,
)  # fmt: skip
PERIOD = 5


def chain(count: int, *, start: int = 1, before: bytes = NO_LINE, salt: str = "") -> list[bytes]:
    """Bytes of lines that follow one another; line n is written at n milliseconds."""
    lines = []
    for n in range(start, start + count):
        line = msgspec.structs.replace(
            ONE, n=n, previous=before.hex(), at_ms=n, ids={"index": f"{n}{salt}"}
        )
        lines.append(encode_line(line))
        before = hash_line(lines[-1])
    return lines


def anchors_of(lines: Sequence[bytes], period: int = PERIOD) -> list[Anchor]:
    """An anchor after every `period` lines."""
    found, previous = [], NO_ANCHOR
    for end in range(period, len(lines) + 1, period):
        digest = hash_line(lines[end - 1])
        body = AccessLogged(
            period_from_ms=end - period + 1, period_to_ms=end, entries=period,
            digest=digest, previous=previous,
        )  # fmt: skip
        found.append(Anchor(index=100 + end, body=body))
        previous = digest
    return found


def judge(
    lines: Sequence[bytes], anchors: Sequence[Anchor], *, kept_since_ms: int = 0
) -> Comparison:
    placed = [(Place(file="a", line=at), line) for at, line in enumerate(lines, start=1)]
    return compare(placed, anchors, kept_since_ms=kept_since_ms)


def named(found: Comparison) -> list[tuple[str, int, int]]:
    return [(fault.code, fault.first, fault.last) for fault in found.faults]


LINES = chain(17)
ANCHORS = anchors_of(LINES)


def test_worked_example_of_the_docstring() -> None:
    text = ledger.access.lines.__doc__ or ""
    shown = "".join(re.findall(r"^ +([{\"].*)$", text, re.MULTILINE))
    assert shown.encode() == encode_line(ONE)
    assert hash_line(encode_line(ONE)).hex().startswith("7e209a4a")
    assert "begins with 7e209a4a" in text
    assert parse_line(encode_line(ONE)) == ONE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        encode_line(ONE) + b" ",
        encode_line(ONE).replace(b'"n":1', b'"n":0'),
        encode_line(ONE).replace(b'"n":1', b'"n":1.0'),
        encode_line(ONE).replace(b'"status":200', b'"status":200,"more":1'),
        encode_line(ONE).replace(b"curl", b"c\\u0075rl"),
        encode_line(msgspec.structs.replace(ONE, ids={"x": "y" * LINE_BYTES_MAX})),
        # Every field is short enough, but not all of them together.
        encode_line(
            msgspec.structs.replace(
                ONE,
                ids={"\U00020000" * 120 + f"{n}": "" for n in range(8)},
                agent="\U00020000" * 128,
            )
        ),
        encode_line(msgspec.structs.replace(ONE, previous="00")),
    ],
)
def test_only_what_a_node_writes_is_a_line(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        parse_line(data)


def test_kept_lines_are_what_the_ledger_says() -> None:
    found = judge(LINES, ANCHORS)
    assert (found.lines, found.anchored, found.not_kept, found.faults) == (17, 15, 0, ())


def rewritten(lines: list[bytes]) -> list[bytes]:
    return [*lines[:6], lines[6].replace(b"192.0.2.7", b"192.0.2.8"), *lines[7:]]


def all_rewritten(lines: list[bytes]) -> list[bytes]:
    return [*lines[:6], *chain(11, start=7, before=hash_line(lines[5]), salt="0")]


def inserted(lines: list[bytes]) -> list[bytes]:
    return [*lines[:7], lines[6], *lines[7:]]


TAMPERED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], list[tuple[str, int, int]]]] = {
    "one line": (rewritten, [("line-rewritten", 7, 7)]),
    "one line and all after it": (
        all_rewritten,
        [("line-rewritten", 6, 10), ("line-rewritten", 11, 15)],
    ),
    "a line is gone": (lambda lines: [*lines[:6], *lines[7:]], [("line-missing", 7, 7)]),
    "the anchored end is gone": (lambda lines: lines[:12], [("line-missing", 11, 15)]),
    "all is gone": (
        lambda lines: [],
        [("line-missing", 1, 5), ("line-missing", 6, 10), ("line-missing", 11, 15)],
    ),
    "the beginning is gone": (
        lambda lines: lines[7:],
        [("line-missing", 1, 5), ("line-missing", 6, 7)],
    ),
    "a line is too many": (inserted, [("line-extra", 7, 7)]),
    "a line is none": (
        lambda lines: [*lines[:6], b"x", *lines[7:]],
        [("line-malformed", 7, 7)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_changed_is_named_by_its_numbers(name: str) -> None:
    change, faults = TAMPERED[name]
    assert named(judge(change(list(LINES)), ANCHORS)) == faults


def test_a_fault_names_its_file_and_line() -> None:
    fault = judge(rewritten(list(LINES)), ANCHORS).faults[0]
    assert fault.place == Place(file="a", line=7)


def test_an_anchor_that_counts_wrongly_is_named() -> None:
    body = msgspec.structs.replace(ANCHORS[1].body, entries=4)
    lying = [ANCHORS[0], Anchor(index=110, body=body), ANCHORS[2]]
    assert named(judge(LINES, lying)) == [("anchor-miscounted", 6, 10)]


def test_what_need_not_be_kept_any_more_is_no_fault() -> None:
    found = judge(LINES[7:], ANCHORS, kept_since_ms=8)
    assert (found.not_kept, found.faults) == (7, ())
    assert named(judge(LINES[7:], ANCHORS, kept_since_ms=6)) == [("line-missing", 6, 7)]


def test_the_end_must_be_there_whatever_its_age() -> None:
    assert named(judge(LINES[:12], ANCHORS, kept_since_ms=99)) == [("line-missing", 11, 15)]
    assert judge([], ANCHORS, kept_since_ms=99).faults == ()


def test_lines_that_no_anchor_covers_must_be_there_whatever_their_age() -> None:
    assert named(judge(LINES[16:], ANCHORS, kept_since_ms=99)) == [("line-missing", 16, 16)]
    assert named(judge(LINES[1:], (), kept_since_ms=99)) == [("line-missing", 1, 1)]


def test_a_folder_that_was_lost_shows_and_what_came_after_it_counts_anew() -> None:
    again = chain(PERIOD, salt="1")
    body = msgspec.structs.replace(
        ANCHORS[-1].body, digest=hash_line(again[-1]), previous=ANCHORS[-1].body.digest
    )
    found = judge(again, [*ANCHORS, Anchor(index=200, body=body)])
    assert named(found) == [
        ("line-rewritten", 1, 5), ("line-missing", 6, 10), ("line-missing", 11, 15),
    ]  # fmt: skip


@given(st.data())
def test_no_change_of_anchored_bytes_goes_unseen(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 14))
    line = LINES[at]
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != line[place]))
    changed = line[:place] + bytes([byte]) + line[place + 1 :]
    found = judge([*LINES[:at], changed, *LINES[at + 1 :]], ANCHORS)
    assert found.faults


@given(st.integers(1, 20), st.integers(1, 7))
def test_an_untouched_log_has_no_fault(count: int, period: int) -> None:
    lines = chain(count)
    found = judge(lines, anchors_of(lines, period))
    assert (found.faults, found.lines, found.anchored) == ((), count, count // period * period)
