"""Bodies about one member."""

from typing import Literal

from node.api.schemas.base import Body
from node.api.schemas.governance.proposals import Status
from node.api.schemas.values import EncryptionKeyBody, GatewayBody, OfficerBody

WaitsFor = Literal["", "ballots", "height", "acknowledgement", "reinstatement"]


class AdmissionBody(Body, frozen=True, kw_only=True):
    """The proposal that admitted a member, or would; `member` proposed it."""

    proposal: str
    status: Status
    member: str
    approved: tuple[str, ...]
    rejected: tuple[str, ...]
    needed: int


class MemberOfficerBody(OfficerBody, frozen=True, kw_only=True):
    """An officer, and the last day (UTC) on which its key signs; empty: it has none."""

    not_after: str


class MemberDetailBody(Body, frozen=True, kw_only=True):
    """A member, or an applicant (`proposed`) that is not on the ledger yet.

    `admission` is null for those that genesis names. `waits_for` says what has to happen before it
    is active: ballots on its admission, its height, its own acknowledgement, its reinstatement.
    `encryption_keys` are the one that payloads are sealed to now, and those before, newest first.
    `gateway` is where its payloads are fetched; null: it has not said.
    `credit` is the score that it starts with; how it stands has a route of its own.
    """

    id: str
    name_zh: str
    name_en: str
    region: str
    kind: str
    status: str
    credit: int
    officers: list[MemberOfficerBody]
    encryption_keys: list[EncryptionKeyBody]
    gateway: GatewayBody | None
    admission: AdmissionBody | None
    waits_for: WaitsFor
