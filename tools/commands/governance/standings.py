"""What a network says of keys: whose they are, whether they count, and their last day.

Nothing here is proven: a node says it, for people who look after their keys.
"""

from typing import Any

import msgspec

from tools.client import Client
from tools.commands.exchange.pages import fetch_pages
from tools.governance.answers import MemberLine, parse

FINGERPRINT_DIGITS = 16


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Of one key. `not_after` is its last day; empty: it has none."""

    member: str
    state: str
    not_after: str


NOT_ON_THE_LEDGER = Standing(member="", state="unknown", not_after="")


class _Validator(msgspec.Struct, frozen=True, kw_only=True):
    member: str
    consensus_key: str
    cosigning_key: str


async def fetch_standings(client: Client) -> dict[str, Standing]:
    """By public key; of keys that payloads are sealed to, by fingerprint."""
    found: dict[str, Standing] = {}
    for member in await fetch_pages(client, "/v1/members", dict[str, Any], {}):
        name = str(member.get("id", ""))
        told = parse(await client.get_json(f"/v1/members/{name}"), MemberLine)
        for officer in told.officers:
            found[officer.key] = Standing(
                member=name, state=officer.status, not_after=officer.not_after
            )
        for each in told.encryption_keys:
            found[each.hash[:FINGERPRINT_DIGITS]] = Standing(
                member=name,
                state="superseded" if each.until_height else "active",
                not_after=each.not_after,
            )
    network = await client.get_json("/v1/network")
    for seat in parse(network, _Network).validators:
        for key in (seat.consensus_key, seat.cosigning_key):
            found[key] = Standing(member=seat.member, state="validator", not_after="")
    return found


class _Network(msgspec.Struct, frozen=True, kw_only=True):
    validators: tuple[_Validator, ...]
