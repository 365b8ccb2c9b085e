"""Who owes what in an exchange, and what is frozen for it, as a node tells it."""

from dataclasses import dataclass
from typing import Any

import msgspec

from ledger.exchange.risk import Risk
from ledger.scalars import Identifier
from tools.client import Client
from tools.commands.exchange.risks import read_risk
from tools.commands.exchange.tasks import Owed, tell_owed
from tools.exits import InvalidAnswer
from tools.governance.answers import FreezeLine
from tools.governance.freezes import holding, read_freezes, tell_freezes


class _Parties(msgspec.Struct, frozen=True, kw_only=True):
    requester: Identifier
    provider: Identifier
    dataset: Identifier


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    state: _Parties
    duties: tuple[Owed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a node says of an exchange; a replay computes it afresh."""

    risk: Risk
    duties: tuple[Owed, ...]
    freezes: tuple[FreezeLine, ...]


async def fetch_standing(client: Client, exchange: str) -> Standing:
    """Standing of an exchange. Raises `InvalidAnswer`, `Unreachable`."""
    document = await client.get_json(f"/v1/requests/{exchange}")
    try:
        told = msgspec.convert(document, _Told)
    except msgspec.ValidationError as error:
        raise InvalidAnswer("answer-malformed", f"/v1/requests: {error}") from None
    frozen = read_freezes(await client.get_json("/v1/status"))
    about = told.state
    return Standing(
        risk=read_risk(document),
        duties=told.duties,
        freezes=holding(frozen, about.requester, about.provider, about.dataset),
    )


def document_of(standing: Standing) -> dict[str, Any]:
    """For `--json`."""
    return {
        "duties": msgspec.to_builtins(standing.duties),
        "freezes": msgspec.to_builtins(standing.freezes),
    }


def describe_standing(standing: Standing) -> list[str]:
    """A line for each duty, then for each freeze."""
    return [*map(tell_owed, standing.duties), *tell_freezes(standing.freezes)]
