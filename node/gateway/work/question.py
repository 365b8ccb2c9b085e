"""Who is asked about: subjects with their blinds, sealed like a payload.

The ledger has commitments only, so the provider cannot know whom a request is about until the
requester tells it: by a payload of its own, sealed to the provider, that only the provider may
fetch, and only once its contracts have let the request pass. The context of a question has the
parties the other way round, so it cannot be taken for a delivery.
"""

import hmac
from collections.abc import Sequence

import msgspec

from ledger.errors import InvalidSubject
from ledger.exchange.subjects import commit_subject
from node.gateway.jobs import UNREADABLE, Failed
from node.gateway.work.tasks import About, Asked, Reveal, Revealed, SealQuestion, Setup
from node.sealing.format import HEADER_BYTES, Context, decode_header
from node.sealing.keys import DecryptionKey
from node.sealing.opener import Opener
from node.sealing.sealer import Sealer

_CHUNK_BYTES = 2**20
_COMMITMENT_BYTES = 32


class _Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subject."""

    id: str
    blind: bytes


_LINES = msgspec.msgpack.Decoder(tuple[_Line, ...])


def question_context(network: bytes, about: About, recipient: str) -> Context:
    """What a question is sealed for: `recipient` takes the place of a payload's requester."""
    return Context(
        network=network,
        exchange=about.exchange,
        requester=recipient,
        provider=about.requester,
        dataset=about.dataset,
    )


def seal(setup: Setup, own: DecryptionKey, task: SealQuestion) -> Asked:
    """The question for the provider, and for the requester's own records."""
    data = msgspec.msgpack.encode(
        [_Line(id=subject, blind=blind) for subject, blind in task.subjects]
    )
    about = task.about
    return Asked(
        own=_seal(own.public, question_context(setup.network, about, about.requester), data),
        partner=_seal(task.recipient, question_context(setup.network, about, about.provider), data),
    )


def _seal(recipient: bytes, context: Context, data: bytes) -> bytes:
    sealer = Sealer(recipient, context, chunk_bytes=_CHUNK_BYTES)
    sealer.receive(data)
    body = sealer.finish()
    # Its commitment stands at the end: nothing on the ledger names it.
    return sealer.header + body + sealer.commitment


def open_question(
    keys: Sequence[DecryptionKey], context: Context, data: bytes, subjects: Sequence[bytes]
) -> tuple[tuple[str, bytes], ...]:
    """The subjects of a sealed question, each the one that the ledger has a commitment to.

    Raises `InvalidPayload`, and `Failed` where it is about others than the ledger says.
    """
    opener = Opener(choose_key(keys, data[:HEADER_BYTES]), context, data[:HEADER_BYTES])
    opener.receive(data[HEADER_BYTES:-_COMMITMENT_BYTES])
    plain = opener.finish(data[-_COMMITMENT_BYTES:])
    try:
        lines = _LINES.decode(plain)
        found = [commit_subject(line.id, line.blind) for line in lines]
    except (*UNREADABLE, InvalidSubject):
        raise Failed("question-malformed", retry=False) from None
    if len(found) != len(subjects) or not all(map(hmac.compare_digest, found, subjects)):
        raise Failed("question-mismatch", f"{len(found)} / {len(subjects)}", retry=False)
    return tuple((line.id, line.blind) for line in lines)


def reveal(setup: Setup, keys: Sequence[DecryptionKey], task: Reveal) -> Revealed:
    """Open the agency's own copy again."""
    context = question_context(setup.network, task.about, setup.member)
    header = task.question[:HEADER_BYTES]
    opener = Opener(choose_key(keys, header), context, header)
    opener.receive(task.question[HEADER_BYTES:-_COMMITMENT_BYTES])
    lines = _LINES.decode(opener.finish(task.question[-_COMMITMENT_BYTES:]))
    return Revealed(subjects=tuple((line.id, line.blind) for line in lines))


def choose_key(keys: Sequence[DecryptionKey], header: bytes) -> DecryptionKey:
    """The key that a header names; the newest one where it names none of ours."""
    named = decode_header(header).key_hash
    return next((key for key in keys if key.hash == named), keys[0])
