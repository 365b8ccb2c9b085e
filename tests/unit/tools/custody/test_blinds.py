"""The file of blinds, and what it opens."""

import msgspec
import pytest

from tools.commands.exchange.subjects import check_openings
from tools.custody.blinds import blind_subjects, decode_blinds, encode_blinds
from tools.exits import InvalidAnswer

NAMES = tuple(f"9133010{number:011}" for number in range(40))


def test_a_file_gives_back_what_it_was_made_of() -> None:
    blinded = blind_subjects(NAMES)
    assert decode_blinds(encode_blinds(blinded)) == blinded
    assert {each.subject for each in blinded} == set(NAMES)


def test_the_order_of_commitments_tells_nothing_of_the_order_of_names() -> None:
    blinded = blind_subjects(NAMES)
    assert [each.commitment for each in blinded] == sorted(each.commitment for each in blinded)
    assert [each.subject for each in blinded] != list(NAMES)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"subject": "", "blind": "' + b"0" * 64 + b'"}',
        b'{"subject": "a", "blind": "' + b"0" * 63 + b'"}',
        b'{"subject": "a", "blind": "' + b"G" * 64 + b'"}',
        b'{"subject": "a", "blind": "' + b"0" * 64 + b'", "more": 1}',
        b"[" * 100,
    ],
)
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_blinds(encode_blinds(blind_subjects(NAMES)) + line)


def test_blinds_open_exactly_their_exchange() -> None:
    blinded = blind_subjects(NAMES)
    commitments = tuple(each.commitment for each in blinded)
    check_openings(commitments, tuple(reversed(blinded)))
    others = blind_subjects(NAMES)
    for wrong in (others, blinded[1:], (*blinded, others[0]), (*blinded[1:], others[0])):
        with pytest.raises(InvalidAnswer) as refused:
            check_openings(commitments, wrong)
        assert refused.value.code == "subjects-differ"
