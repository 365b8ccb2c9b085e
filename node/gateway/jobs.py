"""What the gateway knows of an exchange, and the stages that it passes through.

    provide   request -> review -> ask -> prepare -> refer -> deliver -> offered -> learn -> settled
              -> closed
    acquire   request -> open -> fetch -> check -> hand -> answer -> kept -> erase -> attest
              -> closed

A stage of `ACTIVE` has a step to run now; the others wait for a record on the ledger or for
`wake_ms`. `held` waits for a person: `fault` and `detail` say why, `resume` where it goes on. Only
messages of the reporting standard pass through `refer` and `learn`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

# What decoding what others sent may raise; text that is not UTF-8 has an error of its own.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Side = Literal["provide", "acquire"]
SIDES: tuple[Side, ...] = ("provide", "acquire")
Stage = Literal[
    "review", "ask", "prepare", "refer", "deliver", "offered", "learn", "settled",
    "request", "open", "fetch", "check", "hand", "answer", "kept", "erase", "attest",
    "held", "closed",
]  # fmt: skip

ACTIVE: frozenset[tuple[Side, Stage]] = frozenset(
    (
        ("provide", "request"), ("provide", "ask"), ("provide", "prepare"), ("provide", "refer"),
        ("provide", "deliver"), ("provide", "learn"),
        ("acquire", "request"), ("acquire", "fetch"), ("acquire", "check"), ("acquire", "hand"),
        ("acquire", "answer"), ("acquire", "erase"), ("acquire", "attest"),
    )
)  # fmt: skip


# What a payload is, as the ledger says of its dataset; empty: records by a schema.
Form = Literal["", "crs"]


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger names of the newest message that is to be delivered.

    `message` is the commitment of its id in hex, `digest` is over its documents in their order,
    `parts` counts the events.
    """

    message: str
    digest: bytes = b""
    parts: int = 0


def name_more(named: Named | None, body: Mapping[str, Any]) -> Named:
    """With the documents of one more `share.referenced`, whose digests are in hex."""
    if named is None or named.message != body["message"]:
        named = Named(message=body["message"])
    head = f"{body['key_id']} {body['period']} {body['receiving']}"
    digest = named.digest
    for each in body["references"]:
        said = f"{head} {each['document']} {each['indicator']} {each['corrected']}"
        digest = hashlib.sha256(digest + said.encode()).digest()
    return msgspec.structs.replace(named, digest=digest, parts=named.parts + 1)


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The requester's status message (XML) about the delivery of a number."""

    correction: int
    document: bytes


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery: what `share.delivered` or `share.corrected` says of it, and more.

    `report` are the canonical bytes of the quality report. `blind` opens the commitment; it is
    sealed to the agency's own key. `plain_bytes` is the size of the records. `named` is what the
    ledger had named before this delivery.
    """

    commitment: bytes
    record_count: int
    schema_version: int
    quality_digest: bytes
    size_bytes: int
    outbox_until_ms: int
    report: bytes = b""
    blind: bytes = b""
    plain_bytes: int = 0
    form: Form = ""
    named: Named | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange, seen from one side. Times are milliseconds since 1970, 0: none.

    `question` are the subjects with their blinds, sealed to this agency's own key, and `asked` the
    same sealed to the provider. `correction` counts deliveries, also those that were rejected; 0 is
    the first. `supersedes` names what a correction takes the place of, `held` what the requester
    has by the ledger. `downloads` counts copies of one payload that arrived damaged. `event` is a
    signed event on its way to the ledger. `seen_index` is that of the newest record taken into
    account. `named` is what the ledger names of a message that is not delivered yet, `answered` the
    newest status message.
    """

    exchange: bytes
    side: Side
    stage: Stage
    requester: str
    provider: str
    dataset: str
    purpose: str
    fields: tuple[str, ...]
    period_from: str
    period_to: str
    subjects: tuple[bytes, ...]
    retention_days: int
    status: str = ""
    question: bytes = b""
    asked: bytes = b""
    correction: int = 0
    supersedes: bytes = b""
    reason: str = ""
    held: bytes = b""
    downloads: int = 0
    payload: Payload | None = None
    codes: tuple[int, ...] = ()
    text: str = ""
    event: bytes = b""
    attempts: int = 0
    wake_ms: int = 0
    until_ms: int = 0
    fault: str = ""
    detail: str = ""
    resume: Stage = "closed"
    seen_index: int = -1
    named: Named | None = None
    answered: Answered | None = None

    @property
    def partner(self) -> str:
        """The member on the other side."""
        return self.requester if self.side == "provide" else self.provider

    @property
    def file_name(self) -> str:
        """Name of the sealed payload in outbox or inbox."""
        return f"{self.exchange.hex()}.{self.correction}.sealed"

    @property
    def references_name(self) -> str:
        """Name of the file in the outbox with what is to be named of a message."""
        return f"{self.exchange.hex()}.{self.correction}.references"

    @property
    def file_names(self) -> Iterator[str]:
        """Names of the files in outbox or inbox of all deliveries so far."""
        for number in range(self.correction + 1):
            yield f"{self.exchange.hex()}.{number}.sealed"
            yield f"{self.exchange.hex()}.{number}.references"

    @property
    def is_active(self) -> bool:
        """Whether there is a step to run now, or when a pause is over."""
        return (self.side, self.stage) in ACTIVE


def change(job: Job, **fields: Any) -> Job:
    """A copy with other values."""
    return msgspec.structs.replace(job, **fields)


def advance(job: Job, stage: Stage, **fields: Any) -> Job:
    """The job in another stage, with a clean slate of attempts and faults."""
    fresh = {"attempts": 0, "wake_ms": 0, "fault": "", "detail": "", "event": b""}
    return change(job, stage=stage, **{**fresh, **fields})


def hold(job: Job, fault: str, detail: str) -> Job:
    """The job set aside until a person looks at it; it will go on where it stopped.

    The end of retention does not wait for anybody.
    """
    resume = job.resume if job.stage == "held" else job.stage
    return change(
        job, stage="held", resume=resume, fault=fault, detail=detail, wake_ms=job.until_ms
    )


class Failed(Exception):
    """A step did not succeed: `code` and `detail` for people, `retry` whether to try it again."""

    def __init__(self, code: str, detail: str = "", *, retry: bool = True) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail[:500]
        self.retry = retry
