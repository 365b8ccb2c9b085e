"""`tally audit who`: everything that a key, an officer or a member did, from a verified copy."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import click

from contracts.words import kind_word
from ledger.errors import InvalidKey
from ledger.events import ShareRequested
from ledger.governance.proposals import GovernanceBalloted
from ledger.keys import fingerprint, format_public_key, parse_public_key
from ledger.registry import Exchange
from tools.audit.left import begin_left
from tools.audit.period import make_period, period_options
from tools.commands.acting import describe as describe_outcome
from tools.exits import InvalidInput, NotFound
from tools.governance.accounts import (
    Account,
    Act,
    KeyLife,
    Subject,
    account_for,
    actions_of,
    proposal_of,
)
from tools.governance.actions import summarise
from tools.governance.changes import tell_role
from tools.localnet import Localnet
from tools.mirror import copy_at, event_map, folder_reader, read_genesis
from tools.options import WordCommand, common, directory_option, jobs_option, option
from tools.output import emit, format_table, note, printable, progress
from tools.words import catalogue, language, say

_FINGERPRINT = re.compile(r"[0-9a-f]{16}\Z")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
DIGEST_SHOWN = 12


@click.command("who", cls=WordCommand, help="help.audit_who")
@click.argument("subject")
@click.argument("where", required=False)
@period_options
@directory_option
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@jobs_option
@common
def who(
    subject: str,
    where: str | None,
    first: str | None,
    last: str | None,
    directory: Path,
    genesis: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Everything done by somebody."""
    asked, period = parse_subject(subject), make_period(first, last)
    if where is None:
        network = Localnet(directory.resolve())
        where = network.index.nodes[0].api
        genesis = genesis or network.genesis_path
    founding = read_genesis(genesis) if genesis else None
    if founding is None:
        note(say("audit.unpinned"))
    with (
        copy_at(where, founding) as directory,
        event_map(jobs) as map_events,
        progress("audit.replaying") as bar,
    ):
        account = account_for(
            folder_reader(directory),
            asked,
            genesis=founding,
            period=period,
            begin=begin_left(directory, period),
            map_events=map_events,
            on_progress=lambda reached: bar(reached.done, reached.total),
        )
    if not account.acts and not account.keys:
        raise NotFound("subject-not-found", subject)
    emit(as_json, _document(subject, account), _tell(account))


def parse_subject(text: str) -> Subject:
    """A public key, the fingerprint of one, or the id of a member. Raises `InvalidInput`."""
    if text.startswith("ed25519:"):
        try:
            return Subject(key=parse_public_key(text))
        except InvalidKey as error:
            raise InvalidInput("public-key-invalid", str(error)) from None
    if _FINGERPRINT.match(text):
        return Subject(fingerprint=text)
    if not _MEMBER.match(text):
        raise InvalidInput("subject-invalid", text)
    return Subject(member=text)


def _tell(account: Account) -> str:
    columns = ("index", "height", "time", "kind", "as", "about", "contract_set", "outcome")
    head = [say(f"column.{name}") for name in columns]
    keys = [_tell_key(life, account.acts) for life in account.keys]
    table = format_table(head, [_row(act) for act in account.acts])
    foot = say(
        "who.read" if not account.begins else "who.read_left",
        count=len(account.acts),
        entries=account.entries,
        begins=account.begins,
        height=account.height,
    )
    return "\n".join([*keys, table, foot])


def _row(act: Act) -> list[str]:
    cells = [
        str(act.index),
        str(act.height),
        _time(act.time_ms),
        kind_word(act.event.kind, "zh" if language() == "zh" else "en"),
        f"{fingerprint(act.event.officer)} {_roles(act)}",
        _about(act),
        str(act.policy_set),
        describe_outcome(act.outcome),
    ]
    return [printable(cell) for cell in cells]


def _roles(act: Act) -> str:
    standing = catalogue(language()).get(f"standing.{act.standing}", act.standing)
    names = ", ".join(tell_role(role) for role in act.roles)
    return f"{names} ({standing})" if names else standing


def _about(act: Act) -> str:
    """What an act is about: of a ballot, which way and on what."""
    body, opened = act.event.body, act.opened
    subject = act.event.subject.hex()[:DIGEST_SHOWN]
    if isinstance(body, GovernanceBalloted):
        verb = say("who.approve" if body.approve else "who.reject")
        subject = f"{verb} {subject}"
    if actions := actions_of(act):
        return f"{subject} {summarise(actions)}"
    if opened is not None and isinstance(opened.body, ShareRequested):
        asked = opened.body
        return f"{subject} {opened.member} → {asked.provider} {asked.dataset} {asked.purpose}"
    if isinstance(act.known, Exchange):
        known = act.known
        return f"{subject} {known.requester} → {known.provider} {known.dataset} {known.purpose}"
    return subject


def _tell_key(life: KeyLife, acts: list[Act]) -> str:
    words = {
        "public_key": format_public_key(life.key),
        "fingerprint": fingerprint(life.key),
        "member": life.member,
        "roles": ", ".join(map(tell_role, life.roles)),
        "since": life.since_height,
        "by": life.added_by.hex()[:DIGEST_SHOWN] or say("who.genesis"),
    }
    line = say("who.key" if life.since_height is not None else "who.key_before", **words)
    if life.status == "revoked" and life.revoked_height is None:
        line += "\n  " + say("who.revoked_before")
    if life.revoked_height is not None:
        line += "\n  " + say(
            "who.revoked",
            height=life.revoked_height,
            by=life.revoked_by.hex()[:DIGEST_SHOWN],
            count=sum(act.event.officer == life.key for act in acts),
        )
    return line


def _time(time_ms: int) -> str:
    moment = dt.datetime.fromtimestamp(time_ms // 1_000, dt.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _document(subject: str, account: Account) -> dict[str, Any]:
    return {
        "subject": subject,
        "network": account.network.hex(),
        "entries": account.entries,
        "begins": account.begins,
        "height": account.height,
        "keys": [_key_document(life) for life in account.keys],
        "acts": [_act_document(act) for act in account.acts],
    }


def _key_document(life: KeyLife) -> dict[str, Any]:
    return {
        "key": format_public_key(life.key),
        "fingerprint": fingerprint(life.key),
        "member": life.member,
        "roles": list(life.roles),
        "since_height": life.since_height,
        "added_by": life.added_by.hex(),
        "status": life.status,
        "revoked_height": life.revoked_height,
        "revoked_by": life.revoked_by.hex(),
    }


def _act_document(act: Act) -> dict[str, Any]:
    event, outcome, body = act.event, act.outcome, act.event.body
    return {
        "index": act.index,
        "height": act.height,
        "time_ms": act.time_ms,
        "event": event.digest.hex(),
        "kind": event.kind,
        "member": event.member,
        "officer": format_public_key(event.officer),
        "roles": list(act.roles),
        "standing": act.standing,
        "member_status": act.member_status,
        "policy_set": act.policy_set,
        "policy_set_hash": outcome.policy_set.hex(),
        "policies": list(outcome.policies),
        "applied": outcome.applied,
        "code": outcome.code,
        "decision": outcome.decision,
        "exchange": event.exchange.hex(),
        "proposal": proposal_of(act).hex(),
        "actions": summarise(actions_of(act)),
        "approve": body.approve if isinstance(body, GovernanceBalloted) else None,
        "text": getattr(body, "text", ""),
    }
