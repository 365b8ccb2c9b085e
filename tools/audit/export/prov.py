"""The log as provenance in the sense of W3C PROV-DM, written as PROV-JSON or as PROV-JSONLD.

    activity   event-INDEX               every record: when, what kind, with which outcome
    agent      member-ID                 an agency; officer-KEY acted on behalf of it
    entity     exchange-ID               what was asked for or offered
               delivery-INDEX            what a delivery or a correction put behind a commitment
               copy-ID-MEMBER            what a holder has got of it
               proposal-ID, incident-ID
               contracts-HASH            the contracts in force, the plan of what they decided

A delivery from before what is left of a pruned mirror is `delivery-EXCHANGE`: the record that has
its index is in the archive, its commitment in the state.

A record that was not applied made nothing: it is an activity that generated and used nothing. Both
forms (`tools.audit.export.statements`) say the same.
"""

from collections.abc import Callable, Iterator
from typing import IO, Any

from contracts.exchange.matters import read_matters
from contracts.lookup import find_exchange
from ledger.events import (
    ShareDelivered,
    ShareOpening,
    ShareReceived,
    ShareRejected,
    ShareStep,
)
from ledger.exchange.bodies import (
    ShareConsentRequested,
    ShareCorrected,
    ShareCorrectionAcknowledged,
    ShareDestroyed,
    ShareUsed,
)
from ledger.exchange.incidents import IncidentReported
from ledger.export.cloudevents import format_time
from ledger.governance.proposals import GovernanceProposed
from ledger.state import StateReader
from tools.audit.export.records import Row
from tools.audit.export.statements import VOCABULARY, Form, Prefixes, name_value
from tools.audit.left import NOTHING_BEFORE

# Own attributes of version 1: name, what carries it, type, meaning in zh and en.
ATTRIBUTES: tuple[tuple[str, str, str, str, str], ...] = (
    ("height", "activity", "integer", "区块高度", "height of the block"),
    ("digest", "activity", "text", "事件摘要", "digest of the event"),
    ("applied", "activity", "yes-no", "是否生效", "whether it took effect"),
    ("code", "activity", "text", "未生效或拒绝的代码", "code of the refusal or denial"),
    ("decision", "activity", "text", "裁定", "decision"),
    ("contracts", "activity", "text", "起决定作用的合约，以空格相连",
     "contracts that decided, joined by spaces"),
    ("id", "member", "text", "成员标识", "id of the member"),
    ("dataset", "exchange", "text", "数据集", "dataset"),
    ("purpose", "exchange", "text", "用途", "purpose"),
    ("legalBasis", "exchange", "text", "法律依据", "legal basis"),
    ("commitment", "delivery", "text", "载荷承诺", "commitment to the payload"),
    ("records", "delivery", "integer", "记录数", "number of records"),
)  # fmt: skip


def write_prov(
    rows: Iterator[Row],
    network: bytes,
    form: Callable[[Prefixes, IO[bytes]], Form],
    file: IO[bytes],
    before: StateReader = NOTHING_BEFORE,
) -> int:
    """Write one document about the rows that are wanted. Returns how many these are.

    What went before them stands in the state `before`.
    """
    prefixes = {"log": f"urn:tallystick:{network.hex()}:", "tally": VOCABULARY}
    with form(prefixes, file) as told:
        graph = _Graph(told, before)
        return sum(graph.add(row) for row in rows)


class _Graph:
    """What was told so far, and the form it is written in."""

    def __init__(self, form: Form, before: StateReader) -> None:
        self._form = form
        self._before = before
        self._told: set[str] = set()  # agents and contracts, which come again and again
        self._delivery: dict[bytes, str] = {}  # of an exchange: its newest delivery
        self._recipient: dict[bytes, str] = {}  # of a consent
        self._copies: set[str] = set()
        self._recalled: set[bytes] = set()  # exchanges
        self._unseen: dict[str, dict[str, Any]] = {}  # deliveries from before

    def add(self, row: Row) -> bool:
        """Tell of a record, if it is wanted."""
        event, outcome = row.event, row.outcome
        activity = f"log:event-{row.index}"
        if row.is_wanted:
            about: dict[str, Any] = {
                "prov:startTime": format_time(row.time_ms),
                "prov:endTime": format_time(row.time_ms),
                "prov:type": name_value(f"tally:{event.kind}"),
                "tally:height": row.height,
                "tally:digest": event.digest.hex(),
                "tally:applied": outcome.applied,
            }
            about |= {
                f"tally:{name}": value
                for name, value in (("code", outcome.code), ("decision", outcome.decision))
                if value
            }
            if outcome.policies:
                about["tally:contracts"] = " ".join(outcome.policies)
            self._form.tell("activity", activity, about)
            self._associate(row, activity)
        if outcome.applied:
            self._follow(row, activity)
        return row.is_wanted

    def _associate(self, row: Row, activity: str) -> None:
        event, plan = row.event, row.outcome.policy_set.hex()
        officer, member = f"log:officer-{event.officer.hex()}", f"log:member-{event.member}"
        organization = {"prov:type": name_value("prov:Organization"), "tally:id": event.member}
        self._tell_once("agent", member, organization)
        self._tell_once("agent", officer, {"prov:type": name_value("tally:OfficerKey")})
        key = f"{officer} {member}"
        if key not in self._told:
            self._told.add(key)
            self._relate("actedOnBehalfOf", delegate=officer, responsible=member)
        association = {"activity": activity, "agent": officer}
        if plan:
            association["plan"] = f"log:contracts-{plan}"
            self._tell_once("entity", association["plan"], {"prov:type": name_value("prov:Plan")})
        self._relate("wasAssociatedWith", **association)

    def _follow(self, row: Row, activity: str) -> None:
        """What the record made, used and ended."""
        event, body = row.event, row.event.body
        if isinstance(body, ShareOpening):
            about = {
                "tally:dataset": body.dataset,
                "tally:purpose": body.purpose,
                "tally:legalBasis": body.legal_basis,
            }
            self._make(row, activity, f"log:exchange-{event.digest.hex()}", "Exchange", **about)
        elif isinstance(body, GovernanceProposed):
            self._make(row, activity, f"log:proposal-{event.digest.hex()}", "Proposal")
        elif isinstance(body, IncidentReported):
            self._make(row, activity, f"log:incident-{event.digest.hex()}", "Incident")
        elif isinstance(body, ShareStep):
            self._use(row, activity, f"log:exchange-{body.exchange.hex()}")
            self._step(row, activity, body)
        elif event.subject:
            kind = "proposal" if event.kind.startswith("governance.") else "incident"
            self._use(row, activity, f"log:{kind}-{event.subject.hex()}")

    def _step(self, row: Row, activity: str, body: ShareStep) -> None:
        exchange, member = body.exchange, row.event.member
        held = _copy(exchange, member)
        self._recall(exchange)
        if isinstance(body, ShareDelivered | ShareCorrected):
            before = self._delivered(row, exchange) if isinstance(body, ShareCorrected) else ""
            made = self._delivery[exchange] = f"log:delivery-{row.index}"
            about = _delivery_of(body.commitment, body.record_count)
            self._make(row, activity, made, "Delivery", **about)
            if before:
                self._derive(row, made, before, revision=True)
        elif isinstance(body, ShareReceived):
            delivery = self._delivered(row, exchange)
            self._use(row, activity, delivery)
            self._hold(row, activity, held, delivery)
        elif isinstance(body, ShareRejected):
            self._use(row, activity, self._delivered(row, exchange))
        elif isinstance(body, ShareCorrectionAcknowledged):
            self._use(row, activity, self._delivered(row, exchange))
            self._use(row, activity, held)
        elif isinstance(body, ShareConsentRequested):
            self._recipient[row.event.digest] = body.recipient
        elif isinstance(body, ShareUsed):
            self._use(row, activity, held)
            recipient = self._recipient.get(body.consent, member)
            if recipient != member:
                self._hold(row, activity, _copy(exchange, recipient), held)
        elif isinstance(body, ShareDestroyed) and row.is_wanted:
            time = format_time(row.time_ms)
            self._relate("wasInvalidatedBy", **{"prov:time": time}, entity=held, activity=activity)

    def _recall(self, exchange: bytes) -> None:
        """What the state before the rows says of an exchange, once."""
        known = None if exchange in self._recalled else find_exchange(self._before, exchange)
        self._recalled.add(exchange)
        if known is None:
            return
        if known.commitment:
            name = self._delivery[exchange] = f"log:delivery-{exchange.hex()}"
            self._unseen[name] = _delivery_of(known.commitment, known.record_count)
        matters = read_matters(self._before, exchange, known)
        self._copies.update(_copy(exchange, each.holder) for each in matters.holders)
        self._recipient.update((each.id, each.recipient) for each in matters.consents)

    def _delivered(self, row: Row, exchange: bytes) -> str:
        """The newest delivery of an exchange; one from before is told where it is named."""
        name = self._delivery[exchange]
        if row.is_wanted and name in self._unseen:
            about = {"prov:type": name_value("tally:Delivery"), **self._unseen[name]}
            self._tell_once("entity", name, about)
        return name

    def _hold(self, row: Row, activity: str, copy: str, source: str) -> None:
        """A holder gets a copy, once: a consent that is used again makes no second one."""
        if copy not in self._copies:
            self._copies.add(copy)
            self._make(row, activity, copy, "Copy")
            self._derive(row, copy, source)

    def _make(self, row: Row, activity: str, entity: str, type_: str, **about: Any) -> None:
        if row.is_wanted:
            self._form.tell("entity", entity, {"prov:type": name_value(f"tally:{type_}"), **about})
            time = format_time(row.time_ms)
            self._relate("wasGeneratedBy", **{"prov:time": time}, entity=entity, activity=activity)
            agent = f"log:member-{row.event.member}"
            self._relate("wasAttributedTo", entity=entity, agent=agent)

    def _use(self, row: Row, activity: str, entity: str) -> None:
        if row.is_wanted:
            self._relate("used", activity=activity, entity=entity)

    def _derive(self, row: Row, made: str, source: str, *, revision: bool = False) -> None:
        if row.is_wanted:
            type_ = {"prov:type": name_value("prov:Revision")} if revision else {}
            self._relate("wasDerivedFrom", **type_, generatedEntity=made, usedEntity=source)

    def _relate(self, section: str, **parts: Any) -> None:
        named = {name if ":" in name else f"prov:{name}": value for name, value in parts.items()}
        self._form.tell(section, "", named)

    def _tell_once(self, section: str, name: str, about: dict[str, Any]) -> None:
        if name not in self._told:
            self._told.add(name)
            self._form.tell(section, name, about)


def _delivery_of(commitment: bytes, records: int) -> dict[str, Any]:
    return {"tally:commitment": commitment.hex(), "tally:records": records}


def _copy(exchange: bytes, member: str) -> str:
    return f"log:copy-{exchange.hex()}-{member}"
