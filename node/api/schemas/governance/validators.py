"""Bodies about who validates: lists, the pending change, dry runs, evidence."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from contracts.governance.validators import Preview
from contracts.words import Language, describe
from contracts.words.sentences import tell
from ledger.blocks import quorum_of
from ledger.events import Event
from ledger.governance.actions import ACTIONS_MAX as ACTIONS_MAX
from ledger.governance.actions import Action
from ledger.keys import format_public_key
from ledger.quorum.governance import EvidenceEquivocation
from ledger.quorum.votes import decode_vote
from ledger.registry import EpochRecord, PendingChange, Validator
from node.api.schemas.base import Body

Hearing = Literal["heard", "silent", "unlinked"]


class SeatBody(Body, frozen=True, kw_only=True):
    """A validator: keys, the address on the ledger (empty: only in configurations), is it heard.

    `hearing` is `unlinked` where this node has no link with the member.
    """

    member: str
    consensus_key: str
    cosigning_key: str
    tls_certificate: str
    address: str
    hearing: Hearing


class ChangeBody(Body, frozen=True, kw_only=True):
    """A decided change that waits for its height, and for a quorum of its list to be ready."""

    proposal: str
    next_epoch: int
    activate_height: int
    set_hash: str
    quorum: int
    validators: tuple[SeatBody, ...]
    ready: tuple[str, ...]
    missing: tuple[str, ...]


class ValidatorsBody(Body, frozen=True, kw_only=True):
    """The epoch in force; `pending` is the change that comes next, or null."""

    epoch: int
    first_height: int
    quorum: int
    validators: tuple[SeatBody, ...]
    pending: ChangeBody | None


class PreviewActions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Actions as in a proposal, 1 to 8; byte strings in base64."""

    actions: tuple[Action, ...]


class FaultBody(Body, frozen=True, kw_only=True):
    """Why a change is not possible, or would be a mistake."""

    code: str
    title: str
    detail: str
    advice: str


class PreviewBody(Body, frozen=True, kw_only=True):
    """What a change would make of the list, and who of it this node hears now.

    With `faults` it is not possible. `has_live_quorum` false: it is possible, and the network would
    stand still unless enough of `silent` and `unlinked` come up.
    """

    quorum: int
    members: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    heard: tuple[str, ...]
    silent: tuple[str, ...]
    unlinked: tuple[str, ...]
    has_live_quorum: bool
    faults: tuple[FaultBody, ...]


class VoteBody(Body, frozen=True, kw_only=True):
    """One of two contradicting votes; `data` is its exact bytes."""

    kind: Literal["notarize", "nullify", "finalize"]
    height: int
    parent_view: int
    block_hash: str
    signature: str
    data: str


class EvidenceBody(Body, frozen=True, kw_only=True):
    """Two votes that no honest validator signs both, at their place in the log."""

    member: str
    epoch: int
    view: int
    index: int
    height: int
    event: str
    submitted_by: str
    votes: tuple[VoteBody, VoteBody]
    entry: str
    receipt: str


class EvidencePage(Body, frozen=True, kw_only=True):
    """A page of evidence."""

    items: list[EvidenceBody]
    next: str | None


def validators_body(
    epoch: EpochRecord,
    change: PendingChange | None,
    *,
    addresses: Mapping[str, str],
    hearing: Mapping[str, bool],
) -> ValidatorsBody:
    """JSON shape of the epoch in force and what comes next."""

    def seats(validators: Iterable[Validator]) -> tuple[SeatBody, ...]:
        return tuple(_seat(each, addresses, hearing) for each in validators)

    return ValidatorsBody(
        epoch=epoch.epoch,
        first_height=epoch.first_height,
        quorum=quorum_of(len(epoch.validators)),
        validators=seats(epoch.validators),
        pending=None
        if change is None
        else ChangeBody(
            proposal=change.proposal.hex(),
            next_epoch=epoch.epoch + 1,
            activate_height=change.activate_height,
            set_hash=change.set_hash.hex(),
            quorum=quorum_of(len(change.validators)),
            validators=seats(change.validators),
            ready=change.ready,
            missing=tuple(
                each.member for each in change.validators if each.member not in change.ready
            ),
        ),
    )


def preview_body(
    preview: Preview,
    current: Iterable[str],
    *,
    hearing: Mapping[str, bool],
    language: Language,
) -> PreviewBody:
    """JSON shape of a dry run; `current` are the members that validate now."""
    members = tuple(validator.member for validator in preview.validators)
    before = tuple(current)
    heard = tuple(member for member in members if hearing.get(member) is True)
    return PreviewBody(
        quorum=preview.quorum,
        members=members,
        added=tuple(member for member in members if member not in before),
        removed=tuple(member for member in before if member not in members),
        heard=heard,
        silent=tuple(member for member in members if hearing.get(member) is False),
        unlinked=tuple(member for member in members if member not in hearing),
        has_live_quorum=len(heard) >= preview.quorum > 0,
        faults=tuple(fault_body(fault.code, fault.detail, language) for fault in preview.faults),
    )


def evidence_body(
    epoch: EpochRecord,
    event: Event,
    evidence: EvidenceEquivocation,
    *,
    index: int,
    height: int,
) -> EvidenceBody:
    """JSON shape of recorded evidence."""
    vote = decode_vote(evidence.first)
    return EvidenceBody(
        member=epoch.validators[vote.signer].member,
        epoch=epoch.epoch,
        view=vote.subject.view,
        index=index,
        height=height,
        event=event.digest.hex(),
        submitted_by=event.member,
        votes=(_vote(evidence.first), _vote(evidence.second)),
        entry=f"/v1/entries/{index}",
        receipt=f"/v1/entries/{index}/receipt",
    )


def _seat(
    validator: Validator, addresses: Mapping[str, str], hearing: Mapping[str, bool]
) -> SeatBody:
    words: dict[bool | None, Hearing] = {True: "heard", False: "silent", None: "unlinked"}
    return SeatBody(
        member=validator.member,
        consensus_key=format_public_key(validator.consensus_key),
        cosigning_key=format_public_key(validator.cosigning_key),
        tls_certificate=validator.tls_certificate.hex(),
        address=addresses.get(validator.member, ""),
        hearing=words[hearing.get(validator.member)],
    )


def fault_body(code: str, detail: str, language: Language) -> FaultBody:
    """JSON shape of why a change is not possible."""
    words = describe(code, language)
    return FaultBody(
        code=code,
        title=words.title,
        detail=tell(detail, language, code) or words.detail,
        advice=words.advice,
    )


def _vote(data: bytes) -> VoteBody:
    vote = decode_vote(data)
    names: tuple[Literal["notarize", "nullify", "finalize"], ...]
    names = ("notarize", "nullify", "finalize")
    return VoteBody(
        kind=names[vote.subject.kind - 1],
        height=vote.subject.height,
        parent_view=vote.subject.parent_view,
        block_hash=vote.subject.block_hash.hex(),
        signature=vote.signature.hex(),
        data=data.hex(),
    )
