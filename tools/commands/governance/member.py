"""`tally member`: apply, watch one's own state, acknowledge; officers' new keys."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from ledger.genesis import hash_genesis
from ledger.governance.actions import AdmitMember
from ledger.governance.proposals import GovernanceAcknowledged
from ledger.keys import fingerprint, format_public_key
from ledger.registry import MemberKind, Role
from tools.client import Client
from tools.commands.acting import Place, parse_hash, place_options
from tools.commands.governance.ballots import decide
from tools.commands.governance.stories import fetch_proposals
from tools.custody.making import KeyMaker, making_options
from tools.custody.passphrase import Ways, passphrase_options
from tools.custody.signer import open_signer
from tools.exits import InvalidInput, NotFound
from tools.governance.answers import (
    EncryptionKeyLine,
    GatewayLine,
    MemberLine,
    OfficerLine,
    Summary,
    Told,
    parse,
)
from tools.governance.applications import (
    APPLICATION,
    Applicant,
    encode_action,
    key_roles,
    make_application,
    make_keys,
    make_officer,
)
from tools.governance.changes import flatten, tell_role, tell_value
from tools.governance.stories import Story, fetch_story, tell_status
from tools.mirror import read_genesis
from tools.options import WordGroup, common, option
from tools.output import emit, format_table, printable, run
from tools.words import catalogue, language, say

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
FINGERPRINT_DIGITS = 16
FILE = click.Path(path_type=Path, dir_okay=False)
_genesis = option("--genesis", type=FILE, required=True, help="option.genesis")
_id = option("--member", required=True, help="option.applicant")


@click.group(cls=WordGroup, help="help.member")
def command() -> None:
    """Group."""


@command.command("apply", help="help.member_apply")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@_id
@option("--name-zh", required=True, help="option.name_zh")
@option("--name-en", required=True, help="option.name_en")
@option("--region", required=True, help="option.region")
@option("--kind", type=click.Choice(get_args(MemberKind)), required=True, help="option.kind")
@option("--contact", default="", help="option.contact")
@_genesis
@making_options
@common
def apply(directory: Path, genesis: Path, maker: KeyMaker, as_json: bool, **values: Any) -> None:
    """Make keys and the signed application; a second time with the same keys."""
    network = hash_genesis(read_genesis(genesis))
    applicant = Applicant(id=values.pop("member"), **values)
    keys = make_keys(directory, applicant.kind, maker)
    action = make_application(applicant, keys, network)
    path = directory / APPLICATION
    path.write_bytes(encode_action(action))
    roles = key_roles(applicant.kind)
    rows = [
        [name, format_public_key(key.public), fingerprint(key.public)] for name, key in keys.items()
    ]
    document = {
        "application": str(path),
        "member": applicant.id,
        "network": network.hex(),
        "keys": [
            {"file": _file_of(directory, name), "role": roles[name], "key": key}
            for name, key, _ in rows
        ],
    }
    head = [say(f"column.{name}") for name in ("file", "public_key", "fingerprint")]
    made = say("member.applied", path=path, member=applicant.id)
    emit(as_json, document, f"{format_table(head, rows)}\n{made}")


def _file_of(directory: Path, name: str) -> str:
    """Path of a key file; empty for a key that is on a token."""
    path = directory / "keys" / f"{name}.key"
    return str(path) if path.exists() else ""


@command.command("key", help="help.member_key")
@click.argument("key")
@_id
@passphrase_options
@option(
    "--role",
    "roles",
    type=click.Choice(get_args(Role)),
    multiple=True,
    required=True,
    help="option.role",
)
@option("--out", "-o", type=FILE, required=True, help="option.out_officer")
@_genesis
@common
def prove(
    key: str,
    ways: Ways,
    member: str,
    roles: tuple[Role, ...],
    out: Path,
    genesis: Path,
    as_json: bool,
) -> None:
    """Prove that one holds a new officer's key."""
    network = hash_genesis(read_genesis(genesis))
    signer = open_signer(key, ways)
    action = make_officer(signer, network=network, member=member, roles=list(roles))
    try:
        with out.open("xb") as file:
            file.write(encode_action(action))
    except FileExistsError:
        raise InvalidInput("file-exists", str(out)) from None
    document = {
        "file": str(out),
        "member": member,
        "roles": list(action.officer.roles),
        "key": format_public_key(signer.public),
        "fingerprint": fingerprint(signer.public),
    }
    emit(as_json, document, say("member.proven", path=out, public_key=document["key"]))


@command.command("acknowledge", help="help.member_acknowledge")
@click.argument("proposal")
@option("--yes", is_flag=True, help="option.yes_vote")
@place_options("admin", drafts=True)
def acknowledge(place: Place, proposal: str, yes: bool, as_json: bool) -> None:
    """Accept one's admission: active from now on."""
    decide(place, GovernanceAcknowledged(proposal=parse_hash(proposal)), as_json, yes=yes)


@command.command("show", help="help.member_show")
@click.argument("subject")
@place_options(None)
def show(place: Place, subject: str, as_json: bool) -> None:
    """Show a member and its officers."""
    if _ID.match(subject) is None:
        raise InvalidInput("subject-invalid", subject)
    document = run(_fetch(place, f"/v1/members/{subject}"))
    told = parse(document, MemberLine)
    rest = {name: value for name, value in document.items() if name not in _OWN_TABLE}
    lines = [tell_value(name, text) for name, text in flatten(rest)]
    tables = [_officers(told.officers), *_encryption(told.encryption_keys), *_gateway(told.gateway)]
    emit(as_json, document, "\n".join([*lines, *tables]))


_OWN_TABLE = ("officers", "encryption_keys", "gateway", "admission", "waits_for")


def _officers(officers: tuple[OfficerLine, ...]) -> str:
    words = catalogue(language())
    head = [say(f"column.{name}") for name in ("public_key", "roles", "state", "not_after")]
    rows = [
        [
            printable(each.key),
            ", ".join(map(tell_role, each.roles)),
            words.get(f"standing.{each.status}", printable(each.status)),
            printable(each.not_after) or "-",
        ]
        for each in officers
    ]
    return format_table(head, rows)


def _encryption(keys: tuple[EncryptionKeyLine, ...]) -> Iterator[str]:
    """A table of the keys that payloads are sealed to, if there are any."""
    head = [
        say(f"column.{name}") for name in ("encryption_key", "since", "superseded", "not_after")
    ]
    rows = [
        [
            printable(each.hash[:FINGERPRINT_DIGITS]),
            str(each.from_height),
            str(each.until_height or "-"),
            printable(each.not_after) or "-",
        ]
        for each in keys
    ]
    if rows:
        yield format_table(head, rows)


def _gateway(gateway: GatewayLine | None) -> Iterator[str]:
    """A table of where payloads are fetched, if it is known."""
    if gateway is not None:
        head = [say(f"column.{name}") for name in ("gateway", "since", "certificates")]
        shown = ", ".join(each.sha256 for each in gateway.certificates)
        row = [printable(gateway.address), str(gateway.height), printable(shown)]
        yield format_table(head, [row])


@command.command("status", help="help.member_status")
@place_options(None)
def status(place: Place, as_json: bool) -> None:
    """Show the state of a member or an applicant, and what it waits for."""
    if not place.member:
        raise InvalidInput("member-missing", "--member")
    if _ID.match(place.member) is None:
        raise InvalidInput("subject-invalid", place.member)
    standing = run(_standing(place))
    emit(as_json, msgspec.to_builtins(standing), _tell_standing(standing))


# What an agency is that the ledger does not know: nobody has proposed it, or ballots are open.
NOT_YET = ("unknown", "proposed")


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """One proposal to admit an agency, and how it stands."""

    proposal: str
    status: str
    approved: tuple[str, ...]
    rejected: tuple[str, ...]
    missing: tuple[str, ...]
    needed: int
    ballots_until_height: int
    reasons: tuple[str, ...]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """State of an agency: as in `NOT_YET`, or that of a member; oldest admission first."""

    member: str
    state: str
    waits_for: str
    admissions: tuple[Admission, ...]


async def _standing(place: Place) -> Standing:
    async with Client(place.url, read_genesis(place.genesis)) as client:
        found = []
        for item in await fetch_proposals(client):
            summary = parse(item, Summary)
            if "member.admit" not in summary.actions:
                continue
            story = await fetch_story(client, parse_hash(summary.digest))
            if place.member in _applicants(story):
                found.append(_admission(story.told))
        # Asked last: what has been decided meanwhile shows in the member.
        try:
            document = await client.get_json(f"/v1/members/{place.member}")
            state = parse(document, MemberLine).status
        except NotFound as error:
            if error.code != "member-not-found":
                raise
            state = "unknown"
    return Standing(
        member=place.member,
        state=state,
        waits_for=_waits_for(state, found[-1].status if found else ""),
        admissions=tuple(found),
    )


def _applicants(story: Story) -> list[str]:
    actions = story.body.actions
    return [each.application.id for each in actions if isinstance(each, AdmitMember)]


def _admission(told: Told) -> Admission:
    return Admission(
        proposal=told.digest,
        status=told.status,
        approved=told.approved,
        rejected=told.rejected,
        missing=told.missing,
        needed=told.needed,
        ballots_until_height=told.ballots_until_height,
        reasons=tuple(f"{each.member}: {each.text}" for each in told.ballots if each.text),
    )


def _waits_for(state: str, admission: str) -> str:
    """Code of the next step: the words stand in the catalogue under `waits`."""
    if state not in NOT_YET:
        steps = {"applied": "acknowledgement", "suspended": "reinstatement"}
        return steps.get(state, "nothing")
    return {"open": "ballots", "waiting": "height", "": "proposal"}.get(admission, "again")


def _tell_standing(standing: Standing) -> str:
    state = catalogue(language()).get(f"standing.{standing.state}", standing.state)
    lines = [say("member.state", member=standing.member, state=printable(state))]
    for each in standing.admissions:
        lines.append(
            say(
                "member.admission",
                digest=printable(each.proposal),
                status=tell_status(each.status),
                approved=", ".join(each.approved) or "-",
                rejected=", ".join(each.rejected) or "-",
                missing=", ".join(each.missing) or "-",
                needed=each.needed,
                until=each.ballots_until_height,
            )
        )
        lines += [f"    {printable(reason)}" for reason in each.reasons]
    digest = standing.admissions[-1].proposal if standing.admissions else "PROPOSAL"
    waits = catalogue(language())[f"waits.{standing.waits_for}"]
    lines.append(waits.format(member=standing.member, digest=printable(digest)))
    return "\n".join(lines)


async def _fetch(place: Place, path: str) -> dict[str, Any]:
    async with Client(place.url, read_genesis(place.genesis)) as client:
        return await client.get_json(path)
