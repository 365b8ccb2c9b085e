"""Results of parts of a replay: signed files, and the join that makes one verdict of them.

A part is valid from one point of the log to another, or a fault was found in it. The points are
hashes that the log itself fixes, so parts prove the whole when each ends where the next begins, the
first begins at the genesis and the last ends with the log. A signature says who vouches for a part;
whom to believe, the reader says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.engine import ENGINE_VERSION
from contracts.replay import Point, ReplayReport
from ledger.codec import Value
from ledger.errors import Divergence, InvalidKey, InvalidSignature
from ledger.keys import Signer, format_public_key, parse_public_key, verify_signature
from ledger.scalars import Uint
from ledger.verify import LogCopy
from tools.audit.divergence import Fault, describe_fault
from tools.exits import InvalidInput

SEGMENT_DOMAIN = b"tallystick/audit-segment/v1\0"
FILE_BYTES_MAX = 1 << 20
FILES_MAX = 100_000

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
HexSignature = Annotated[str, Meta(pattern=r"^[0-9a-f]{130}\Z")]
Word = Annotated[str, Meta(max_length=64)]


class PlaceInLog(Value, frozen=True, kw_only=True):
    """A `contracts.replay.Point` in hex."""

    height: Uint
    block: Hex32
    entries: Uint
    state: Hex32


class Act(Value, frozen=True, kw_only=True):
    """How many events of a kind, by its first word."""

    word: Word
    count: Uint


class Result(Value, frozen=True, kw_only=True):
    """What replaying a part of the log under a checkpoint gave: `last` or `fault`, never both.

    `to_height` is the block to which the part was asked for; 0: to the end of the log.
    """

    version: Literal[1]
    network: Hex32
    engine: Word
    size: Uint
    root: Hex32
    to_height: Uint
    first: PlaceInLog
    last: PlaceInLog | None
    fault: Fault | None
    blocks: Uint
    events: Uint
    refused: Uint
    permit: Uint
    review: Uint
    deny: Uint
    acts: tuple[Act, ...]


class SignedResult(Value, frozen=True, kw_only=True):
    """A result and who vouches for it."""

    result: Result
    auditor: Annotated[str, Meta(max_length=128)]
    signature: HexSignature


_DECODER = msgspec.json.Decoder(SignedResult)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What results say together; `whole` is None unless they cover all of the log.

    Gaps and overlaps are ranges of heights, contradictions the sentences of `contradict`.
    """

    whole: Result | None
    fault: Fault | None
    gaps: tuple[tuple[int, int], ...]
    overlaps: tuple[tuple[int, int], ...]
    contradictions: tuple[str, ...]


def valid_result(report: ReplayReport, to_height: int) -> Result:
    """Result of a part without a fault."""
    return Result(
        version=1,
        network=report.network.hex(),
        engine=ENGINE_VERSION,
        size=report.checkpoint.size,
        root=report.checkpoint.root.hex(),
        to_height=to_height,
        first=_place(report.first),
        last=_place(report.last),
        fault=None,
        blocks=report.blocks,
        events=report.events,
        refused=report.refused,
        permit=report.decisions["permit"],
        review=report.decisions["review"],
        deny=report.decisions["deny"],
        acts=tuple(Act(word=word, count=report.acts[word]) for word in sorted(report.acts)),
    )


def faulty_result(copy: LogCopy, first: Point, to_height: int, error: Divergence) -> Result:
    """Result of a part in which a fault was found."""
    return Result(
        version=1,
        network=copy.network.hex(),
        engine=ENGINE_VERSION,
        size=copy.checkpoint.size,
        root=copy.checkpoint.root.hex(),
        to_height=to_height,
        first=_place(first),
        last=None,
        fault=describe_fault(error),
        blocks=0,
        events=0,
        refused=0,
        permit=0,
        review=0,
        deny=0,
        acts=(),
    )


def _place(point: Point) -> PlaceInLog:
    return PlaceInLog(
        height=point.height,
        block=point.block_hash.hex(),
        entries=point.entries,
        state=point.state_digest.hex(),
    )


def sign_result(result: Result, key: Signer) -> bytes:
    """The file of a result, signed."""
    signature = key.sign(SEGMENT_DOMAIN, msgspec.json.encode(result))
    signed = SignedResult(
        result=result, auditor=format_public_key(key.public), signature=signature.hex()
    )
    return _encode(signed)


def _encode(signed: SignedResult) -> bytes:
    return msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n"


def read_result(data: bytes, name: str) -> SignedResult:
    """A verified file. Raises `InvalidInput`, which names the file."""
    try:
        if len(data) > FILE_BYTES_MAX:
            raise ValueError(f"more than {FILE_BYTES_MAX} bytes")
        signed = _DECODER.decode(data)
        if _encode(signed) != data:
            raise ValueError("the bytes are not in canonical form")
        result = signed.result
        if (result.last is None) is (result.fault is None):
            raise ValueError("a part is valid or has a fault")
        message = msgspec.json.encode(result)
        key = parse_public_key(signed.auditor)
        verify_signature(key, SEGMENT_DOMAIN, message, bytes.fromhex(signed.signature))
    except (ValueError, RecursionError, InvalidKey, InvalidSignature) as error:
        raise InvalidInput("segment-file-invalid", f"{name}: {error}") from None
    return signed


def join(results: Sequence[Result]) -> Joined:
    """One verdict of at least one result, all about one tree of one network.

    1. Contradictions: two results cannot both be true. 2. The first fault. 3. From the genesis on,
    the parts that follow each other, the gaps between them, and what is covered once more. Raises
    `InvalidInput` for results about different logs, which say nothing together.
    """
    for each in results:
        if (each.network, each.size) != (results[0].network, results[0].size):
            detail = f"{each.network} ({each.size}) / {results[0].network} ({results[0].size})"
            raise InvalidInput("segments-mixed", detail)
    contradictions = tuple(_contradict(results))  # 1
    faults = [each.fault for each in results if each.fault is not None]  # 2
    chain, gaps, overlaps = _follow(results)  # 3
    is_whole = not (gaps or faults or contradictions)
    return Joined(
        whole=_sum(chain) if is_whole else None,
        fault=min(faults, key=lambda fault: (fault.entry, fault.step), default=None),
        gaps=tuple(gaps),
        overlaps=tuple(overlaps),
        contradictions=contradictions,
    )


def join_run(results: Sequence[Result], size: int) -> Joined:
    """The same for parts of one plan, in its order: they need not reach from end to end.

    Each has read the checkpoint for itself. Raises `InvalidInput` if one was not of `size` entries.
    """
    for each in results:
        if each.size != size:
            raise InvalidInput("copy-changed", f"{each.size} / {size}")
    contradictions = [*_contradict(results)]
    faults = [each.fault for each in results if each.fault is not None]
    for before, after in pairwise(results):
        if before.last is not None and after.fault is None and before.last != after.first:
            contradictions.append(f"{_describe(before.last)} / {_describe(after.first)}")
    return Joined(
        whole=None if faults or contradictions else _sum(results),
        fault=min(faults, key=lambda fault: (fault.entry, fault.step), default=None),
        gaps=(),
        overlaps=(),
        contradictions=tuple(contradictions),
    )


def _contradict(results: Sequence[Result]) -> Iterator[str]:
    """What cannot be true together, each as a sentence without words: places and values."""
    roots = sorted(frozenset(each.root for each in results))
    if len(roots) > 1:
        yield f"size {results[0].size}: root {' / '.join(roots)}"
    places: dict[int, PlaceInLog] = {}
    parts: dict[tuple[int, int], Result] = {}
    for each in results:
        for place in (each.first, each.last):
            if place is None:
                continue
            known = places.setdefault(place.height, place)
            if known != place:
                yield f"height {place.height}: {_describe(known)} / {_describe(place)}"
        if each.last is not None:
            part = (each.first.height, each.last.height)
            same = msgspec.structs.replace(each, to_height=0)
            if parts.setdefault(part, same) != same:
                yield f"heights {part[0]} to {part[1]}: counts differ"
    for faulty in results:
        if faulty.fault is None:
            continue
        for each in results:
            is_in = each.last is not None and (
                each.first.entries <= faulty.fault.entry < each.last.entries
            )
            if is_in:
                yield f"entry {faulty.fault.entry}: step {faulty.fault.step} / valid"


def _describe(place: PlaceInLog) -> str:
    return f"block {place.block}, entries {place.entries}, state {place.state}"


def _follow(
    results: Sequence[Result],
) -> tuple[list[Result], list[tuple[int, int]], list[tuple[int, int]]]:
    """Parts one after the other, gaps (0 as the second height: to the end), and what is double."""
    ends: dict[int, dict[int, Result]] = {}
    for each in results:
        if each.last is not None:
            ends.setdefault(each.first.height, {})[each.last.height] = each
    chain: list[Result] = []
    gaps: list[tuple[int, int]] = []
    at = entries = 0
    while True:
        part = ends.get(at, {})
        if part and (not chain or max(part) > at):
            following = part[max(part)]
            assert following.last is not None, "parts with faults are left out above"
            chain.append(following)
            at, entries = following.last.height, following.last.entries
            continue
        later = min((height for height in ends if height > at), default=0)
        if later:
            gaps.append((at, later))
            at = later
            continue
        break
    if not chain or entries != results[0].size:
        gaps.append((at, 0))
    used = {(each.first.height, each.last.height) for each in chain if each.last is not None}
    double = {(first, last) for first, each in ends.items() for last in each} - used
    return chain, gaps, sorted(double)


def _sum(chain: Sequence[Result]) -> Result:
    """The parts as one."""
    acts: dict[str, int] = {}
    for each in chain:
        for act in each.acts:
            acts[act.word] = acts.get(act.word, 0) + act.count
    return msgspec.structs.replace(
        chain[0],
        last=chain[-1].last,
        to_height=0,
        blocks=sum(each.blocks for each in chain),
        events=sum(each.events for each in chain),
        refused=sum(each.refused for each in chain),
        permit=sum(each.permit for each in chain),
        review=sum(each.review for each in chain),
        deny=sum(each.deny for each in chain),
        acts=tuple(Act(word=word, count=acts[word]) for word in sorted(acts)),
    )
