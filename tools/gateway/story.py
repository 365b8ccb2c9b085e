"""The part of `tally demo` in which the data itself travels, between the gateways of two agencies.

Records are fictitious (`tools.sample`), with faults on purpose. Everything else is as in operation:
real files, real TLS, and nothing but commitments on the ledger.
"""

import asyncio
import csv
import io
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from contracts.exchange.duties import GAPS
from ledger.genesis import Genesis
from tools.exits import FailedNode
from tools.gateway.local import LocalGateways, vote_in
from tools.localnet import Localnet, get_json
from tools.output import tell_time
from tools.sample.making import make_sample
from tools.words import language, say
from tools.words.codes import tell_code

ROWS = 2_000
FAULT_PERCENT = 5
SUBJECTS = 40
WAIT_S = 60
# Past the deadlines of routine releases, and long before any retention ends.
DAYS_AHEAD = 10
PAGE_ROWS = 1_000
ASKED: dict[str, Any] = {
    "dataset": "registration",
    "purpose": "assessment",
    "legal_basis": "tcal-6",
    "fields": ["uscc", "name", "type", "industry", "status", "registered-on"],
    "period_from": "2026-01-01",
    "period_to": "2026-03-31",
    "urgency": "normal",
    "retention_days": 90,
    "case": "2026-DEMO",
}
OFFERED: dict[str, Any] = {
    "manner": "spontaneous",
    "dataset": "filing",
    "purpose": "collection",
    "legal_basis": "yrd-2021",
    "fields": ["uscc", "tax-type", "period", "tax-due-fen", "tax-paid-fen", "overdue-fen"],
    "period_from": "2025-01-01",
    "period_to": "2025-12-31",
    "urgency": "normal",
    "retention_days": 90,
    "case": "2026-DEMO",
}


@dataclass(slots=True)
class Travel:
    """What has happened so far. `ids` are identifiers that must not stand on the ledger."""

    network: Localnet
    genesis: Genesis
    tell: Callable[[str], None]
    gateways: LocalGateways
    figures: dict[str, Any] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

    @property
    def pair(self) -> tuple[str, str]:
        """The two agencies."""
        first, second, *_ = self.network.members
        return first, second

    def name(self, member: str) -> str:
        """An agency as people call it."""
        found = next(each for each in self.genesis.members if each.id == member)
        return found.name_zh if language() == "zh" else found.name_en

    def names(self) -> dict[str, str]:
        """Both, for a sentence about what the second gives to the first."""
        first, second = self.pair
        return {"requester": self.name(first), "provider": self.name(second)}


def let_data_travel(travel: Travel) -> None:
    """Both ways, damaged, corrected, owed, destroyed."""
    _set_up(travel)
    first, second = travel.pair
    exchange = _ask(travel, first, second, 0)
    _ask(travel, second, first, SUBJECTS)
    _damage(travel)
    _correct(travel, exchange)
    _show_duties(travel)
    _destroy(travel, exchange)


def show_overdue(travel: Travel) -> None:
    """What both would be late with, should nobody act for a while: deadlines are whole hours."""
    url = travel.network.index.nodes[0].api
    query = urlencode({"overdue": "true", "at": f"+{DAYS_AHEAD} days", "limit": PAGE_ROWS})
    page = get_json(f"{url}/v1/tasks?{query}", timeout_s=10).document
    tasks = [task for task in page["items"] if task["member"] in travel.pair]
    as_of = tell_time(page["as_of_ms"])
    travel.tell(say("demo.ahead", as_of=as_of, count=len(tasks)))
    for task in _first_of_each(tasks):
        words = {**_due_words(travel, task), "code": task["gap"]}
        travel.tell("  " + say("demo.overdue", **words))
    travel.figures |= {"days_ahead": DAYS_AHEAD, "overdue_ahead": len(tasks)}


def count_ids_on(folder: Path, ids: Iterable[str]) -> int:
    """How many of the identifiers stand anywhere in a mirrored log."""
    wanted = [each.encode() for each in ids]
    found: set[bytes] = set()
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found |= {each for each in wanted if each in data}
    return len(found)


def _set_up(travel: Travel) -> None:
    started_s = time.monotonic()
    gateways = travel.gateways
    asyncio.run(vote_in(travel.network, gateways.make(travel.pair)))
    for seed, member in enumerate(travel.pair, start=1):
        for dataset in ("registration", "filing"):
            pieces = make_sample(dataset, "csv", rows=ROWS, seed=seed, fault_percent=FAULT_PERCENT)
            path = gateways.directory(member) / "records" / f"{dataset}.csv"
            path.write_bytes(b"".join(pieces))
    gateways.start()
    gateways.wait_ready()
    seconds = round(time.monotonic() - started_s, 1)
    travel.tell(say("demo.gateways", seconds=seconds, rows=f"{ROWS:,}", **travel.names()))


def _ask(travel: Travel, requester: str, provider: str, skip: int) -> str:
    """Ask for some taxpayers; the exchange, when the requester has the records."""
    rows = _read_rows(travel, provider)
    known = list(dict.fromkeys(row["uscc"] for row in rows if row["uscc"]))
    subjects = known[skip : skip + SUBJECTS]
    travel.ids |= set(subjects)
    started_s = time.monotonic()
    socket = travel.gateways.socket(requester)
    wanted = {"request": {**ASKED, "provider": provider}, "subjects": subjects}
    exchange = str(socket.post("/v1/requests", wanted)["exchange"])
    job = _wait(travel, requester, "acquire", exchange, "kept")
    _wait(travel, provider, "provide", exchange, "settled")
    report = _received(travel, requester, exchange, 0, "report.json")
    words = {
        "requester": travel.name(requester),
        "provider": travel.name(provider),
        "subjects": len(subjects),
        "records": job["record_count"],
        "fixed": report["fixed"],
        "rejected": report["rejected"],
        "size": f"{job['size_bytes']:,}",
        "seconds": round(time.monotonic() - started_s, 1),
    }
    travel.tell("  " + say("demo.travelled", **words))
    travel.figures["records_travelled"] = (
        travel.figures.get("records_travelled", 0) + job["record_count"]
    )
    return exchange


def _damage(travel: Travel) -> None:
    """An offer whose payload is damaged on its way: rejected with its code, delivered again."""
    first, second = travel.pair
    socket = travel.gateways.socket(second)
    travel.gateways.stop([first])
    exchange = str(socket.post("/v1/offers", {**OFFERED, "recipient": first})["exchange"])
    job = _wait(travel, second, "provide", exchange, "offered")
    [path] = (travel.gateways.directory(second) / "gateway-data" / "outbox").glob(f"{exchange}.*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    travel.gateways.start([first])
    travel.gateways.wait_ready([first])
    held = _wait(travel, second, "provide", exchange, "held")
    code = held["detail"].split(" ")[0]
    words = {
        **travel.names(),
        "records": f"{job['record_count']:,}",
        "code": tell_code(code),
    }
    travel.tell("  " + say("demo.rejected", **words))
    socket.post(f"/v1/jobs/provide/{exchange}/retry")
    again = _wait(travel, first, "acquire", exchange, "kept")
    _wait(travel, second, "provide", exchange, "settled")
    travel.tell("  " + say("demo.delivered_again", records=f"{again['record_count']:,}"))
    travel.figures["rejection_code"] = code
    travel.figures["records_travelled"] += again["record_count"]


def _correct(travel: Travel, exchange: str) -> None:
    """A name that was wrong at the provider, and reaches the requester as a correction."""
    first, second = travel.pair
    before = _received_rows(travel, first, exchange, 0)[0]
    rows = _read_rows(travel, second)
    fresh = say("demo.fresh_name")
    for row in rows:
        if row["uscc"] == before["uscc"]:
            row["name"] = fresh
    _write_rows(travel, second, rows)
    order = {"reason": "wrong-value", "text": "name"}
    travel.gateways.socket(second).post(f"/v1/jobs/provide/{exchange}/correct", order)
    _wait(travel, second, "provide", exchange, "settled")
    # The provider's node may have heard of the receipt before the requester's own.
    _wait(travel, first, "acquire", exchange, "kept")
    after = next(
        row for row in _received_rows(travel, first, exchange, 1) if row["uscc"] == before["uscc"]
    )
    words = {**travel.names(), "before": before["name"], "after": after["name"]}
    travel.tell("  " + say("demo.corrected", **words))


def _show_duties(travel: Travel) -> None:
    """What the agencies owe each other by when, as the ledger has it."""
    url = travel.network.index.nodes[0].api
    tasks = [
        task
        for member in travel.pair
        for task in get_json(f"{url}/v1/tasks?member={member}", timeout_s=10).document["items"]
    ]
    tasks.sort(key=lambda task: task["due_ms"])
    overdue = sum(task["is_overdue"] for task in tasks)
    travel.tell("  " + say("demo.owed", count=len(tasks), overdue=overdue, **travel.names()))
    for task in _first_of_each(tasks):
        travel.tell("    " + say("demo.due", **_due_words(travel, task)))
    travel.figures |= {"duties": len(tasks), "duties_overdue": overdue}


def _first_of_each(tasks: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """The first task of each kind."""
    first: dict[str, dict[str, Any]] = {}
    for task in tasks:
        first.setdefault(task["gap"], task)
    return first.values()


def _due_words(travel: Travel, task: dict[str, Any]) -> dict[str, str]:
    gap = GAPS[task["gap"]]
    return {
        "due": f"{datetime.fromtimestamp(task['due_ms'] / 1000, UTC):%Y-%m-%d %H:%M}Z",
        "member": travel.name(task["member"]),
        "gap": gap.zh if language() == "zh" else gap.en,
    }


def _destroy(travel: Travel, exchange: str) -> None:
    """Erased before its time at the requester, and attested."""
    first, second = travel.pair
    travel.gateways.socket(first).post(f"/v1/jobs/acquire/{exchange}/destroy")
    _wait(travel, first, "acquire", exchange, "closed")
    _wait(travel, second, "provide", exchange, "closed")
    left = list((travel.gateways.directory(first) / "received").glob(f"{exchange}.*"))
    url = travel.network.index.nodes[0].api
    answer = get_json(f"{url}/v1/requests/{exchange}", timeout_s=10).document
    attested = answer["history"][-1]
    if left or attested["event"]["kind"] != "share.destroyed":
        raise FailedNode("demo-failed", f"{exchange}: {attested['event']['kind']}")
    words = {**travel.names(), "index": attested["index"]}
    travel.tell("  " + say("demo.destroyed", **words))
    travel.figures["destroyed"] = 1


def _wait(travel: Travel, member: str, side: str, exchange: str, stage: str) -> dict[str, Any]:
    """The job once it is in a stage. Raises `FailedNode` where it does not get there."""
    socket = travel.gateways.socket(member)
    route = f"/v1/jobs/{side}/{exchange}"
    job = socket.get(route, stage=stage, wait=str(WAIT_S))
    if job["stage"] != stage:
        what = f"{job['stage']} {job['fault']} {job['detail']}".strip()
        raise FailedNode("demo-failed", f"{member} {exchange}: {what}")
    return job


def _received(
    travel: Travel, member: str, exchange: str, correction: int, name: str
) -> dict[str, Any]:
    folder = travel.gateways.directory(member) / "received" / f"{exchange}.{correction}"
    return dict(json.loads((folder / name).read_text("utf-8")))


def _received_rows(
    travel: Travel, member: str, exchange: str, correction: int
) -> list[dict[str, Any]]:
    folder = travel.gateways.directory(member) / "received" / f"{exchange}.{correction}"
    lines = (folder / "records.jsonl").read_text("utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def _path_of(travel: Travel, member: str) -> Path:
    return travel.gateways.directory(member) / "records" / "registration.csv"


def _read_rows(travel: Travel, member: str) -> list[dict[str, str]]:
    text = _path_of(travel, member).read_text("utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def _write_rows(travel: Travel, member: str, rows: list[dict[str, str]]) -> None:
    """As an exporting system does it: under another name, then renamed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path = _path_of(travel, member)
    draft = path.with_name(path.name + ".part")
    draft.write_text(text.getvalue(), "utf-8")
    draft.rename(path)
