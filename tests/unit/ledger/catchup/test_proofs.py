"""Windows, blocks and states: what is right is taken, and every single change of it is refused."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.blocks import HEADERS
from ledger.catchup.proofs import (
    STATE_KEY_BYTES_MAX,
    Assembly,
    StateSum,
    prove_window,
    read_index_keys,
    verify_window,
    window_size,
)
from ledger.errors import InvalidEncoding, InvalidProof
from ledger.events import BODY_TYPES, parse_event
from ledger.lthash.digest import StateDigest, hash_state, sum_pairs
from ledger.tlog.merkle import CompactRange, Hash, hash_leaf, hash_leaves, root_of
from tests.unit.ledger.builders import ChainBuilder, make_chain, make_event, make_record
from tests.unit.ledger.tlog.samples import NodeReader
from tests.vectors.ledger_cases import event_cases

SIZES = range(1, 70)


def tree(size: int) -> tuple[list[bytes], NodeReader, Hash]:
    entries = [b"entry %d" % index for index in range(size)]
    leaves = hash_leaves(entries)
    return entries, NodeReader(leaves), root_of(leaves)


def test_every_window_of_every_small_tree_is_proven() -> None:
    for size in SIZES:
        entries, reader, root = tree(size)
        for first in range(size):
            for most in (1, 2, 3, 8, 64):
                count = window_size(first, most, size)
                assert 1 <= count <= most
                proof = prove_window(reader, first, count, size)
                part = entries[first : first + count]
                assert verify_window(first, part, proof, size, root) == hash_leaves(part)


def test_no_other_window_passes() -> None:
    size = 53
    entries, reader, root = tree(size)
    for first, count in ((0, 16), (16, 16), (32, 16), (48, 5), (52, 1), (40, 8)):
        part, proof = entries[first : first + count], prove_window(reader, first, count, size)
        lies = [
            (first, part[:-1], proof, size, root),
            (first, [*part, b"one more"], proof, size, root),
            (first, [*part[1:], part[0]], proof, size, root) if count > 1 else None,
            (first, [b"other", *part[1:]], proof, size, root),
            (first + count, part, proof, size, root),
            (first, part, proof[:-1], size, root),
            (first, part, (*proof, bytes(32)), size, root),
            (first, part, (bytes(32), *proof[1:]), size, root),
            (first, part, proof, size, bytes(32)),
            (first, [], proof, size, root),
            (-count, part, proof, size, root),
        ]
        for lie in filter(None, lies):
            with pytest.raises(InvalidProof):
                verify_window(*lie)


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in BODY_TYPES}))
def test_index_keys_are_those_of_the_parsed_event(kind: str) -> None:
    data = event_cases()[kind]
    event = parse_event(data)
    assert read_index_keys(make_record(data)) == (event.digest, event.subject)


@pytest.mark.parametrize("data", [b"", b"\x80", make_record(b"no event"), b"\xff" * 40])
def test_what_is_no_record_of_an_event_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidEncoding):
        read_index_keys(data)


# --- blocks --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain() -> ChainBuilder:
    return make_chain((3, 0, 40, 1, 7))


def assembly(chain: ChainBuilder) -> Assembly:
    return Assembly(
        network=chain.network, tree=CompactRange(), header=None, block_hash=chain.network
    )


@pytest.mark.parametrize("step", [1, 2, 7, 64])
def test_blocks_come_out_as_they_went_in(chain: ChainBuilder, step: int) -> None:
    made = assembly(chain)
    blocks = []
    for at in range(0, len(chain.entries), step):
        part = chain.entries[at : at + step]
        blocks += made.add(part, hash_leaves(part))
        assert made.size == at + len(part)
    names = ("header_bytes", "header", "block_hash", "records", "leaf_hashes", "digests")
    for block, expected in zip(blocks, chain.blocks, strict=True):
        for name in (*names, "exchanges"):
            assert getattr(block, name) == getattr(expected, name)


def test_it_goes_on_from_a_block(chain: ChainBuilder) -> None:
    before = chain.blocks[1]
    made = Assembly(
        network=chain.network,
        tree=before.range,
        header=before.header,
        block_hash=before.block_hash,
    )
    rest = chain.entries[before.range.size :]
    assert [b.header for b in made.add(rest, hash_leaves(rest))] == [
        b.header for b in chain.blocks[2:]
    ]


FIELDS: dict[str, Callable[[ChainBuilder], dict[str, object]]] = {
    "network": lambda chain: {"network": bytes(32)},
    "height": lambda chain: {"height": 3},
    "parent": lambda chain: {"parent_hash": bytes(32)},
    "epoch": lambda chain: {"epoch": 1},
    "size": lambda chain: {"tree_size": 5},
    "root": lambda chain: {"tree_root": bytes(32)},
    "records root": lambda chain: {"records_root": bytes(32)},
    "time": lambda chain: {"time_ms": chain.blocks[0].header.time_ms},
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_block_that_does_not_follow_is_refused(name: str) -> None:
    chain = make_chain((3,))
    chain.add([make_event(9, network=chain.network)], **FIELDS[name](chain))
    with pytest.raises(InvalidProof):
        assembly(chain).add(chain.entries, hash_leaves(chain.entries))


def test_a_header_among_records_is_refused() -> None:
    chain = make_chain((1,))
    chain.add(records=(chain.entries[0],))
    with pytest.raises(InvalidProof, match="a header among its records"):
        assembly(chain).add(chain.entries, hash_leaves(chain.entries))


def test_a_header_that_is_not_canonical_is_refused(chain: ChainBuilder) -> None:
    header = msgspec.structs.replace(chain.blocks[0].header, version=1)
    data = HEADERS.encode(header) + b"\0"
    with pytest.raises(InvalidEncoding):
        assembly(chain).add([data], [hash_leaf(data)])


# --- state ---------------------------------------------------------------------------------------

PAIRS = st.dictionaries(st.binary(min_size=1, max_size=4), st.binary(max_size=6), max_size=30)


@given(pairs=PAIRS, cut=st.integers(min_value=0, max_value=30))
def test_a_whole_state_has_its_digest(pairs: dict[bytes, bytes], cut: int) -> None:
    ordered = sorted(pairs.items())
    total = StateSum(1_000)
    for part in (ordered[:cut], ordered[cut:]):
        total.check(part)
        total.count(sum_pairs(part))
    accumulator = total.finish(hash_state(ordered))
    assert StateDigest(accumulator).digest() == hash_state(ordered)


STATE = [(b"%02d" % number, b"value %d" % number) for number in range(20)]
LIES = {
    "a missing pair": STATE[:7] + STATE[8:],
    "the last missing": STATE[:-1],
    "nothing": [],
    "another value": [*STATE[:3], (b"03", b"other"), *STATE[4:]],
    "another key": [*STATE[:-1], (b"99", STATE[-1][1])],
    "one more pair": [*STATE, (b"99", b"")],
}
ILL_FORMED = {
    "a pair twice": [*STATE[:4], *STATE[3:]],
    "not in order": [STATE[1], STATE[0], *STATE[2:]],
    "an empty key": [(b"", b""), *STATE],
    "a long key": [*STATE, (b"z" * (STATE_KEY_BYTES_MAX + 1), b"")],
    "too many bytes": [*STATE, (b"z", bytes(1_000))],
}


@pytest.mark.parametrize("name", LIES)
def test_another_state_has_another_digest(name: str) -> None:
    total = StateSum(1_000)
    total.check(LIES[name])
    total.count(sum_pairs(LIES[name]))
    with pytest.raises(InvalidProof, match="not the state"):
        total.finish(hash_state(STATE))


@pytest.mark.parametrize("name", ILL_FORMED)
def test_pairs_that_no_state_has_are_refused(name: str) -> None:
    with pytest.raises(InvalidProof):
        StateSum(1_000).check(ILL_FORMED[name])
