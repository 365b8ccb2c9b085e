"""Status codes that need history, decided from the commitments of reference ids on the ledger.

`judge` compares a `share.referenced` with what all members have put on record before. With one
fault the event is refused and nothing of it counts, so the state holds only ids that were right.
Codes are those of the CRS status message; a reference stands at its place, from 1.

    50009  the message id was used before: in another exchange, or for an earlier delivery
    50012  the message is for another jurisdiction than the requester's
    80000  the document id was used before, by whichever member
    80002  what is corrected is unknown to the requester: it never had it from this provider
    80003  what is corrected is no longer valid: corrected or deleted by an earlier message
    80004  new or resent data names what it corrects
    80005  a correction or deletion does not name what it corrects
    80010  new data and corrections in one message
    80011  corrected twice in one message
    80012  two reporting periods: of one message, or of a correction and what it corrects
    80013  what is sent again is unknown to the requester
    80014  what is sent again is no longer valid
"""

from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from contracts.errors import refused
from contracts.lookup import find_code_list, find_member, is_ended
from ledger.events import Event
from ledger.exchange.references import (
    DOCUMENTS,
    MESSAGES,
    REFERENCE_KEYS,
    Content,
    Document,
    Message,
    Reference,
    ShareReferenced,
)
from ledger.registry import Exchange
from ledger.state import Overlay, StateReader, document_key, message_key

FAULTS_SHOWN_MAX = 20
# Provinces of GB/T 2260 that ISO 3166 has as jurisdictions of their own.
_OWN_JURISDICTIONS = {"71": "TW", "81": "HK", "82": "MO"}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Fault:
    """A status code and the place of the reference that it is about; 0: the message."""

    code: int
    place: int


def find_message(state: StateReader, message: bytes) -> Message | None:
    """Message by the commitment of its id, or None."""
    data = state.get(message_key(message))
    return None if data is None else MESSAGES.decode(data)


def find_document(state: StateReader, document: bytes) -> Document | None:
    """Document by the commitment of its id, or None."""
    data = state.get(document_key(document))
    return None if data is None else DOCUMENTS.decode(data)


def check_references(
    state: StateReader, event: Event, body: ShareReferenced, exchange: Exchange
) -> None:
    """Check that members share the key, then judge. Raises `RefusedEvent` with the first code."""
    year = body.period[:4]
    listed = find_code_list(state, REFERENCE_KEYS)
    if listed is None or is_ended(state, f"code-list/{REFERENCE_KEYS}"):
        raise refused("reference-key-unset", year)
    known = next((each.name_en for each in listed.codes if each.code == year), "")
    if not known:
        raise refused("reference-key-unset", year)
    if known != body.key_id.hex():
        raise refused("reference-key-differs", f"{year}: {known}")
    faults = sorted(_Judge(state, event, body, exchange).judge())
    if faults:
        raise refused(f"oecd-{faults[0].code}", describe_faults(faults))


def apply_references(
    overlay: Overlay, event: Event, body: ShareReferenced, exchange: Exchange
) -> None:
    """Record what `check_references` has passed."""
    judge = _Judge(overlay, event, body, exchange)
    faults = judge.judge()
    assert not faults, "check_references has passed it"
    overlay.put(message_key(body.message), MESSAGES.encode(judge.message))
    for id_, document in judge.changed.items():
        overlay.put(document_key(id_), DOCUMENTS.encode(document))


def describe_faults(faults: list[Fault]) -> str:
    """`80000 at 3, 7; 80002 at 9`; sorted faults, the first `FAULTS_SHOWN_MAX` of them."""
    shown = faults[:FAULTS_SHOWN_MAX]
    parts = []
    for code, group in groupby(shown, key=lambda fault: fault.code):
        places = [str(fault.place) for fault in group if fault.place]
        parts.append(f"{code} at {', '.join(places)}" if places else str(code))
    more = len(faults) - len(shown)
    return "; ".join(parts) + (f"; {more} more" if more else "")


def jurisdictions_of(region: str) -> tuple[str, ...]:
    """What a message for a member of a region may name: that, or the jurisdiction it is part of."""
    region = region.upper()
    if not (region.isascii() and region.isdigit()):
        return (region,)
    return region, _OWN_JURISDICTIONS.get(region[:2], "CN")


@dataclass(slots=True)
class _Judge:
    """One event before the state; `message` and `changed` are what it would write."""

    state: StateReader
    event: Event
    body: ShareReferenced
    exchange: Exchange
    message: Message = field(init=False)
    changed: dict[bytes, Document] = field(init=False, default_factory=dict)

    def judge(self) -> list[Fault]:
        """Every fault, those of the message first."""
        before = find_message(self.state, self.body.message)
        codes = self._judge_message(before)
        faults = [Fault(code=code, place=0) for code in codes]
        content: Content = before.content if before is not None else ""
        for place, reference in enumerate(self.body.references, start=1):
            found = self._judge_reference(reference)
            said = _content(reference)
            if content and said and said != content:
                found.append(80010)
            content = content or said
            faults += [Fault(code=code, place=place) for code in found]
        count = len(self.body.references) + (before.documents if before is not None else 0)
        self.message = Message(
            exchange=self.event.exchange,
            provider=self.event.member,
            requester=self.exchange.requester,
            period=self.body.period,
            content=content,
            delivered=self.exchange.commitment,
            documents=count,
        )
        return faults

    def _judge_message(self, before: Message | None) -> list[int]:
        codes = []
        requester = find_member(self.state, self.exchange.requester)
        assert requester is not None, "every exchange has its parties"
        if self.body.receiving not in jurisdictions_of(requester.region):
            codes.append(50012)
        if before is None:
            return codes
        # The next part of the message that is being named now, or an id that was used before.
        same = (self.event.exchange, self.exchange.commitment)
        if (before.exchange, before.delivered) != same:
            codes.append(50009)
        elif before.period != self.body.period:
            codes.append(80012)
        return codes

    def _judge_reference(self, reference: Reference) -> list[int]:
        if reference.indicator == "resend":
            return self._judge_resend(reference)
        if self._find(reference.document) is not None:
            return [80000]
        codes = self._judge_corrected(reference)
        if not codes:
            self._record(reference)
        return codes

    def _record(self, reference: Reference) -> None:
        """What has a fault does not count for what stands after it."""
        self.changed[reference.document] = Document(
            message=self.body.message,
            is_deletion=reference.indicator == "deleted",
            successor=b"",
        )
        if reference.corrected:
            target = self._find(reference.corrected)
            assert target is not None, "_judge_corrected has found it"
            replaced = msgspec.structs.replace(target, successor=reference.document)
            self.changed[reference.corrected] = replaced

    def _judge_resend(self, reference: Reference) -> list[int]:
        codes = [80004] if reference.corrected else []
        document = self._find(reference.document)
        if document is None or not self._reached(document):
            return [*codes, 80013]
        if document.successor or document.is_deletion:
            return [*codes, 80014]
        return codes

    def _judge_corrected(self, reference: Reference) -> list[int]:
        if reference.indicator == "new":
            return [80004] if reference.corrected else []
        if not reference.corrected:
            return [80005]
        target = self._find(reference.corrected)
        if target is None or not self._reached(target):
            return [80002]
        if target.successor:
            successor = self._find(target.successor)
            assert successor is not None, "a successor is a document"
            return [80011 if successor.message == self.body.message else 80003]
        if target.is_deletion:
            return [80003]
        origin = find_message(self.state, target.message)
        assert origin is not None, "a document stands in a message"
        return [80012] if origin.period != self.body.period else []

    def _find(self, id_: bytes) -> Document | None:
        return self.changed.get(id_) or find_document(self.state, id_)

    def _reached(self, document: Document) -> bool:
        """Whether an earlier message between the same two members had it."""
        if document.message == self.body.message:
            return False
        origin = find_message(self.state, document.message)
        assert origin is not None, "a document stands in a message"
        parties = (self.event.member, self.exchange.requester)
        return (origin.provider, origin.requester) == parties


def _content(reference: Reference) -> Content:
    if reference.indicator == "resend":
        return ""
    return "new" if reference.indicator == "new" else "correction"
