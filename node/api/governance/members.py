"""One member: officers, how it was or would be admitted, and what it waits for."""

from aiohttp import web

from contracts.governance.counts import count_approvals_needed
from contracts.lookup import (
    find_encryption_key,
    find_gateway,
    find_last_day,
    find_member,
    find_proposal,
    find_recipient,
)
from ledger.governance.actions import AdmitMember, Application
from ledger.governance.proposals import REVISIONS, Proposal
from ledger.registry import OFFICERS, Member
from ledger.state import StateReader, revision_key
from node.api.context import context_of, json_response, member_parameter, query_parameters
from node.api.governance.proposals import status_of
from node.api.problems import Problem
from node.api.schemas.base import fields_of
from node.api.schemas.governance import members as bodies
from node.api.schemas.values import (
    EncryptionKeyBody,
    encryption_key_body,
    gateway_body,
    officer_body,
)
from node.service import Service

OFFICERS_PREFIX = b"o/"
OFFICERS_MAX = 10_000
ENCRYPTION_KEYS_MAX = 16
_WAITS_FOR: dict[str, bodies.WaitsFor] = {
    "applied": "acknowledgement",
    "suspended": "reinstatement",
}


async def read_member(request: web.Request) -> web.Response:
    """GET /v1/members/{member}: a member, or an agency that is proposed as one."""
    query_parameters(request)
    service = context_of(request).service
    name = member_parameter(request.match_info)
    member = find_member(service.state(), name)
    if member is not None:
        return json_response(_member(service, member))
    found = _find_candidacy(service, name)
    if found is None:
        raise Problem("member-not-found", name)
    return json_response(_applicant(service, *found))


def _member(service: Service, member: Member) -> bodies.MemberDetailBody:
    decided = _find_admission(service, member.id)
    gateway = find_gateway(service.state(), member.id)
    return bodies.MemberDetailBody(
        **fields_of(member),
        officers=_officers(service, member.id),
        encryption_keys=_encryption_keys(service.state(), member.id),
        gateway=None if gateway is None else gateway_body(gateway),
        admission=None if decided is None else _admission(service, *decided),
        waits_for=_WAITS_FOR.get(member.status, ""),
    )


def _applicant(
    service: Service, digest: bytes, proposal: Proposal, application: Application
) -> bodies.MemberDetailBody:
    """What is not on the ledger yet: its keys are those that it applies with."""
    return bodies.MemberDetailBody(
        id=application.id,
        name_zh=application.name_zh,
        name_en=application.name_en,
        region=application.region,
        kind=application.kind,
        status="proposed",
        credit=0,
        officers=[],
        encryption_keys=[],
        gateway=None,
        admission=_admission(service, digest, proposal),
        waits_for="height" if proposal.status == "waiting" else "ballots",
    )


def _officers(service: Service, member: str) -> list[bodies.MemberOfficerBody]:
    pairs = service.scan_state(OFFICERS_PREFIX, OFFICERS_PREFIX, OFFICERS_MAX)
    officers = (OFFICERS.decode(value) for _, value in pairs)
    return [
        bodies.MemberOfficerBody(
            **fields_of(officer_body(officer)),
            not_after=find_last_day(service.state(), officer.key),
        )
        for officer in officers
        if officer.member == member
    ]


def _encryption_keys(state: StateReader, member: str) -> list[EncryptionKeyBody]:
    found: list[EncryptionKeyBody] = []
    held = find_recipient(state, member)
    while held is not None and len(found) < ENCRYPTION_KEYS_MAX:
        found.append(encryption_key_body(held))
        held = find_encryption_key(state, held.previous)
    return found


def _find_admission(service: Service, member: str) -> tuple[bytes, Proposal] | None:
    """What admitted a member: the first change of it. None for those that genesis names."""
    prefix = revision_key(f"member/{member}", 0)[:-8]
    for _, value in service.scan_state(prefix, prefix, 1):
        digest = REVISIONS.decode(value).proposal
        proposal = find_proposal(service.state(), digest)
        assert proposal is not None, "a revision names its proposal"
        return (digest, proposal) if _applications(proposal, member) else None
    return None


def _find_candidacy(service: Service, member: str) -> tuple[bytes, Proposal, Application] | None:
    """The proposal to admit an applicant that came furthest: carried, or with most approvals."""
    oversight = service.oversight()
    found = [
        (digest, proposal, application)
        for digest, proposal in (*oversight.waiting, *oversight.open)
        for application in _applications(proposal, member)
    ]
    return max(
        found,
        key=lambda each: (each[1].status == "waiting", len(each[1].approved)),
        default=None,
    )


def _applications(proposal: Proposal, member: str) -> list[Application]:
    return [
        action.application
        for action in proposal.actions
        if isinstance(action, AdmitMember) and action.application.id == member
    ]


def _admission(service: Service, digest: bytes, proposal: Proposal) -> bodies.AdmissionBody:
    return bodies.AdmissionBody(
        proposal=digest.hex(),
        status=status_of(proposal, service.status().height + 1),
        member=proposal.member,
        approved=proposal.approved,
        rejected=proposal.rejected,
        needed=count_approvals_needed(service.state(), proposal.actions),
    )
