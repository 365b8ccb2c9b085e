"""What commands that sign share: where to send, whom to believe, who signs, and the outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from ledger.blocks import Outcome
from ledger.errors import InvalidEvent
from ledger.events import Body
from ledger.keys import SecretKey
from tools.client import Client, VerifiedRecord
from tools.commands.keys import read_secret_key
from tools.exits import Denied, InvalidInput, RefusedEvent
from tools.localnet import Localnet
from tools.mirror import read_genesis
from tools.output import common, directory_option, emit, option, run
from tools.words import language, say


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to send, whom to believe, and who signs.

    `draft` names a file that is written in place of signing, for a machine without a network.
    """

    url: str
    genesis: Path
    member: str
    key: Path | None
    draft: Path | None = None


def place_options(
    role: str | None, *, drafts: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options that say where and who; the function gets a `Place`. With `drafts`, one may draft."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(
            directory: Path,
            url: str | None,
            genesis: Path | None,
            member: str,
            key: Path | None = None,
            draft: Path | None = None,
            **values: Any,
        ) -> Any:
            place = _find_place(directory, url, genesis, member, key, role, draft)
            return function(place=place, **values)

        wrapped.__doc__ = function.__doc__
        wrapped.__name__ = function.__name__
        path = click.Path(path_type=Path, dir_okay=False)
        decorated = common(wrapped)
        if role:
            decorated = option("--key", type=path, help="option.key")(decorated)
        if drafts:
            decorated = option("--draft", type=path, help="option.draft")(decorated)
        decorated = option("--member", default="", help="option.member")(decorated)
        decorated = option("--genesis", type=path, help="option.genesis")(decorated)
        decorated = option("--url", help="option.url")(decorated)
        return cast(Callable[..., Any], directory_option(decorated))

    return decorate


def _find_place(
    directory: Path,
    url: str | None,
    genesis: Path | None,
    member: str,
    key: Path | None,
    role: str | None,
    draft: Path | None,
) -> Place:
    if role and not member:
        raise InvalidInput("member-missing", "--member")
    needs_key = role is not None and draft is None
    if url is None or genesis is None or (needs_key and key is None):
        network = Localnet(directory.resolve())
        url = url or network.node(member if member in network.members else network.members[0]).api
        genesis = genesis or network.genesis_path
        if role and needs_key:
            key = key or network.officer_key_path(member, role)
    return Place(url=url, genesis=genesis, member=member, key=key, draft=draft)


def act(place: Place, body: Body, as_json: bool, *, done: str = "officer.done") -> None:
    """Sign, submit, verify, print `done`; a denial or a refused record is an error."""
    report(place, send(place, body), as_json, done=done)


def send(place: Place, body: Body) -> VerifiedRecord:
    """Sign, submit and verify."""

    async def submit() -> VerifiedRecord:
        assert place.key is not None, "commands that sign have a key"
        key = open_key(place.key)
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.execute(await client.sign(key, member=place.member, body=body))

    try:
        # Strict reading finds what the constructor does not check: dates, identifiers, counts.
        msgspec.convert(msgspec.to_builtins(body, builtin_types=(bytes,)), type(body))
        return run(submit())
    except (InvalidEvent, msgspec.ValidationError) as error:
        raise InvalidInput("event-body-invalid", str(error)) from None


def open_key(path: Path) -> SecretKey:
    """The key that signs: every command that signs reads it here."""
    return read_secret_key(path)


def report(place: Place, record: VerifiedRecord, as_json: bool, *, done: str) -> None:
    """Print what became of an event. Raises `Denied` or `RefusedEvent`."""
    outcome = record.outcome
    policies = ", ".join(outcome.policies)
    if outcome.decision == "deny":
        if as_json:
            emit(True, document_of(record), "")
        raise Denied(outcome.code or "contract-denied", policies + _explain(place, outcome))
    if not outcome.applied:
        raise RefusedEvent(outcome.code, say("officer.refused", index=record.index))
    text = say(
        done,
        exchange=record.event.exchange.hex(),
        digest=record.event.digest.hex(),
        index=record.index,
        outcome=describe(outcome),
        policies=policies or "-",
    )
    emit(as_json, document_of(record), text + _explain(place, outcome))


def _explain(place: Place, outcome: Outcome) -> str:
    """Why the contracts of the genesis decided so, a sentence a line; empty if nobody was asked."""
    from contracts.decision import explain
    from contracts.engine import PolicyEngine

    if not outcome.decision:
        return ""
    decision = PolicyEngine(read_genesis(place.genesis).policy_set).recall(outcome)
    if decision is None:
        return ""
    lines = explain(decision, language()).split("\n")
    return "".join(f"\n  {line}" for line in lines)


def describe(outcome: Outcome) -> str:
    """The outcome in a word or two."""
    if not outcome.applied:
        return f"{say('word.refused')} ({outcome.code})"
    return say(f"decision.{outcome.decision}") if outcome.decision else say("word.applied")


def document_of(record: VerifiedRecord) -> dict[str, Any]:
    """A record for `--json`."""
    outcome = msgspec.to_builtins(record.outcome, builtin_types=(bytes,))
    return {
        "verified": True,
        "index": record.index,
        "digest": record.event.digest.hex(),
        "exchange": record.event.exchange.hex(),
        "kind": record.event.kind,
        "member": record.event.member,
        "outcome": {**outcome, "policy_set": record.outcome.policy_set.hex()},
    }


def parse_hash(text: str) -> bytes:
    """The 32 bytes of a digest in hex. Raises `InvalidInput`."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32 or text != data.hex():
        raise InvalidInput("digest-invalid", text)
    return data
