"""What commands that sign share: where to send, whom to believe, who signs, and the outcome."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from contracts.words import Language, kind_word
from ledger.blocks import Outcome
from ledger.errors import InvalidEvent
from ledger.events import BODY_TYPES, Body, Event
from ledger.genesis import Genesis, hash_genesis
from ledger.keys import Signer
from tools.client import Client, VerifiedRecord
from tools.custody.passphrase import PROMPT, Ways, choose_ways
from tools.custody.signer import KeyInfo, describe_key, open_signer
from tools.exits import Denied, InvalidInput, RefusedEvent, ToolError
from tools.governance.freezes import read_freezes, tell_freezes
from tools.localnet import Localnet
from tools.mirror import read_genesis
from tools.options import common, directory_option, option
from tools.output import emit, note, run
from tools.words import language, say

LEVEL_S_MAX = 5
SHOWN_MAX = 20
TEXT_SHOWN_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to send, whom to believe, who signs, and how its pass phrase is given.

    `key` is a reference for `tools.custody.signer`. `draft` names a file that is written in place
    of signing, for a machine without a network. `others` are further nodes that run on this one.
    """

    url: str
    genesis: Path
    member: str
    key: str | None
    ways: Ways = PROMPT
    draft: Path | None = None
    others: tuple[str, ...] = ()


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
            key: str | None = None,
            passphrase_file: Path | None = None,
            credential: str = "",
            draft: Path | None = None,
            **values: Any,
        ) -> Any:
            ways = choose_ways(passphrase_file, credential)
            place = _find_place(directory, url, genesis, member, key, role, ways, draft)
            return function(place=place, **values)

        wrapped.__doc__ = function.__doc__
        wrapped.__name__ = function.__name__
        path = click.Path(path_type=Path, dir_okay=False)
        decorated = common(wrapped)
        if role:
            decorated = option("--credential", default="", help="option.credential")(decorated)
            decorated = option("--passphrase-file", type=path, help="option.passphrase_file")(
                decorated
            )
            decorated = option("--key", help="option.key")(decorated)
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
    key: str | None,
    role: str | None,
    ways: Ways,
    draft: Path | None,
) -> Place:
    if role and not member:
        raise InvalidInput("member-missing", "--member")
    needs_key = role is not None and draft is None
    others: tuple[str, ...] = ()
    if url is None or genesis is None or (needs_key and key is None):
        network = Localnet(directory.resolve())
        if url is None:
            own = member if member in network.members else network.members[0]
            url = network.node(own).api
            others = tuple(
                network.node(each).api
                for each in network.members
                if each != own and network.pid(each)
            )
        genesis = genesis or network.genesis_path
        if role and needs_key:
            key = key or str(network.officer_key_path(member, role))
    return Place(
        url=url,
        genesis=genesis,
        member=member,
        key=key,
        ways=ways,
        draft=draft,
        others=others,
    )


def act(
    place: Place,
    body: Body,
    as_json: bool,
    *,
    done: str = "officer.done",
    prepare: Callable[[], None] = lambda: None,
    hand: Callable[[Event], None] = lambda _: None,
) -> None:
    """Sign, submit, verify, print `done`; a denial or a refused record is an error.

    Who must unlock a key sees first what it will sign. `prepare` is called when the key is open
    and nothing is signed yet, `hand` when the event is signed and not submitted yet.
    """
    report(place, send(place, body, prepare=prepare, hand=hand), as_json, done=done)


def send(
    place: Place,
    body: Body,
    *,
    prepare: Callable[[], None] = lambda: None,
    hand: Callable[[Event], None] = lambda _: None,
) -> VerifiedRecord:
    """Sign, submit and verify."""
    assert place.key is not None, "commands that sign have a key"

    async def submit(key: Signer, genesis: Genesis) -> VerifiedRecord:
        async with Client(place.url, genesis) as client:
            event = await client.sign(key, member=place.member, body=body)
            await asyncio.to_thread(hand, event)
            # Once more where somebody else has submitted it: the first outcome is the answer.
            return await execute(client, event, place.others)

    try:
        # Strict reading finds what the constructor does not check: dates, identifiers, counts.
        msgspec.convert(msgspec.to_builtins(body, builtin_types=(bytes,)), type(body))
        info, genesis = describe_key(place.key), read_genesis(place.genesis)
        if info.is_protected:
            note(_describe_body(place, info, genesis, body))
        signer = open_signer(place.key, place.ways)
        prepare()
        return run(submit(signer, genesis))
    except (InvalidEvent, msgspec.ValidationError) as error:
        raise InvalidInput("event-body-invalid", str(error)) from None


async def execute(client: Client, event: Event, others: Sequence[str]) -> VerifiedRecord:
    """Submit and verify; then let the other nodes of this machine come level.

    So the next command finds what this one has done, whichever of them it asks. One that does not
    answer is not waited for.
    """
    record = await client.execute(event)

    async def follow(url: str) -> None:
        with suppress(ToolError):
            async with Client(url, client.genesis) as other:
                await other.wait_note(record.index)

    with suppress(TimeoutError):
        async with asyncio.timeout(LEVEL_S_MAX):
            await asyncio.gather(*map(follow, others))
    return record


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


def _describe_body(place: Place, info: KeyInfo, genesis: Genesis, body: Body) -> str:
    """What a key is asked to sign, a field a line."""
    lang: Language = "zh" if language() == "zh" else "en"
    kind = next(kind for (kind, _), type_ in BODY_TYPES.items() if type_ is type(body))
    head = say(
        "custody.to_sign",
        kind=kind_word(kind, lang),
        member=place.member,
        network=genesis.name,
        network_hash=hash_genesis(genesis).hex(),
        fingerprint=info.fingerprint,
    )
    fields = _flatten("", msgspec.to_builtins(body, builtin_types=(bytes,)))
    return "\n".join([head, *(f"  {name}: {text}" for name, text in fields)])


def _flatten(name: str, value: Any) -> list[tuple[str, str]]:
    """Names and texts of what stands in a body. Long bytes and lists are shortened."""
    if isinstance(value, dict):
        prefix = f"{name}." if name else ""
        return [row for key in value for row in _flatten(f"{prefix}{key}", value[key])]
    if isinstance(value, list | tuple):
        rows = [row for each in value[:SHOWN_MAX] for row in _flatten(name, each)]
        more = len(value) - SHOWN_MAX
        return [*rows, (name, f"... +{more}")] if more > 0 else rows
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = "".join(char if char.isprintable() else "?" for char in text)
    return [(name, text if len(text) <= TEXT_SHOWN_MAX else f"{text[:TEXT_SHOWN_MAX]}...")]


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


def note_freezes(place: Place) -> None:
    """Tell on stderr what is frozen: nobody should work on what cannot move."""

    async def fetch() -> dict[str, Any]:
        async with Client(place.url, read_genesis(place.genesis)) as client:
            return await client.get_json("/v1/status")

    for line in tell_freezes(read_freezes(run(fetch()))):
        note(line)


def parse_hash(text: str) -> bytes:
    """The 32 bytes of a digest in hex. Raises `InvalidInput`."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != 32 or text != data.hex():
        raise InvalidInput("digest-invalid", text)
    return data
