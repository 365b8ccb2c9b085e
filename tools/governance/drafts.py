"""Signing on a machine without a network: a draft goes there, the signed event comes back.

A draft is a JSON file that holds all that is signed but the key: network, member, nonce, height up
to which it may wait, and the body. One about a proposal also holds the signed event of the
proposal, whose digest the body names: so whoever signs reads the very actions that are voted on,
whatever the node or the carrier says. `changes` is the node's word for what they would do.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from contracts.words import kind_word
from ledger.codec import Value
from ledger.errors import InvalidEvent
from ledger.events import (
    BODY_TYPES,
    Event,
    parse_event,
    sign_event,
    verify_event,
)
from ledger.genesis import Genesis, hash_genesis
from ledger.governance.proposals import (
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
    GovernanceWithdrawn,
)
from ledger.keys import Signer
from ledger.scalars import Hash32, Identifier, Nonce, Uint
from tools.client import Moment
from tools.exits import InvalidInput
from tools.founding import read_file
from tools.governance.actions import format_actions
from tools.governance.changes import Change, format_changes
from tools.output import printable
from tools.words import language, say

DRAFT_BYTES_MAX = 4_194_304
SIGNED_BYTES_MAX = 65_536
EVENT_BYTES_MAX = 65_536

Vote: TypeAlias = GovernanceBalloted | GovernanceWithdrawn | GovernanceAcknowledged
GovernanceBody: TypeAlias = GovernanceProposed | Vote
_TYPES: dict[str, type[GovernanceBody]] = {
    kind: type_
    for (kind, _), type_ in BODY_TYPES.items()
    if issubclass(
        type_,
        GovernanceProposed | GovernanceBalloted | GovernanceWithdrawn | GovernanceAcknowledged,
    )
}
_KINDS = {type_: kind for kind, type_ in _TYPES.items()}


class Draft(Value, frozen=True, kw_only=True):
    """Content of a draft file. `proposal` is empty where there is no proposal yet."""

    format: Literal["tallystick-draft-v1"]
    network: Hash32
    network_name: Annotated[str, Meta(max_length=200)]
    kind: Annotated[str, Meta(max_length=64)]
    member: Identifier
    nonce: Nonce
    drafted_height: Uint
    expires_height: Uint
    body: msgspec.Raw
    proposal: Annotated[bytes, Meta(max_length=EVENT_BYTES_MAX)]
    changes: tuple[Change, ...]


def make_draft(
    body: GovernanceBody,
    *,
    genesis: Genesis,
    member: str,
    moment: Moment,
    proposal: Event | None = None,
    changes: Sequence[Change] = (),
) -> Draft:
    """A draft that expires some thousand blocks after `moment`."""
    return Draft(
        format="tallystick-draft-v1",
        network=hash_genesis(genesis),
        network_name=genesis.name,
        kind=_KINDS[type(body)],
        member=member,
        nonce=os.urandom(16),
        drafted_height=moment.height,
        expires_height=moment.expires_height,
        body=msgspec.Raw(msgspec.json.encode(body)),
        proposal=b"" if proposal is None else proposal.data,
        changes=tuple(changes),
    )


def encode_draft(draft: Draft) -> bytes:
    """The draft as a JSON file."""
    return msgspec.json.format(msgspec.json.encode(draft)) + b"\n"


def read_draft(path: Path) -> Draft:
    """The draft in a file, whose parts agree with each other. Raises `InvalidInput`."""
    data = read_file(path, size_bytes_max=DRAFT_BYTES_MAX)
    try:
        draft = msgspec.json.decode(data, type=Draft)
        body = body_of(draft)
        proposal = proposal_of(draft)
    except (msgspec.DecodeError, InvalidEvent, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("signing-draft-invalid", f"{path}: {error}") from None
    if isinstance(body, GovernanceProposed) is not (proposal is None):
        raise InvalidInput("signing-draft-invalid", f"{path}: {draft.kind}")
    if proposal is not None and (
        isinstance(body, GovernanceProposed)
        or not isinstance(proposal.body, GovernanceProposed)
        or proposal.digest != body.proposal
        or proposal.network != draft.network
    ):
        raise InvalidInput("signing-draft-mismatch", f"{path}: {proposal.digest.hex()}")
    return draft


def body_of(draft: Draft) -> GovernanceBody:
    """What is to be signed. Raises `msgspec.DecodeError`."""
    type_ = _TYPES.get(draft.kind)
    if type_ is None:
        raise msgspec.DecodeError(f"kind {draft.kind!r}")
    return msgspec.json.decode(draft.body, type=type_)


def proposal_of(draft: Draft) -> Event | None:
    """The proposal that the body is about, its signature checked. Raises `InvalidEvent`."""
    if not draft.proposal:
        return None
    event = parse_event(draft.proposal)
    verify_event(event)
    return event


def format_draft(draft: Draft) -> str:
    """Everything that whoever signs must know, from the draft alone."""
    body, proposal = body_of(draft), proposal_of(draft)
    lines = [
        say(
            "draft.head",
            kind=kind_word(draft.kind, "zh" if language() == "zh" else "en"),
            member=draft.member,
            name=printable(draft.network_name),
            network=draft.network.hex(),
            height=draft.drafted_height,
            expires=draft.expires_height,
        )
    ]
    if isinstance(body, GovernanceBalloted):
        lines.append(say("draft.approves" if body.approve else "draft.rejects"))
    if proposal is not None:
        digest, member = proposal.digest.hex(), proposal.member
        lines.append(say("draft.about", digest=digest, member=member))
    proposed = body if proposal is None else proposal.body
    assert isinstance(proposed, GovernanceProposed), "read_draft has checked it"
    lines += [format_proposed(proposed)]
    if not isinstance(body, GovernanceWithdrawn | GovernanceAcknowledged) and body.text:
        lines.append(say("governance.text", text=printable(body.text)))
    if draft.changes:
        lines += [say("draft.changes"), format_changes(draft.changes)]
    return "\n".join(lines)


def format_proposed(body: GovernanceProposed) -> str:
    """A proposal in words, every field of it."""
    heights = say(
        "governance.heights", activate=body.activate_height, until=body.ballots_until_height
    )
    return "\n".join([format_actions(body.actions), heights])


def sign_draft(draft: Draft, key: Signer) -> Event:
    """The event that a draft describes. Raises `InvalidEvent`."""
    return sign_event(
        key,
        network=draft.network,
        member=draft.member,
        nonce=draft.nonce,
        expires_height=draft.expires_height,
        body=body_of(draft),
    )


def read_signed(path: Path) -> Event:
    """The signed event in a file, its signature checked. Raises `InvalidInput`."""
    data = read_file(path, size_bytes_max=SIGNED_BYTES_MAX)
    try:
        event = parse_event(data)
        verify_event(event)
    except InvalidEvent as error:
        raise InvalidInput("signed-event-invalid", f"{path}: {error}") from None
    return event
