"""Result files and their join: what is missing, double or contradictory is named."""

import itertools
import random
from pathlib import Path

import msgspec
import pytest

from ledger.keys import SecretKey
from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.tools.audit.copies import HEIGHTS, make_part
from tools.audit.divergence import Fault
from tools.audit.results import Result, join, join_run, read_result, sign_result
from tools.audit.segments import replay_one
from tools.exits import InvalidInput

KEY = SecretKey(b"a" * 32)
FAULT = Fault(step=9, name="outcomes", entry=7, expected="permit", found="deny")


@pytest.fixture(scope="module")
def parts(log: Governed, stated: Path) -> dict[tuple[int, int], Result]:
    """The result of every part."""
    ends = itertools.combinations(range(HEIGHTS + 1), 2)
    return {
        (first, last): replay_one(make_part(stated, log.chain.genesis, first, last))
        for first, last in ends
    }


@pytest.fixture
def result(parts: dict[tuple[int, int], Result]) -> Result:
    return parts[2, 5]


# --- files ----------------------------------------------------------------------------------------


def test_a_signed_result_is_read_back(result: Result) -> None:
    signed = read_result(sign_result(result, KEY), "file")
    assert signed.result == result
    assert signed.auditor == f"ed25519:{KEY.public[1:].hex()}"


def test_every_changed_byte_of_a_file_is_refused(result: Result) -> None:
    data = sign_result(result, KEY)
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(InvalidInput) as caught:
            read_result(changed, "file")
        assert caught.value.code == "segment-file-invalid"


def test_a_result_has_one_form(result: Result) -> None:
    """Space that JSON allows is not signed: who adds it makes another file of the same result."""
    data = sign_result(result, KEY)
    for changed in (data + b"\n", b" " + data, data.replace(b":", b": ", 1)):
        with pytest.raises(InvalidInput) as caught:
            read_result(changed, "file")
        assert caught.value.code == "segment-file-invalid"


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[" * 100_000, b" " * ((1 << 20) + 1), b"\xff", b"null"]
)
def test_what_is_no_result_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_result(data, "file")
    assert caught.value.code == "segment-file-invalid"
    assert caught.value.detail.startswith("file: ")


def test_a_result_is_valid_or_has_a_fault(result: Result) -> None:
    for lie in ({"last": None}, {"fault": FAULT}):
        data = sign_result(msgspec.structs.replace(result, **lie), KEY)
        with pytest.raises(InvalidInput, match="valid or has a fault"):
            read_result(data, "file")


# --- join -----------------------------------------------------------------------------------------


def test_any_parts_that_follow_each_other_are_the_whole(
    parts: dict[tuple[int, int], Result],
) -> None:
    whole = parts[0, HEIGHTS]
    chance = random.Random(4)
    for count in range(HEIGHTS):
        for cuts in itertools.combinations(range(1, HEIGHTS), count):
            ends = [0, *cuts, HEIGHTS]
            chosen = [parts[pair] for pair in itertools.pairwise(ends)]
            chance.shuffle(chosen)
            joined = join(chosen)
            assert joined.whole == msgspec.structs.replace(whole, to_height=0)
            assert (joined.gaps, joined.overlaps, joined.contradictions) == ((), (), ())


@pytest.mark.parametrize("name", ["events", "permit", "review", "deny", "refused"])
def test_what_parts_counted_adds_up(parts: dict[tuple[int, int], Result], name: str) -> None:
    pairs = itertools.pairwise([0, 2, 5, HEIGHTS])
    chosen = [
        msgspec.structs.replace(parts[pair], **{name: count})
        for pair, count in zip(pairs, (100, 20, 3), strict=True)
    ]
    assert getattr(join(chosen).whole, name) == 123


def test_what_is_left_out_is_a_gap(parts: dict[tuple[int, int], Result]) -> None:
    ends = [0, 2, 3, 6, HEIGHTS]
    pairs = list(itertools.pairwise(ends))
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(pairs, count) for count in range(1, len(pairs))
    ):
        joined = join([parts[pair] for pair in chosen])
        missing = [height for pair in pairs if pair not in chosen for height in range(*pair)]
        named = [height for first, last in joined.gaps for height in range(first, last or HEIGHTS)]
        assert joined.whole is None
        assert named == missing


def test_the_same_part_by_two_is_no_overlap(parts: dict[tuple[int, int], Result]) -> None:
    joined = join([parts[0, 4], parts[4, 8], parts[0, 4]])
    assert joined.whole is not None
    assert not joined.overlaps


def test_an_overlap_is_named_and_does_no_harm(parts: dict[tuple[int, int], Result]) -> None:
    joined = join([parts[0, 4], parts[4, 8], parts[3, 5], parts[0, 2]])
    assert joined.whole is not None
    assert joined.overlaps == ((0, 2), (3, 5))


def test_parts_that_only_overlap_do_not_join(parts: dict[tuple[int, int], Result]) -> None:
    joined = join([parts[0, 5], parts[4, 8]])
    assert joined.whole is None
    assert joined.gaps == ((5, 0),)
    assert joined.overlaps == ((4, 8),)


def moved(result: Result, which: str, **lies: object) -> Result:
    place = msgspec.structs.replace(getattr(result, which), **lies)
    return msgspec.structs.replace(result, **{which: place})


def test_contradictions_are_named(parts: dict[tuple[int, int], Result]) -> None:
    whole = [parts[0, 4], parts[4, 8]]
    lies = {
        "height 4: block": moved(whole[0], "last", block="0" * 64),
        "height 4: ": moved(whole[0], "last", entries=3),
        "state 00": moved(whole[1], "first", state="0" * 64),
        "counts differ": msgspec.structs.replace(whole[0], permit=9),
        "root ": msgspec.structs.replace(whole[0], root="0" * 64),
    }
    for words, lie in lies.items():
        joined = join([*whole, lie])
        assert joined.whole is None
        assert any(words in each for each in joined.contradictions), words


def test_a_fault_is_no_gap_that_may_be_filled(parts: dict[tuple[int, int], Result]) -> None:
    entry = parts[2, 4].first.entries + 1
    fault, later = (msgspec.structs.replace(FAULT, entry=entry + at) for at in (0, 1))
    faulty = msgspec.structs.replace(parts[2, 4], last=None, fault=fault)
    joined = join([parts[0, 2], msgspec.structs.replace(faulty, fault=later), faulty, parts[4, 8]])
    assert joined.whole is None
    assert (joined.fault, joined.contradictions) == (fault, ())
    joined = join([parts[0, 2], faulty, parts[2, 4], parts[4, 8]])
    assert joined.whole is None
    assert joined.fault == fault
    assert joined.contradictions == (f"entry {entry}: step 9 / valid",)


def test_results_about_different_logs_are_not_joined(
    parts: dict[tuple[int, int], Result],
) -> None:
    for lie in ({"network": "0" * 64}, {"size": 1}):
        with pytest.raises(InvalidInput) as caught:
            join([parts[0, 4], msgspec.structs.replace(parts[4, 8], **lie)])
        assert caught.value.code == "segments-mixed"


def test_parts_of_a_run_that_do_not_meet_are_named(
    parts: dict[tuple[int, int], Result],
) -> None:
    size = parts[2, 4].size
    assert join_run([parts[2, 4], parts[4, 5]], size).whole is not None
    assert join_run([parts[2, 4], parts[5, 6]], size).whole is None


def test_a_part_of_a_copy_that_has_moved_on_contradicts_nobody(
    parts: dict[tuple[int, int], Result],
) -> None:
    later = msgspec.structs.replace(parts[4, 5], size=parts[4, 5].size + 9, root="ab" * 32)
    with pytest.raises(InvalidInput) as caught:
        join_run([parts[2, 4], later], parts[2, 4].size)
    assert caught.value.code == "copy-changed"
