"""Shares: any k of n restore, fewer do not, every change is seen."""

import dataclasses
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic.share import Share

from tools.custody.shares import KeyShare, combine_shares, parse_share, split_secret
from tools.exits import ToolError

SECRET = bytes(range(32))
FROZEN = Path(__file__).parents[3] / "vectors" / "custody" / "shares"


def parse(texts: tuple[str, ...]) -> list[KeyShare]:
    return [parse_share(text.encode(), "share") for text in texts]


def code_of(shares: list[KeyShare]) -> str:
    with pytest.raises(ToolError) as caught:
        combine_shares(shares)
    assert SECRET.hex() not in caught.value.detail
    return caught.value.code


def parse_code(data: bytes) -> str:
    with pytest.raises(ToolError) as caught:
        parse_share(data, "name of the file")
    assert caught.value.detail == "name of the file"
    return caught.value.code


def test_the_frozen_set_restores_from_any_three() -> None:
    shares = [parse_share(path.read_bytes(), "") for path in sorted(FROZEN.glob("*.txt"))]
    assert [share.number for share in shares] == [1, 2, 3, 4, 5]
    for chosen in combinations(shares, 3):
        assert combine_shares(chosen) == SECRET


@settings(max_examples=15, deadline=None)
@given(
    secret=st.binary(min_size=32, max_size=32),
    threshold=st.integers(2, 5),
    more=st.integers(0, 3),
    data=st.data(),
)
def test_enough_restore_and_fewer_do_not(
    secret: bytes, threshold: int, more: int, data: st.DataObject
) -> None:
    shares = parse(split_secret(secret, "ed25519", threshold=threshold, shares=threshold + more))
    order = data.draw(st.permutations(shares))
    assert combine_shares(order[:threshold]) == secret
    assert combine_shares(order) == secret
    for few in (order[: threshold - 1], order[:1] * threshold, []):
        assert code_of(few) == "shares-too-few"


def test_a_tls_key_has_shares_too() -> None:
    assert combine_shares(parse(split_secret(SECRET, "p256", threshold=2, shares=2))) == SECRET


def test_shares_of_two_backups_do_not_mix() -> None:
    one, two = (parse(split_secret(SECRET, "ed25519", threshold=2, shares=3)) for _ in range(2))
    assert code_of([one[0], two[1]]) == "shares-mixed"


def test_a_head_that_names_another_key_is_found_out() -> None:
    texts = split_secret(SECRET, "ed25519", threshold=2, shares=2)
    other = split_secret(SECRET[::-1], "ed25519", threshold=2, shares=2)
    line, instead = (text[0].split("\n")[1] for text in (texts, other))
    forged = tuple(text.replace(line, instead) for text in texts)
    assert code_of(parse(forged)) == "shares-mixed"


@given(place=st.integers(0, 32), word=st.sampled_from(["academic", "zero", "nonsense"]))
def test_a_wrong_word_is_seen(place: int, word: str) -> None:
    text = (FROZEN / "1.txt").read_text()
    head, _, words = text.partition("words:\n")
    listed = words.split()
    changed = [*listed[:place], word, *listed[place + 1 :]]
    data = f"{head}words:\n{' '.join(changed)}\n".encode()
    if changed == listed:
        parse_share(data, "")
    else:
        assert parse_code(data) == "share-damaged"


def test_a_share_that_would_cost_minutes_is_refused() -> None:
    """The exponent says how long restoring takes; ours is 0, and a hostile one is not tried."""
    text = (FROZEN / "1.txt").read_text()
    head, _, words = text.partition("words:\n")
    share = Share.from_mnemonic(" ".join(words.split()))
    for change in ({"iteration_exponent": 15}, {"group_count": 2}, {"value": share.value[:16]}):
        mnemonic = dataclasses.replace(share, **change).mnemonic()
        assert parse_code(f"{head}words:\n{mnemonic}\n".encode()) == "share-damaged"


def test_words_may_be_typed_from_paper() -> None:
    text = (FROZEN / "1.txt").read_text()
    head, _, words = text.partition("words:\n")
    typed = f"{head}words:\n{'  '.join(words.split()).upper()}".replace("\n", "\r\n")
    assert parse_share(typed.encode(), "") == parse_share(text.encode(), "")


def test_what_is_no_share() -> None:
    text = (FROZEN / "1.txt").read_text()
    for data in (
        b"",
        b"\xff",
        text.encode() * 20,
        text.replace("words:", "word:").encode(),
        text.replace("ed25519:", "rsa:").encode(),
        text.replace("share 1", "share 001").encode(),
    ):
        assert parse_code(data) == "share-invalid"
    for one, other in (("share 1 of", "share 2 of"), ("any 3", "any 2")):
        assert parse_code(text.replace(one, other).encode()) == "share-damaged"


@pytest.mark.parametrize(("threshold", "shares"), [(1, 3), (4, 3), (2, 17), (0, 0)])
def test_numbers_that_do_not_go_together(threshold: int, shares: int) -> None:
    with pytest.raises(ToolError) as caught:
        split_secret(SECRET, "ed25519", threshold=threshold, shares=shares)
    assert caught.value.code == "shares-count"
