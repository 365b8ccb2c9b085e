"""A log with one exchange whose signers were admitted by votes, in a later epoch, among others."""

import re
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import msgspec

from ledger.custody.rotation import sign_rotation
from ledger.events import Body, Event, ShareApproved, ShareDelivered, ShareReceived
from ledger.genesis import hash_genesis
from ledger.governance.actions import (
    Action,
    AddOfficer,
    Application,
    OfficerKey,
    ReinstateMember,
    RevokeOfficer,
    SetParameters,
    SetRoles,
    SuspendMember,
    prove_key,
    sign_application,
)
from ledger.governance.keys import RotateOfficer, SetTerm
from ledger.governance.proposals import (
    GovernanceAcknowledged,
    GovernanceBalloted,
    GovernanceProposed,
)
from ledger.keys import SecretKey
from ledger.quorum.governance import (
    AddValidator,
    RemoveValidator,
    ValidatorReady,
    prove_possession,
)
from ledger.quorum.lists import hash_validator_list
from ledger.registry import Role
from tests.builders import DATASETS, OUTBOX_UNTIL_MS, hash32
from tests.unit.contracts.drafts.pasts import add_executed, make_past_genesis, write_copy
from tests.unit.ledger.builders import (
    ChainBuilder,
    consensus_secret,
    make_event,
    make_request,
    make_validator,
    officer_secret,
)
from tools.audit.evidence.bundle import Evidence, folder_name, make_files, make_manifest, pack
from tools.audit.evidence.gather import gather

ADMIN, CLERK, ROTATED = (SecretKey(hash32(f"center {name}")) for name in ("admin", "old", "new"))
APPROVER, OTHER = SecretKey(hash32("south approver")), SecretKey(hash32("north other"))
PAYLOAD = hash32("payload")
AFTER = ("center", "east", "north", "south")


class Case:
    """Center is admitted, acknowledges, gets a successor key and a seat; then it asks south.

    South's approver was added by a vote too. Before, between and after stand events of others.
    """

    def __init__(self) -> None:
        genesis = make_past_genesis()
        officers = tuple(
            msgspec.structs.replace(each, roles=("admin", *each.roles)) for each in genesis.officers
        )
        self.chain = ChainBuilder(msgspec.structs.replace(genesis, officers=officers))
        self.network, self.number = self.chain.network, 0
        self.admitted = self.decide(self.admission())
        self.act("center", GovernanceAcknowledged(proposal=self.admitted.digest), ADMIN)
        self.other = self.act("north", self.asking())
        self.added = self.decide(self.adding("south", APPROVER, "approver"))
        self.unrelated = self.decide(self.adding("north", OTHER, "requester"))
        rotation = sign_rotation(CLERK, ROTATED, network=self.network, member="center")
        self.rotated = self.decide(RotateOfficer(statement=rotation))
        self.changed = self.decide(
            SetRoles(key=APPROVER.public, roles=("approver", "provider")),
            SetTerm(member="center", key=ROTATED.public, not_after="2030-12-31"),
        )
        self.suspended = self.decide(SuspendMember(member="center", grounds="late"))
        self.reinstated = self.decide(ReinstateMember(member="center", grounds="mended"))
        parameters = msgspec.structs.replace(genesis.parameters, heartbeat_ms=70_000)
        self.decide(SetParameters(parameters=parameters))
        self.change_seats()
        self.asked = self.act("center", self.asking(), ROTATED)
        self.exchange = self.asked.digest
        approval = ShareApproved(exchange=self.exchange, comment="<b>ok & \u7b26</b>")
        self.act("south", approval, APPROVER)
        self.act("south", approval, APPROVER, applied=False)
        self.delivered = self.act("south", self.delivery())
        received = ShareReceived(exchange=self.exchange, commitment=PAYLOAD, record_count=3)
        self.act("center", received, ROTATED)
        self.revoked = self.decide(RevokeOfficer(key=ROTATED.public, grounds="left"))
        self.act("north", self.asking())

    def act(
        self, member: str, body: Body, key: SecretKey | None = None, *, applied: bool = True
    ) -> Event:
        """One block with one event."""
        event = self.sign(member, body, key)
        (outcome,) = add_executed(self.chain, [event])
        assert outcome.applied == applied, outcome
        return event

    def sign(self, member: str, body: Body, key: SecretKey | None = None) -> Event:
        self.number += 1
        lies: dict[str, Any] = {"network": self.network, "member": member, "body": body}
        return make_event(self.number, secret=key or officer_secret(member), **lies)

    def decide(self, *actions: Action) -> Event:
        """A proposal of east and two ballots, in one block; the next block begins with it."""
        body = GovernanceProposed(
            actions=actions, text="", activate_height=0, ballots_until_height=500
        )
        proposal = self.sign("east", body)
        yes = GovernanceBalloted(proposal=proposal.digest, approve=True, text="")
        ballots = [self.sign(member, yes) for member in ("north", "south")]
        outcomes = add_executed(self.chain, [proposal, *ballots])
        assert all(outcome.applied for outcome in outcomes), outcomes
        return proposal

    def admission(self) -> Action:
        named: dict[SecretKey, tuple[Role, ...]] = {ADMIN: ("admin",), CLERK: ("requester",)}
        keys = [
            OfficerKey(key=key.public, roles=roles, possession=self.prove(key, "center"))
            for key, roles in named.items()
        ]
        application = Application(
            id="center", name_zh="\u4e2d\u5fc3", name_en="Center", region="310000", kind="tax",
            contact="", keys=tuple(sorted(keys, key=lambda each: each.key)),
        )  # fmt: skip
        return sign_application(ADMIN, self.network, application)

    def adding(self, member: str, key: SecretKey, role: Role) -> Action:
        possession = self.prove(key, member)
        officer = OfficerKey(key=key.public, roles=(role,), possession=possession)
        return AddOfficer(member=member, officer=officer)

    def prove(self, key: SecretKey, member: str) -> bytes:
        return prove_key(key, self.network, member)

    def change_seats(self) -> None:
        """Center gets the seat of west: the next epoch."""
        following = tuple(make_validator(member) for member in AFTER)
        possession = prove_possession(consensus_secret("center"), self.network, following[0])
        joins = AddValidator(validator=following[0], address="[::1]:1", possession=possession)
        self.decide(joins, RemoveValidator(member="west"))
        ready = ValidatorReady(
            next_epoch=1, set_hash=hash_validator_list(following), synced_height=1
        )
        events = [self.sign(each, ready, consensus_secret(each)) for each in AFTER[:3]]
        add_executed(self.chain, events, next_validators=hash_validator_list(following))
        self.chain.enter(following)

    def asking(self) -> Body:
        wanted = next(each for each in DATASETS if each.id == "account")
        return make_request(
            provider="south", dataset="account", fields=tuple(each.id for each in wanted.fields)
        )

    def delivery(self) -> Body:
        return ShareDelivered(
            exchange=self.exchange, commitment=PAYLOAD, record_count=3, schema_version=1,
            quality_digest=bytes(32), size_bytes=100, outbox_until_ms=OUTBOX_UNTIL_MS,
        )  # fmt: skip

    @property
    def behind_signers(self) -> tuple[Event, ...]:
        """The proposals that made and changed those who signed."""
        return (
            self.admitted, self.added, self.rotated, self.changed, self.suspended,
            self.reinstated, self.revoked,
        )  # fmt: skip

    @property
    def trusted(self) -> str:
        """The network id that a court was told."""
        return hash_genesis(self.chain.genesis).hex()


@cache
def make_case() -> Case:
    """The case, executed once."""
    return Case()


def mirror_of(case: Case, folder: Path) -> Path:
    """A copy of its log."""
    return write_copy(case.chain, folder)


@cache
def gathered(case: Case) -> Evidence:
    """The evidence of its exchange, from a mirror."""
    with TemporaryDirectory() as name:
        folder = write_copy(case.chain, Path(name))
        return gather(folder, case.exchange, case.chain.genesis, map, _silent)


def _silent(done: int, total: int) -> None:
    del done, total


@cache
def bundle_of(case: Case) -> bytes:
    """The zip file."""
    return pack(make_files(gathered(case)), folder_name(case.exchange))


def unpacked(case: Case) -> dict[str, bytes]:
    """Files of the bag by their paths in it."""
    return unzipped(bundle_of(case))


def unzipped(data: bytes) -> dict[str, bytes]:
    """The same of any bag."""
    with ZipFile(BytesIO(data)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def repacked(case: Case, content: dict[str, bytes]) -> bytes:
    """Changed files in a bag whose totals and manifests are right again."""
    payload = {name: data for name, data in content.items() if name.startswith("data/")}
    tags = {name: data for name, data in content.items() if name not in payload}
    total = f"Payload-Oxum: {sum(map(len, payload.values()))}.{len(payload)}\n".encode()
    if "bag-info.txt" in tags:
        tags["bag-info.txt"] = re.sub(rb"Payload-Oxum: .*\n", total, tags["bag-info.txt"])
    tags.pop("tagmanifest-sha256.txt", None)
    tags["manifest-sha256.txt"] = make_manifest(payload)
    both = {**payload, **tags, "tagmanifest-sha256.txt": make_manifest(tags)}
    return pack(both, folder_name(case.exchange))


def written(content: dict[str, bytes], folder: Path) -> Path:
    """The files of a bag, unpacked into a folder."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
