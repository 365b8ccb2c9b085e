"""What tests propose over HTTP, and how they ask for it."""

from typing import Any

import msgspec

from contracts.shipped import load_shipped
from ledger.events import Event
from ledger.governance.actions import (
    Action,
    AddOfficer,
    AdmitMember,
    Application,
    OfficerKey,
    SetContract,
    SetFreeze,
    prove_key,
    sign_application,
)
from ledger.governance.proposals import GovernanceAcknowledged
from ledger.keys import SecretKey
from ledger.registry import Contract, Freeze, Role
from tests import builders
from tests.unit.node.api.harness import ENGLISH, MSGPACK, Served

APPLICANT = "cn-4403-tax"


def new_key(label: str, member: str, *roles: Role) -> OfficerKey:
    """A key that is not on the ledger, with the proof of its holder."""
    key = SecretKey(builders.hash32(label))
    proof = prove_key(key, builders.NETWORK, member)
    return OfficerKey(key=key.public, roles=roles, possession=proof)


def add_officer(member: str, label: str = "new", *roles: Role) -> AddOfficer:
    """The member gets an officer."""
    return AddOfficer(member=member, officer=new_key(label, member, *(roles or ("requester",))))


def admit(label: str = "applicant") -> AdmitMember:
    """An agency joins; its one key is an administrator's."""
    application = Application(
        id=APPLICANT,
        name_zh="深圳市税务局",
        name_en="Shenzhen",
        region="440300",
        kind="tax",
        contact="",
        keys=(new_key(label, APPLICANT, "admin"),),
    )
    return sign_application(SecretKey(builders.hash32(label)), builders.NETWORK, application)


def acknowledge(of: Event, label: str = "applicant") -> Event:
    """The applicant accepts."""
    return builders.sign(
        GovernanceAcknowledged(proposal=of.digest),
        member=APPLICANT,
        role="admin",
        key=SecretKey(builders.hash32(label)),
    )


def change_contract(id_: str = "statistics") -> SetContract:
    """A shipped contract with a remark more."""
    text = next(each.text for each in load_shipped().contracts if each.id == id_)
    return SetContract(contract=Contract(id=id_, text=f"// changed\n{text}"))


def freeze(**changed: str) -> SetFreeze:
    """Stop what is named; everything if nothing is."""
    base = {"requester": "", "provider": "", "dataset": "", "reason": "stop"}
    return SetFreeze(freeze=Freeze(**{**base, **changed}))


async def submit_all(node: Served, *events: Event) -> None:
    """Submit events that must all apply."""
    for event in events:
        body = await node.submit(event.data)
        assert body["outcome"]["applied"], body


async def preview(
    node: Served, *actions: Action, member: str = "", status: int = 200, **headers: str
) -> Any:
    """Ask for the dry run of a proposal."""
    async with node.client.post(
        "/v1/proposals/preview",
        data=msgspec.msgpack.encode({"actions": actions, "member": member}),
        headers={**MSGPACK, **ENGLISH, **headers},
    ) as response:
        body = await response.json(content_type=None)
        assert response.status == status, body
        return body
