"""The state after one block as a file, so that executing can go on from there.

Format. Parts, each the length of its bytes (4 bytes, big-endian) and canonical bytes:

    head        `StateHead`: the network, and the block by its height and its header's entry
    pairs       state keys and values in rising order of the keys, in as many parts as it takes
    pairs       an empty part: the end

A file proves nothing. It is believed when its pairs sum up to the state digest in the header of
that block, which is proven in the log: `read_state` checks the sum, the caller the header.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from ledger.catchup.proofs import StateSum
from ledger.codec import Codec, Value
from ledger.errors import InvalidEncoding
from ledger.lthash.digest import sum_pairs
from ledger.scalars import Hash32, Uint
from ledger.state import MapState

PART_PAIRS_MAX = 4_096
PART_BYTES = 1 << 20
# A part ends with the value that fills it, and one value may be large.
PART_BYTES_MAX = 1 << 25
# More has no state: ten times what exchanges need, and room for a large genesis.
STATE_BYTES_PER_ENTRY = 4_096
STATE_BYTES_BASE = 64 * 1024 * 1024

_LENGTH_BYTES = 4

Pair: TypeAlias = tuple[bytes, bytes]


class StateHead(Value, frozen=True, kw_only=True):
    """After which block: its height, and the entry that is its header."""

    version: Literal[1]
    network: Hash32
    height: Annotated[int, Meta(ge=1)]
    index: Uint


_HEADS = Codec(StateHead, size_bytes_max=1_024)
_PARTS: Codec[tuple[Pair, ...]] = Codec(tuple[Pair, ...], size_bytes_max=PART_BYTES_MAX)


def write_state(head: StateHead, pairs: Iterable[Pair]) -> Iterator[bytes]:
    """The bytes of a file, piece by piece; `pairs` rise by key."""
    yield _framed(_HEADS.encode(head))
    part: list[Pair] = []
    size_bytes = 0
    for key, value in pairs:
        part.append((key, value))
        size_bytes += len(key) + len(value)
        if len(part) == PART_PAIRS_MAX or size_bytes >= PART_BYTES:
            yield _framed(_PARTS.encode(tuple(part)))
            part, size_bytes = [], 0
    if part:
        yield _framed(_PARTS.encode(tuple(part)))
    yield _framed(_PARTS.encode(()))


def read_head(read: Callable[[int], bytes]) -> StateHead:
    """The head of a file; `read` gives the next so many bytes. Raises `InvalidEncoding`."""
    return _HEADS.decode(_read_part(read, _HEADS.size_bytes_max))


def read_state(
    read: Callable[[int], bytes], size: int, state_digest: bytes
) -> tuple[MapState, bytes]:
    """What follows the head: the state of a log of `size` entries, and its accumulator.

    Raises `InvalidEncoding`, and `InvalidProof` for pairs that are not the state of that digest.
    """
    total = StateSum(STATE_BYTES_BASE + STATE_BYTES_PER_ENTRY * size)
    state = MapState()
    while pairs := _PARTS.decode(_read_part(read, PART_BYTES_MAX)):
        total.check(pairs)
        total.count(sum_pairs(pairs))
        state.pairs.update(pairs)
    if read(1):
        raise InvalidEncoding("bytes follow the end of the state")
    return state, total.finish(state_digest)


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _read_part(read: Callable[[int], bytes], size_bytes_max: int) -> bytes:
    size_bytes = int.from_bytes(_read_whole(read, _LENGTH_BYTES), "big")
    if size_bytes > size_bytes_max:
        raise InvalidEncoding(f"a part of {size_bytes} bytes, at most {size_bytes_max} are allowed")
    return _read_whole(read, size_bytes)


def _read_whole(read: Callable[[int], bytes], size_bytes: int) -> bytes:
    data = read(size_bytes)
    if len(data) != size_bytes:
        raise InvalidEncoding("the file ends in the middle of a state")
    return data
