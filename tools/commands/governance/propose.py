"""`tally admin propose`: one command for everything that members vote on."""

import datetime as dt
from pathlib import Path
from typing import Any, get_args

import click

from ledger.codec import Value
from ledger.errors import InvalidKey
from ledger.exchange.matters import DeadlineRules
from ledger.exchange.risk import RiskRules
from ledger.genesis import hash_genesis
from ledger.governance.actions import (
    ActionClass,
    LiftFreeze,
    ReinstateMember,
    RemoveContract,
    RetireMember,
    RevokeOfficer,
    SanctionMember,
    SetBasis,
    SetCreditRules,
    SetDataset,
    SetDeadlines,
    SetFreeze,
    SetParameters,
    SetPurpose,
    SetRiskRules,
    SetRoles,
    SetRule,
    SetSchema,
    SuspendMember,
    VotingRule,
)
from ledger.governance.keys import RotateOfficer, SetEncryptionKey, SetGateway, SetTerm
from ledger.keys import parse_public_key
from ledger.registry import CreditRules, Dataset, Freeze, LegalBasis, Parameters, Purpose, Role
from tools.client import Client
from tools.commands.acting import Place, document_of, report, send
from tools.commands.governance import proposing, registers
from tools.commands.governance.proposing import Terms, prepare, proposal_options, propose
from tools.exits import InvalidInput, InvalidUsage
from tools.gateway.making import read_application
from tools.governance.actions import read_contract, read_table, read_text, read_value
from tools.governance.applications import (
    read_admission,
    read_certificates,
    read_encryption_key,
    read_officer,
    read_successor,
)
from tools.mirror import read_genesis
from tools.options import WordGroup, option
from tools.output import emit, note, run
from tools.words import say

FILE = click.Path(path_type=Path, dir_okay=False)
CLASSES = list(get_args(ActionClass))
ROLES = list(get_args(Role))


class _LastDay(click.ParamType[str]):
    """A day of the calendar, or `never`, which is the empty text of the ledger."""

    name = "YYYY-MM-DD"

    def convert(self, value: str, _param: object, _context: object) -> str:
        """The day as the ledger has it. Raises `InvalidUsage`."""
        if value in ("", "never"):
            return ""
        try:
            day = dt.date.fromisoformat(value)
        except ValueError:
            raise InvalidUsage("day-invalid", value[:40]) from None
        return day.isoformat()


LAST_DAY = _LastDay()
_not_after = option("--not-after", type=LAST_DAY, default="", help="option.not_after")
_file = click.argument("file", type=FILE)
_grounds = option("--grounds", required=True, help="option.grounds")
_roles = option(
    "--role", "roles", type=click.Choice(ROLES), multiple=True, required=True, help="option.role"
)


@click.group("propose", cls=WordGroup, help="help.admin_propose")
def command() -> None:
    """Group."""


for each in registers.GROUPS:
    command.add_command(each)


def _group(name: str) -> click.Group:
    group = WordGroup(name, help=f"help.propose_{name}")
    command.add_command(group)
    return group


member, officer, contract = _group("member"), _group("officer"), _group("contract")
dataset, basis, purpose = _group("dataset"), _group("basis"), _group("purpose")
parameters, rule, credit = _group("parameters"), _group("rule"), _group("credit")
encryption, gateway = _group("encryption"), _group("gateway")
deadlines, risk = _group("deadlines"), _group("risk")


@member.command("admit", help="help.propose_member_admit")
@_file
@proposal_options()
def admit(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """An applicant becomes a member."""
    network = hash_genesis(read_genesis(place.genesis))
    propose(place, [read_admission(file, network)], terms, as_json)


@member.command("suspend", help="help.propose_member_suspend")
@click.argument("subject")
@_grounds
@proposal_options()
def suspend(place: Place, subject: str, grounds: str, terms: Terms, as_json: bool) -> None:
    """A member may do nothing for a while."""
    propose(place, [SuspendMember(member=subject, grounds=grounds)], terms, as_json)


@member.command("reinstate", help="help.propose_member_reinstate")
@click.argument("subject")
@_grounds
@proposal_options()
def reinstate(place: Place, subject: str, grounds: str, terms: Terms, as_json: bool) -> None:
    """A suspended member is active again."""
    propose(place, [ReinstateMember(member=subject, grounds=grounds)], terms, as_json)


@member.command("retire", help="help.propose_member_retire")
@click.argument("subject")
@_grounds
@proposal_options()
def retire(place: Place, subject: str, grounds: str, terms: Terms, as_json: bool) -> None:
    """A member leaves for good."""
    propose(place, [RetireMember(member=subject, grounds=grounds)], terms, as_json)


@member.command("sanction", help="help.propose_member_sanction")
@click.argument("subject")
@option("--points", type=click.IntRange(1, 1_000), required=True, help="option.points")
@_grounds
@proposal_options()
def sanction(
    place: Place, subject: str, points: int, grounds: str, terms: Terms, as_json: bool
) -> None:
    """A member loses credit."""
    action = SanctionMember(member=subject, points=points, grounds=grounds)
    propose(place, [action], terms, as_json)


@officer.command("add", help="help.propose_officer_add")
@_file
@_not_after
@proposal_options()
def add(place: Place, file: Path, not_after: str, terms: Terms, as_json: bool) -> None:
    """A member gets another officer."""
    network = hash_genesis(read_genesis(place.genesis))
    action = read_officer(file, network)
    term = term_of(action.member, action.officer.key, not_after)
    propose(place, [action, *term], terms, as_json)


@officer.command("term", help="help.propose_officer_term")
@click.argument("public_key")
@option("--not-after", type=LAST_DAY, required=True, help="option.not_after_or_never")
@option("--of", "owner", default="", help="option.officer_of")
@proposal_options()
def set_term(
    place: Place, public_key: str, not_after: str, owner: str, terms: Terms, as_json: bool
) -> None:
    """An officer's key signs up to a day, or without end."""
    key = parse_key(public_key)
    action = SetTerm(member=owner or place.member, key=key, not_after=not_after)
    propose(place, [action], terms, as_json)


@encryption.command("set", help="help.propose_encryption_set")
@_file
@_not_after
@proposal_options()
def set_encryption(place: Place, file: Path, not_after: str, terms: Terms, as_json: bool) -> None:
    """Payloads for the own member are sealed to this key."""
    key = read_encryption_key(file)
    action = SetEncryptionKey(member=place.member, key=key, not_after=not_after)
    propose(place, [action], terms, as_json)


@gateway.command("set", help="help.propose_gateway_set")
@click.argument("address")
@click.argument("files", type=FILE, nargs=-1, required=True)
@proposal_options()
def set_gateway(
    place: Place, address: str, files: tuple[Path, ...], terms: Terms, as_json: bool
) -> None:
    """Payloads of the own member are fetched there."""
    certificates = tuple(each for file in files for each in read_certificates(file))
    action = SetGateway(member=place.member, address=address, certificates=certificates)
    propose(place, [action], terms, as_json)


@gateway.command("add", help="help.propose_gateway_add")
@_file
@proposal_options()
def add_gateway(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """A new gateway with its officer, its encryption key and its address."""
    network = hash_genesis(read_genesis(place.genesis))
    propose(place, read_application(file, network).actions, terms, as_json)


@officer.command("roles", help="help.propose_officer_roles")
@click.argument("public_key")
@_roles
@proposal_options()
def set_roles(
    place: Place, public_key: str, roles: tuple[Role, ...], terms: Terms, as_json: bool
) -> None:
    """An officer has other roles."""
    action = SetRoles(key=parse_key(public_key), roles=tuple(sorted(frozenset(roles))))
    propose(place, [action], terms, as_json)


@officer.command("revoke", help="help.propose_officer_revoke")
@click.argument("public_key")
@_grounds
@proposal_options()
def revoke(place: Place, public_key: str, grounds: str, terms: Terms, as_json: bool) -> None:
    """A key signs no more."""
    action = RevokeOfficer(key=parse_key(public_key), grounds=grounds)
    propose(place, [action], terms, as_json)


@officer.command("rotate", help="help.propose_officer_rotate")
@_file
@option("--old", default="", help="option.old_key")
@_not_after
@option(
    "--overlap-blocks",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="option.overlap_blocks",
)
@_grounds
@proposal_options()
def rotate(
    place: Place,
    file: Path,
    old: str,
    not_after: str,
    overlap_blocks: int,
    grounds: str,
    terms: Terms,
    as_json: bool,
) -> None:
    """Two proposals: the successor signs from now on, the old key for some blocks more."""
    network = hash_genesis(read_genesis(place.genesis))
    successor, leaving = read_successor(file, network, parse_key(old) if old else None)
    if isinstance(successor, RotateOfficer):
        rotation = successor.statement.rotation
        term = term_of(rotation.member, rotation.new_key, not_after)
    else:
        term = term_of(successor.member, successor.officer.key, not_after)
    first = prepare(place, [successor, *term], terms)
    later = max(first.moment.height, terms.activate_height) + overlap_blocks
    ending = Terms(
        text=terms.text,
        activate_height=later,
        ballot_blocks=terms.ballot_blocks,
        dry_run=terms.dry_run,
    )
    second = prepare(place, [RevokeOfficer(key=leaving, grounds=grounds)], ending)
    told = "\n".join(map(proposing.describe, (first, second)))
    if terms.dry_run:
        previews = map(proposing.document_of, (first, second))
        emit(as_json, dict(zip(("add", "revoke"), previews, strict=True)), told)
        return
    note(told)
    explained = say("governance.rotation", height=later)
    documents = {}
    for name, prepared in (("add", first), ("revoke", second)):
        if place.draft is not None:
            path = place.draft.with_stem(f"{place.draft.stem}-{name}")
            documents[name] = proposing.write_draft(
                place, path, prepared.body, moment=prepared.moment, changes=prepared.preview.changes
            )
            continue
        record = send(place, prepared.body)
        if not as_json or not record.outcome.applied:
            report(place, record, as_json, done="admin.proposed")
        documents[name] = document_of(record)
    emit(as_json, documents, explained)


@contract.command("set", help="help.propose_contract_set")
@_file
@proposal_options()
def set_contract(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """A contract joins the policy set, or replaces the one of its name."""
    propose(place, [read_contract(file)], terms, as_json)


@contract.command("remove", help="help.propose_contract_remove")
@click.argument("name")
@proposal_options()
def remove_contract(place: Place, name: str, terms: Terms, as_json: bool) -> None:
    """A contract leaves the policy set."""
    propose(place, [RemoveContract(id=name)], terms, as_json)


@contract.command("schema", help="help.propose_contract_schema")
@_file
@proposal_options()
def set_schema(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """The contracts are written against another schema."""
    propose(place, [SetSchema(schema=read_text(file))], terms, as_json)


@dataset.command("set", help="help.propose_dataset_set")
@_file
@proposal_options()
def set_dataset(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """A dataset, or its next version."""
    propose(place, [SetDataset(dataset=read_value(file, Dataset))], terms, as_json)


@basis.command("set", help="help.propose_basis_set")
@_file
@proposal_options()
def set_basis(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """A legal basis."""
    propose(place, [SetBasis(basis=read_value(file, LegalBasis))], terms, as_json)


@purpose.command("set", help="help.propose_purpose_set")
@_file
@proposal_options()
def set_purpose(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """A purpose."""
    propose(place, [SetPurpose(purpose=read_value(file, Purpose))], terms, as_json)


@parameters.command("set", help="help.propose_parameters_set")
@_file
@proposal_options()
def set_parameters(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """Numbers that nodes share: those in the file, the others stay."""
    values = _fill(place, file, "parameters", Parameters)
    # Strict reading in `propose` judges what the file put in.
    propose(place, [SetParameters(parameters=Parameters(**values))], terms, as_json)


@deadlines.command("set", help="help.propose_deadlines_set")
@_file
@proposal_options()
def set_deadlines(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """Times that no contract sets: those in the file, the others stay."""
    values = _fill(place, file, "deadlines", DeadlineRules)
    propose(place, [SetDeadlines(rules=DeadlineRules(**values))], terms, as_json)


def _fill(place: Place, file: Path, section: str, type_: type[Value]) -> dict[str, Any]:
    """Values of all fields: those in the file, and for the others those in force."""
    changed = read_table(file)
    names = type_.__struct_fields__
    unknown = sorted(frozenset(changed) - frozenset(names))
    if unknown:
        raise InvalidInput("value-file-invalid", f"{file}: {', '.join(unknown)}")

    async def fetch() -> dict[str, Any]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return dict((await client.get_json("/v1/network"))[section])

    values = {**run(fetch()), **changed}
    return {name: values[name] for name in names}


@credit.command("set", help="help.propose_credit_set")
@_file
@proposal_options()
def set_credit(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """Credit is computed so."""
    propose(place, [SetCreditRules(rules=read_value(file, CreditRules))], terms, as_json)


@risk.command("set", help="help.propose_risk_set")
@_file
@proposal_options()
def set_risk(place: Place, file: Path, terms: Terms, as_json: bool) -> None:
    """Risk is assessed so."""
    propose(place, [SetRiskRules(rules=read_value(file, RiskRules))], terms, as_json)


@rule.command("set", help="help.propose_rule_set")
@click.argument("action_class", type=click.Choice(CLASSES))
@option("--share", type=click.IntRange(0, 1_000), required=True, help="option.share")
@option("--factors", type=click.IntRange(1, 2), default=1, show_default=True, help="option.factors")
@proposal_options()
def set_rule(
    place: Place, action_class: ActionClass, share: int, factors: int, terms: Terms, as_json: bool
) -> None:
    """Votes of a class are counted so."""
    changed = VotingRule(action_class=action_class, share=share, factors=factors)
    propose(place, [SetRule(rule=changed)], terms, as_json)


def _scope_options(function: Any) -> Any:
    decorated = option("--everything", is_flag=True, help="option.everything")(function)
    decorated = option("--dataset", default="", help="option.freeze_dataset")(decorated)
    decorated = option("--provider", default="", help="option.freeze_provider")(decorated)
    return option("--requester", default="", help="option.freeze_requester")(decorated)


@command.command("freeze", help="help.propose_freeze")
@_scope_options
@_grounds
@proposal_options()
def freeze(place: Place, grounds: str, terms: Terms, as_json: bool, **scope: Any) -> None:
    """Stop everything, a pair or a dataset."""
    stop = Freeze(**_scope_of(**scope), reason=grounds)
    propose(place, [SetFreeze(freeze=stop)], terms, as_json)


@command.command("unfreeze", help="help.propose_unfreeze")
@_scope_options
@proposal_options()
def unfreeze(place: Place, terms: Terms, as_json: bool, **scope: Any) -> None:
    """End a freeze."""
    propose(place, [LiftFreeze(**_scope_of(**scope))], terms, as_json)


def _scope_of(everything: bool, **names: str) -> dict[str, str]:
    """A scope is named, or everything is: nobody stops all by leaving an option out."""
    if everything is any(names.values()):
        raise InvalidUsage("freeze-scope", ", ".join(filter(None, names.values())) or "-")
    return names


def term_of(owner: str, key: bytes, not_after: str) -> list[SetTerm]:
    """The action that gives a new key its last day, if it is to have one."""
    return [SetTerm(member=owner, key=key, not_after=not_after)] if not_after else []


def parse_key(text: str) -> bytes:
    """A public key as `ed25519:HEX`. Raises `InvalidInput`."""
    try:
        return parse_public_key(text)
    except InvalidKey as error:
        raise InvalidInput("public-key-invalid", str(error)) from None
