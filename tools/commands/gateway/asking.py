"""`tally gateway request` and `offer`, signed by the service officer's key in the gateway."""

from pathlib import Path
from typing import Any

import click

from tools.commands.exchange.asking import (
    FILE,
    Request,
    offer_options,
    read_subjects,
    request_options,
)
from tools.commands.gateway.sockets import socket_options
from tools.exits import Denied, RefusedEvent
from tools.gateway.socket import GatewaySocket
from tools.options import WordCommand, option
from tools.output import emit
from tools.words import say


@click.command("request", cls=WordCommand, help="help.gateway_request")
@request_options
@socket_options
def request(gateway: GatewaySocket, wanted: Request, subjects: list[str], as_json: bool) -> None:
    """Ask for records. Exit code 4 when the contracts deny."""
    document = {"request": wanted.terms(), "subjects": subjects}
    _tell(gateway.post("/v1/requests", document), as_json)


@click.command("offer", cls=WordCommand, help="help.gateway_offer")
@offer_options
@option("--subjects", type=FILE, help="option.offer_subjects")
@socket_options
def offer(gateway: GatewaySocket, as_json: bool, subjects: Path | None, **values: Any) -> None:
    """Offer records without being asked. Exit code 4 when the contracts deny."""
    names = read_subjects(subjects) if subjects is not None else []
    _tell(gateway.post("/v1/offers", {**values, "subjects": names}), as_json)


def _tell(answer: dict[str, Any], as_json: bool) -> None:
    code = answer["code"]
    if answer["decision"] == "deny":
        raise Denied(code or "contract-denied", answer["exchange"])
    if code:
        raise RefusedEvent(code, answer["exchange"])
    decision = say(f"decision.{answer['decision']}")
    text = say("gateway.asked", decision=decision, exchange=answer["exchange"])
    emit(as_json, answer, text)


COMMANDS = (request, offer)
