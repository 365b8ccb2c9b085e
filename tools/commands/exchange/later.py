"""`tally officer`: offers, and what follows a delivery until nothing of it is left."""

from pathlib import Path
from typing import Any

import click

from ledger.exchange.bodies import (
    ShareConsentGiven,
    ShareConsentRefused,
    ShareConsentRequested,
    ShareCorrected,
    ShareCorrectionAcknowledged,
    ShareDestroyed,
    ShareDisputed,
    ShareDisputeResolved,
    ShareOffered,
    ShareRated,
    ShareUsed,
)
from tools.commands.acting import Place, act, parse_hash, place_options
from tools.commands.exchange.asking import offer_options
from tools.exits import InvalidInput
from tools.options import WordCommand, option

_TEXT = option("--text", default="", help="option.comment")
_COMMITMENT = option("--commitment", required=True, help="option.commitment")


@click.command("offer", cls=WordCommand, help="help.officer_offer")
@offer_options
@place_options("provider")
def offer(place: Place, as_json: bool, **values: Any) -> None:
    """Offer data without being asked. Exit code 4 when the contracts deny."""
    act(place, ShareOffered(subjects=(), **values), as_json)


@click.command("use", cls=WordCommand, help="help.officer_use")
@click.argument("exchange")
@_COMMITMENT
@option("--outcome", required=True, help="option.use_outcome")
@option("--consent", default="", help="option.consent")
@_TEXT
@place_options("requester")
def use(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Report a use."""
    body = ShareUsed(
        exchange=parse_hash(exchange),
        commitment=parse_hash(values["commitment"]),
        outcome=values["outcome"],
        consent=parse_hash(values["consent"]) if values["consent"] else b"",
        text=values["text"],
    )
    act(place, body, as_json)


@click.command("ask-consent", cls=WordCommand, help="help.officer_ask_consent")
@click.argument("exchange")
@option("--to", "recipient", default="", help="option.onward")
@option("--purpose", required=True, help="option.purpose")
@option("--legal-basis", required=True, help="option.legal_basis")
@_TEXT
@place_options("requester")
def ask_consent(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Ask for another purpose or recipient."""
    body = ShareConsentRequested(
        exchange=parse_hash(exchange),
        recipient=values["recipient"] or place.member,
        purpose=values["purpose"],
        legal_basis=values["legal_basis"],
        text=values["text"],
    )
    act(place, body, as_json)


@click.command("answer-consent", cls=WordCommand, help="help.officer_answer_consent")
@click.argument("exchange")
@click.argument("consent")
@option("--refuse", "reason", default="", help="option.consent_refuse")
@_TEXT
@place_options("approver")
def answer_consent(
    place: Place, exchange: str, consent: str, reason: str, text: str, as_json: bool
) -> None:
    """Agree, or refuse with a reason."""
    about, asked = parse_hash(exchange), parse_hash(consent)
    if reason:
        body = ShareConsentRefused(exchange=about, consent=asked, reason=reason, text=text)
        act(place, body, as_json)
    else:
        act(place, ShareConsentGiven(exchange=about, consent=asked, text=text), as_json)


@click.command("correct", cls=WordCommand, help="help.officer_correct")
@click.argument("exchange")
@option("--supersedes", required=True, help="option.supersedes")
@option("--reason", required=True, help="option.correction_reason")
@_COMMITMENT
@option("--records", "record_count", type=click.IntRange(0), required=True, help="option.records")
@option("--quality-digest", required=True, help="option.quality")
@option("--size-bytes", type=click.IntRange(0), required=True, help="option.size")
@option("--schema-version", type=click.IntRange(1), default=1, help="option.schema")
@option("--outbox-until-ms", type=click.IntRange(0), required=True, help="option.outbox")
@_TEXT
@place_options("provider")
def correct(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Record a delivery that supersedes another."""
    body = ShareCorrected(
        exchange=parse_hash(exchange),
        supersedes=parse_hash(values.pop("supersedes")),
        commitment=parse_hash(values.pop("commitment")),
        quality_digest=parse_hash(values.pop("quality_digest")),
        **values,
    )
    act(place, body, as_json)


@click.command("acknowledge", cls=WordCommand, help="help.officer_acknowledge")
@click.argument("exchange")
@_COMMITMENT
@place_options("requester")
def acknowledge(place: Place, exchange: str, commitment: str, as_json: bool) -> None:
    """Confirm that a correction has replaced what was held."""
    body = ShareCorrectionAcknowledged(
        exchange=parse_hash(exchange), commitment=parse_hash(commitment)
    )
    act(place, body, as_json)


@click.command("destroy", cls=WordCommand, help="help.officer_destroy")
@click.argument("exchange")
@_COMMITMENT
@option("--method", default="crypto-erase", show_default=True, help="option.method")
@option("--blinds", type=click.Path(path_type=Path, dir_okay=False), help="option.destroy_blinds")
@_TEXT
@place_options("requester")
def destroy(place: Place, exchange: str, blinds: Path | None, as_json: bool, **values: Any) -> None:
    """Attest destruction; a file of blinds is erased first."""
    body = ShareDestroyed(
        exchange=parse_hash(exchange),
        commitment=parse_hash(values["commitment"]),
        method=values["method"],
        text=values["text"],
    )
    act(place, body, as_json, prepare=lambda: _erase(blinds))


def _erase(path: Path | None) -> None:
    """Remove a file; what was attested must be true before it is signed."""
    if path is None:
        return
    try:
        path.unlink()
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None


@click.command("dispute", cls=WordCommand, help="help.officer_dispute")
@click.argument("exchange")
@option("--reason", required=True, help="option.dispute_reason")
@_TEXT
@place_options("requester")
def dispute(place: Place, exchange: str, reason: str, text: str, as_json: bool) -> None:
    """Contest an exchange, or add to the dispute that is open."""
    act(place, ShareDisputed(exchange=parse_hash(exchange), reason=reason, text=text), as_json)


@click.command("resolve", cls=WordCommand, help="help.officer_resolve")
@click.argument("exchange")
@click.argument("opened", metavar="DISPUTE")
@option(
    "--outcome",
    type=click.Choice(["accepted", "settled", "withdrawn"]),
    required=True,
    help="option.resolve_outcome",
)
@_TEXT
@place_options("approver")
def resolve(place: Place, exchange: str, opened: str, as_json: bool, **values: Any) -> None:
    """End a dispute."""
    body = ShareDisputeResolved(exchange=parse_hash(exchange), dispute=parse_hash(opened), **values)
    act(place, body, as_json)


@click.command("rate", cls=WordCommand, help="help.officer_rate")
@click.argument("exchange")
@option("--quality", type=click.IntRange(1, 5), required=True, help="option.rate_quality")
@option("--usefulness", type=click.IntRange(1, 5), required=True, help="option.rate_usefulness")
@_TEXT
@place_options("requester")
def rate(place: Place, exchange: str, as_json: bool, **values: Any) -> None:
    """Rate a delivery."""
    act(place, ShareRated(exchange=parse_hash(exchange), **values), as_json)


COMMANDS = (
    offer, use, ask_consent, answer_consent, correct, acknowledge, destroy, dispute, resolve, rate,
)  # fmt: skip
