"""A client that returns only what it has verified.

What a node says about an event is a `Claim` until its entry and receipt are fetched: `fetch_record`
checks that the entry is in the log under a checkpoint which a quorum of the validators cosigned,
and that it holds the very event that was asked for. Who validates is known from the caller's
genesis, and after it from the proofs of ended epochs, each verified by the epoch before.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar

import aiohttp
import msgspec

from ledger.blocks import RECORDS, Outcome
from ledger.errors import LedgerError
from ledger.events import Body, Event, hash_event, parse_event, sign_event
from ledger.genesis import Genesis, hash_genesis
from ledger.governance.actions import Action
from ledger.keys import Signer
from ledger.quorum.epochs import EPOCH_PROOFS, EpochChain
from ledger.registry import Parameters
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import SignedNote
from ledger.tlog.receipt import Receipt, verify_receipt
from tools.exits import (
    InvalidAnswer,
    NotFound,
    NotYetFinal,
    RefusedEvent,
    ToolError,
    Unreachable,
)
from tools.output import user_agent
from tools.words import language

MSGPACK = {"Content-Type": "application/msgpack"}
BODY_BYTES_MAX = 33_554_432
ATTEMPTS_MAX = 6
PAUSE_S_MAX = 10.0
EXPIRY_BLOCKS = 10_000
CALL_MARGIN_S = 15.0
WAIT_S_MAX = 30
# A node sends a heartbeat every 15 s.
STREAM_SILENCE_S = 60.0

T = TypeVar("T")


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome in a claim."""

    applied: bool
    code: str
    decision: str
    policies: tuple[str, ...]
    policy_set: str
    obligations: dict[str, Any] | None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of an event; unproven. `index` and `height` count when it is final."""

    digest: str
    state: Literal["pending", "final", "refused", "unknown"]
    code: str = ""
    detail: str = ""
    index: int = -1
    height: int = -1
    outcome: Outcomes | None = None


class StreamAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer on the submission stream; unproven."""

    digest: bytes
    state: Literal["final", "refused"]
    code: str
    index: int
    height: int
    decision: str
    retry_after_s: int = 0


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    results: list[Claim]


class _Placed(msgspec.Struct, frozen=True, kw_only=True):
    index: int


class _Block(msgspec.Struct, frozen=True, kw_only=True):
    records: list[_Placed]
    first_index: int = -1


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    code: str = "unknown"
    title: str = ""
    detail: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecord:
    """A record proven to be in the log; `entry` and `receipt` are the proof."""

    index: int
    event: Event
    outcome: Outcome
    entry: bytes
    receipt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The height that an event is signed for, and how far from it events may expire."""

    height: int
    expiry_blocks_max: int

    @property
    def expires_height(self) -> int:
        """Some thousand blocks later, and with room for a node that is behind."""
        return self.height + min(EXPIRY_BLOCKS, self.expiry_blocks_max // 2)


_CLAIMS = msgspec.json.Decoder(Claim)
_BATCHES = msgspec.json.Decoder(_Batch)
_PROBLEMS = msgspec.json.Decoder(_Problem)
_BLOCKS = msgspec.json.Decoder(_Block)
_ANSWERS = msgspec.msgpack.Decoder(list[StreamAnswer])
_ENCODER = msgspec.msgpack.Encoder()


class Client:
    """One node's API, believed only as far as `genesis` proves it. Use as `async with`."""

    def __init__(
        self,
        url: str,
        genesis: Genesis,
        *,
        tls: ssl.SSLContext | bool = True,
        epochs: EpochChain | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.genesis = genesis
        self.network = hash_genesis(genesis)
        self.epochs = epochs or EpochChain(genesis)
        self._has_epochs = False
        self._tls = tls
        self._open: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Client":
        self._open = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            headers={"Accept-Language": language(), "User-Agent": user_agent()},
            # A block is one line of the stream; aiohttp bounds a line by twice this.
            read_bufsize=BODY_BYTES_MAX // 2,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open is not None:
            await self._open.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        assert self._open is not None, "use the client with `async with`"
        return self._open

    async def sign(
        self, key: Signer, *, member: str, body: Body, nonce: bytes | None = None
    ) -> Event:
        """A signed event that expires some thousand blocks from now."""
        moment = await self.fetch_moment()
        return self.sign_at(moment, key, member=member, body=body, nonce=nonce)

    async def fetch_moment(self) -> Moment:
        """Height, and bounds in force: those of the genesis may have been voted away.

        Raises `InvalidAnswer`.
        """
        status = await self.get_json("/v1/status")
        network = await self.get_json("/v1/network")
        try:
            height = msgspec.convert(status["height"], int)
            parameters = msgspec.convert(network["parameters"], Parameters)
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise InvalidAnswer("answer-malformed", f"{self.url}: {error}") from None
        return Moment(height=height, expiry_blocks_max=parameters.expiry_blocks_max)

    def sign_at(
        self,
        moment: Moment,
        key: Signer,
        *,
        member: str,
        body: Body,
        nonce: bytes | None = None,
    ) -> Event:
        """The same, where the caller knows the moment."""
        return sign_event(
            key,
            network=self.network,
            member=member,
            nonce=nonce if nonce is not None else os.urandom(16),
            expires_height=moment.expires_height,
            body=body,
        )

    async def submit(self, event: Event, *, wait_s: int = 0) -> Claim:
        """Submit one event. Raises `RefusedEvent`, `Unreachable`.

        Safe to repeat: the nonce names one event for ever.
        """
        return await self.submit_raw(event.data, wait_s=wait_s)

    async def submit_raw(self, data: bytes, *, wait_s: int = 0) -> Claim:
        """The same for the bytes of a signed event."""
        answer = await self._call("POST", "/v1/events", data, _prefer(wait_s), wait_s)
        return self._claim_of(hash_event(data), _decode(_CLAIMS.decode, answer))

    async def submit_batch(self, events: Sequence[Event], *, wait_s: int = 0) -> list[Claim]:
        """Submit up to 1,000 events; one claim for each, refused ones included."""
        return await self.submit_raw_batch([event.data for event in events], wait_s=wait_s)

    async def submit_raw_batch(self, events: Sequence[bytes], *, wait_s: int = 0) -> list[Claim]:
        """The same for the bytes of signed events."""
        body = _ENCODER.encode(list(events))
        answer = await self._call("POST", "/v1/events/batch", body, _prefer(wait_s), wait_s)
        claims = _decode(_BATCHES.decode, answer).results
        if len(claims) != len(events):
            raise InvalidAnswer("answer-mismatch", f"{len(claims)} != {len(events)}")
        pairs = zip(events, claims, strict=True)
        return [self._claim_of(hash_event(data), claim) for data, claim in pairs]

    @asynccontextmanager
    async def stream(self) -> AsyncIterator["SubmitStream"]:
        """An open submission stream. Raises `Unreachable`."""
        try:
            socket = await self.session.ws_connect(
                f"{self.url}/v1/submit", max_msg_size=BODY_BYTES_MAX, compress=0
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable("unreachable", f"{self.url}: {error}") from None
        try:
            yield SubmitStream(self.url, socket)
        finally:
            await socket.close()

    async def wait_final(self, digest: bytes, *, timeout_s: float) -> Claim:
        """Claim about an event once it is final or refused. Raises `NotYetFinal`, `NotFound`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while (left_s := deadline - loop.time()) > 0:
            wait_s = max(1, min(WAIT_S_MAX, int(left_s)))
            path = f"/v1/events/{digest.hex()}?wait={wait_s}"
            data = await self._call("GET", path, None, {}, wait_s)
            claim = self._claim_of(digest, _decode(_CLAIMS.decode, data))
            if claim.state == "refused":
                raise RefusedEvent(claim.code, claim.detail)
            if claim.state == "final":
                return claim
        raise NotYetFinal("not-yet-final", f"{digest.hex()} ({timeout_s} s)")

    async def execute(self, event: Event, *, timeout_s: float = 30) -> VerifiedRecord:
        """Submit an event and return its verified record."""
        claim = await self.submit(event, wait_s=max(1, min(WAIT_S_MAX, int(timeout_s))))
        if claim.state != "final":
            claim = await self.wait_final(event.digest, timeout_s=timeout_s)
        record = await self.fetch_record(claim.index)
        if record.event.digest != event.digest:
            raise InvalidAnswer("answer-mismatch", f"#{claim.index}")
        return record

    async def fetch_entry(self, index: int) -> tuple[bytes, bytes]:
        """Bytes of an entry and of its receipt, verified. Raises `InvalidAnswer`, `NotFound`."""
        document = await self.get_json(f"/v1/entries/{index}")
        receipt = await self._call(
            "GET", f"/v1/entries/{index}/receipt?wait={WAIT_S_MAX}", None, {}, WAIT_S_MAX
        )
        try:
            entry = bytes.fromhex(document["data"])
            parsed = Receipt.parse(receipt)
            if parsed.index != index:
                raise InvalidAnswer("answer-mismatch", f"#{parsed.index} != #{index}")
            await self.verify_note(parsed.note)
            size = Checkpoint.parse(parsed.note.text).size
            verify_receipt(parsed, entry, self.epochs.policy_for(size))
        except (LedgerError, ValueError, KeyError, TypeError) as error:
            raise InvalidAnswer("receipt-invalid", f"#{index}: {error}") from None
        return entry, receipt

    async def verify_note(self, note: SignedNote) -> Checkpoint:
        """Checkpoint of a note that a quorum of its epoch cosigned.

        Asks for the proofs of epochs first, so that validators of one that the node knows to have
        ended count no more, and again where a newer epoch may explain the note. Raises
        `LedgerError`, `Unreachable`, `InvalidAnswer`.
        """
        size = Checkpoint.parse(note.text).size
        if not self._has_epochs:
            await self.fetch_epochs()
        try:
            return self.epochs.policy_for(size).verify(note)
        except LedgerError:
            known = self.epochs.epoch
            await self.fetch_epochs()
            if self.epochs.epoch == known:
                raise
        return self.epochs.policy_for(size).verify(note)

    async def fetch_epochs(self) -> None:
        """Extend `epochs` by every proof that the node has. Raises `InvalidAnswer` for a bad one.

        A proof that the node does not have yet ends the walk as the open epoch does.
        """
        self._has_epochs = True
        while True:
            epoch = self.epochs.epoch
            try:
                data = await self.get_bytes(f"/v1/log/epochs/{epoch}")
            except NotFound:
                return
            except Unreachable as error:
                if error.code == "epoch-proof-not-yet":
                    return
                raise
            try:
                self.epochs.add(EPOCH_PROOFS.decode(data))
            except LedgerError as error:
                raise InvalidAnswer("epoch-invalid", f"{epoch}: {error}") from None

    async def fetch_record(self, index: int) -> VerifiedRecord:
        """The record at an index, verified. Raises `InvalidAnswer`, `NotFound`."""
        entry, receipt = await self.fetch_entry(index)
        try:
            record = RECORDS.decode(entry)
            event = parse_event(record.event)
        except LedgerError as error:
            raise InvalidAnswer("record-invalid", f"#{index}: {error}") from None
        return VerifiedRecord(
            index=index, event=event, outcome=record.outcome, entry=entry, receipt=receipt
        )

    async def fetch_exchange(self, exchange: bytes) -> list[VerifiedRecord]:
        """Every record that the node names for an exchange, each verified, oldest first.

        A node can hide the newest ones; it cannot invent or alter one.
        """
        document = await self.get_json(f"/v1/requests/{exchange.hex()}")
        try:
            indexes = [int(row["index"]) for row in document["history"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAnswer("answer-malformed", str(error)) from None
        records = [await self.fetch_record(index) for index in indexes]
        for record in records:
            if record.event.exchange != exchange:
                raise InvalidAnswer("answer-mismatch", f"#{record.index}")
        return records

    async def watch_indexes(
        self, path: str = "/v1/stream", *, after_height: int | None = None
    ) -> AsyncIterator[int]:
        """Indexes of records as blocks become final (server-sent events).

        From the present on, or from the block after `after_height`. Raises `Unreachable`.
        """
        headers = {} if after_height is None else {"Last-Event-ID": str(after_height)}
        async with aclosing(self._stream_blocks(path, headers)) as blocks:
            async for block in blocks:
                for record in block.records if block else ():
                    yield record.index

    async def watch_blocks(self) -> AsyncGenerator[int, None]:
        """Index of the last entry of each block as it becomes final; -1 first: the stream is open.

        Raises `Unreachable`, also when nothing is heard for some heartbeats.
        """
        stream = self._stream_blocks("/v1/stream", {}, silence_s=STREAM_SILENCE_S)
        async with aclosing(stream) as blocks:
            async for block in blocks:
                yield -1 if block is None else block.first_index + len(block.records) - 1

    async def wait_note(self, index: int) -> bytes:
        """Signed checkpoint, unverified, that covers a final entry, once there is one.

        Raises `InvalidAnswer`, `Unreachable`.
        """
        path = f"/v1/entries/{index}/receipt?wait={WAIT_S_MAX}"
        data = await self._call("GET", path, None, {}, WAIT_S_MAX)
        try:
            return Receipt.parse(data).note.format()
        except LedgerError as error:
            raise InvalidAnswer("receipt-invalid", f"{self.url}: #{index}: {error}") from None

    async def _stream_blocks(
        self, path: str, headers: dict[str, str], *, silence_s: float | None = None
    ) -> AsyncGenerator[_Block | None, None]:
        """Blocks of the stream; None first, when it is open."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence_s)
        try:
            async with self.session.get(
                self.url + path, headers=headers, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise _error_of(response.status, await _read_bounded(response))
                yield None
                async for line in response.content:
                    if line.startswith(b"data:"):
                        yield _decode(_BLOCKS.decode, line[5:].strip())
        except aiohttp.ClientPayloadError:
            # The node has gone in the middle of its answer, which has no end.
            raise Unreachable("stream-closed", self.url) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            text = str(error) or type(error).__name__
            raise Unreachable("unreachable", f"{self.url}: {text}") from None

    async def get_json(self, path: str) -> dict[str, Any]:
        """An unverified JSON object, for display and for finding one's way."""
        document = _decode(msgspec.json.decode, await self.get_bytes(path))
        if not isinstance(document, dict):
            raise InvalidAnswer("answer-malformed", path)
        return document

    async def preview_proposal(self, actions: Sequence[Action], member: str) -> dict[str, Any]:
        """The node's dry run of a proposal: an unverified JSON object, nothing is submitted."""
        body = _ENCODER.encode({"actions": list(actions), "member": member})
        answer = await self._call("POST", "/v1/proposals/preview", body, dict(MSGPACK), 0)
        document = _decode(msgspec.json.decode, answer)
        if not isinstance(document, dict):
            raise InvalidAnswer("answer-malformed", "/v1/proposals/preview")
        return document

    async def get_bytes(self, path: str, *, wait_s: int = 0) -> bytes:
        """Unverified bytes."""
        return await self._call("GET", path, None, {}, wait_s)

    def _claim_of(self, digest: bytes, claim: Claim) -> Claim:
        if claim.digest != digest.hex():
            raise InvalidAnswer("answer-mismatch", f"{digest.hex()} != {claim.digest}")
        return claim

    async def _call(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], wait_s: float
    ) -> bytes:
        """Body of a successful answer; retries what the node asks to retry."""
        timeout = aiohttp.ClientTimeout(total=wait_s + CALL_MARGIN_S, sock_connect=10)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with self.session.request(
                    method, self.url + path, data=body, headers=headers, timeout=timeout
                ) as response:
                    data = await _read_bounded(response)
                    if response.status < 300:
                        return data
                    retry_after = response.headers.get("Retry-After", "")
                    if response.status not in (429, 503) or attempt == ATTEMPTS_MAX:
                        raise _error_of(response.status, data)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                text = str(error) or type(error).__name__
                raise Unreachable("unreachable", f"{self.url}: {text}") from None
            # The node names the time; there is no event to wait for.
            is_named = retry_after.isascii() and retry_after.isdigit()
            named_s = float(retry_after) if is_named else 0.1 * 2**attempt
            await asyncio.sleep(min(named_s, PAUSE_S_MAX))
        raise AssertionError("unreachable: the last attempt returns or raises")


class SubmitStream:
    """Frames of events out, frames of answers in."""

    def __init__(self, url: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._url = url
        self._socket = socket

    async def send(self, events: Sequence[bytes]) -> None:
        """Send signed events; each gets exactly one answer."""
        await self._socket.send_bytes(_ENCODER.encode(list(events)))

    async def receive(self) -> list[StreamAnswer]:
        """The next answers. Raises `Unreachable` when the node has closed the stream."""
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            reason = f"{self._socket.close_code} {message.extra or ''}"
            raise Unreachable("stream-closed", f"{self._url}: {reason}")
        return _decode(_ANSWERS.decode, message.data)


async def fetch_genesis(url: str) -> bytes:
    """The genesis file that a node hands out; whom to believe is the caller's decision."""
    return await fetch_file(url, "/v1/genesis")


async def fetch_signatures(url: str) -> bytes:
    """The signatures of founders that a node hands out, not verified yet."""
    return await fetch_file(url, "/v1/genesis/signatures")


async def fetch_file(url: str, path: str) -> bytes:
    """One file of a node, not verified. Raises `NotFound`, `Unreachable`."""
    try:
        timeout = aiohttp.ClientTimeout(total=CALL_MARGIN_S)
        headers = {"Accept-Language": language(), "User-Agent": user_agent()}
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"{url.rstrip('/')}{path}") as response,
        ):
            data = await _read_bounded(response)
            if response.status != 200:
                raise _error_of(response.status, data)
            return data
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unreachable("unreachable", f"{url}: {str(error) or type(error).__name__}") from None


def _prefer(wait_s: int) -> dict[str, str]:
    return {**MSGPACK, "Prefer": f"wait={wait_s}"} if wait_s else dict(MSGPACK)


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    parts, size_bytes = [], 0
    async for part in response.content.iter_chunked(1 << 20):
        size_bytes += len(part)
        if size_bytes > BODY_BYTES_MAX:
            raise InvalidAnswer("answer-too-large", f"> {BODY_BYTES_MAX} B")
        parts.append(part)
    return b"".join(parts)


def _decode(decoder: Callable[[bytes], T], data: bytes) -> T:
    try:
        return decoder(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidAnswer("answer-malformed", str(error)) from None


def _error_of(status: int, data: bytes) -> ToolError:
    try:
        problem = _PROBLEMS.decode(data)
    except (msgspec.DecodeError, RecursionError):
        problem = _Problem(detail=f"HTTP {status}")
    kinds = {404: NotFound, 503: Unreachable, 429: Unreachable}
    kind = kinds.get(status, ToolError if status >= 500 else RefusedEvent)
    return kind(problem.code, problem.detail, title=problem.title, advice=problem.advice)
