"""The flat tables of an export: their columns, with type and meaning, and one row for each thing.

    records/1      one row for each record of the log, in its order
    exchanges/1    one row for each exchange, as the state is at the end, in the order of opening

A version stands for names, order, types and meaning of the columns: any change of them makes the
next one. Texts that an officer wrote stand in `body` alone, which is JSON: no cell of a table
begins with a character that a spreadsheet takes for a formula.
"""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from contracts.exchange.duties import exchange_duties
from contracts.exchange.matters import read_deadlines, read_matters
from contracts.lookup import find_exchange
from ledger.events import ShareOpening
from ledger.export.cloudevents import hex_of
from ledger.keys import format_public_key
from ledger.state import StateReader
from tools.audit.export.records import Row
from tools.audit.index.build import parties_of
from tools.audit.left import NOTHING_BEFORE
from tools.audit.stories import Story

Type = Literal["integer", "text", "yes-no", "time", "texts"]
_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; `time` is in milliseconds since 1970 UTC, `texts` a list. Empty: None."""

    name: str
    type: Type
    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table and its version."""

    name: str
    version: int
    columns: tuple[Column, ...]

    @property
    def schema(self) -> str:
        """Name and version: `records/1`."""
        return f"{self.name}/{self.version}"


def _table(name: str, version: int, *columns: tuple[str, Type, str, str]) -> Table:
    rows = (Column(name=name, type=type_, zh=zh, en=en) for name, type_, zh, en in columns)
    return Table(name=name, version=version, columns=tuple(rows))


_ABOUT: tuple[tuple[str, Type, str, str], ...] = (
    ("requester", "text", "请求方", "requester of the exchange"),
    ("provider", "text", "提供方", "provider of the exchange"),
    ("dataset", "text", "数据集", "dataset"),
    ("purpose", "text", "用途", "purpose"),
    ("legal_basis", "text", "法律依据", "legal basis"),
)
RECORDS = _table(
    "records", 1,
    ("index", "integer", "日志序号", "index in the log"),
    ("height", "integer", "区块高度", "height of the block"),
    ("time", "time", "区块时间", "time of the block"),
    ("kind", "text", "事件类型", "kind of event"),
    ("kind_version", "integer", "事件版本", "version of the kind"),
    ("digest", "text", "事件摘要", "digest of the event"),
    ("member", "text", "签署成员", "member that signed"),
    ("officer", "text", "经办人公钥", "public key that signed"),
    ("subject", "text", "所属（共享、提案或事件）的摘要",
     "digest of the exchange, proposal or incident it belongs to"),
    *_ABOUT,
    ("applied", "yes-no", "是否生效", "whether it took effect"),
    ("code", "text", "未生效或拒绝的代码", "code of the refusal or denial"),
    ("decision", "text", "裁定", "decision"),
    ("contracts", "texts", "起决定作用的合约", "contracts that decided"),
    ("policy_set", "text", "合约集哈希", "hash of the contracts in force"),
    ("redact", "texts", "须遮蔽的字段", "fields to be left out"),
    ("deadline_hours", "integer", "答复时限（小时）", "hours to answer"),
    ("retention_days", "integer", "留存天数", "days of retention"),
    ("body", "text", "事件正文（JSON）", "body of the event as JSON"),
)  # fmt: skip
EXCHANGES = _table(
    "exchanges", 1,
    ("exchange", "text", "共享编号", "id of the exchange"),
    ("index", "integer", "开启记录的序号", "index of the record that opened it"),
    *_ABOUT,
    ("urgency", "text", "紧急程度", "urgency"),
    ("manner", "text", "方式：requested、spontaneous、automatic",
     "manner: requested, spontaneous, automatic"),
    ("decision", "text", "合约裁定", "decision of the contracts"),
    ("status", "text", "状态", "state"),
    ("opened", "time", "开启时间", "opened"),
    ("answered", "time", "复核答复时间", "review answered"),
    ("permitted", "time", "准予时间", "permitted"),
    ("deadline", "time", "答复期限", "answer due"),
    ("delivered", "time", "首次交付时间", "first delivered"),
    ("received", "time", "接收时间", "received"),
    ("used", "time", "首次报告使用时间", "first use reported"),
    ("destroyed", "time", "请求方销毁时间", "destroyed by the requester"),
    ("retention_days", "integer", "留存天数", "days of retention"),
    ("fields", "integer", "字段数", "fields asked for"),
    ("subjects", "integer", "主体数", "subjects asked for"),
    ("records", "integer", "最近交付的记录数", "records in the newest delivery"),
    ("deliveries", "integer", "交付次数", "deliveries"),
    ("rejections", "integer", "退回次数", "rejections"),
    ("corrections", "integer", "更正次数", "corrections"),
    ("disputes", "integer", "争议次数", "words in disputes"),
    ("quality", "integer", "质量评分（1–5）", "rated quality, 1 to 5"),
    ("usefulness", "integer", "有用性评分（1–5）", "rated usefulness, 1 to 5"),
    ("gaps", "texts", "逾期未办事项", "what is overdue"),
)  # fmt: skip
TABLES = {table.name: table for table in (RECORDS, EXCHANGES)}


class RecordRows:
    """Rows of `records`: one for each record, which must all be seen, in order.

    What was opened before them stands in the state `before`.
    """

    def __init__(self, before: StateReader = NOTHING_BEFORE) -> None:
        self._before = before
        self._about: dict[bytes, tuple[str | None, ...]] = {}

    def row(self, row: Row) -> tuple[Any, ...]:
        """The cells of a record."""
        event, outcome, body = row.event, row.outcome, row.event.body
        if isinstance(body, ShareOpening):
            about = (*parties_of(event), body.dataset, body.purpose, body.legal_basis)
            self._about[event.digest] = about
        elif event.exchange not in self._about:
            self._about[event.exchange] = self._known(event.exchange)
        duties = outcome.obligations
        return (
            row.index, row.height, row.time_ms, event.kind, event.kind_version,
            event.digest.hex(), event.member, format_public_key(event.officer),
            event.subject.hex() or None,
            *self._about[event.exchange],
            outcome.applied, outcome.code or None, outcome.decision or None,
            outcome.policies, outcome.policy_set.hex() or None,
            duties.redact if duties else (), duties.deadline_hours if duties else None,
            duties.retention_days if duties else None, encode_body(body),
        )  # fmt: skip

    def _known(self, exchange: bytes) -> tuple[str | None, ...]:
        known = find_exchange(self._before, exchange)
        if known is None:
            return (None,) * len(_ABOUT)
        return (
            known.requester, known.provider, known.dataset, known.purpose, known.legal_basis
        )  # fmt: skip


def encode_body(body: Any) -> str:
    """JSON of a body, byte strings in hex."""
    return _ENCODER.encode(hex_of(msgspec.to_builtins(body, builtin_types=(bytes,)))).decode()


def exchange_row(state: StateReader, id_: bytes, story: Story, time_ms: int) -> tuple[Any, ...]:
    """The cells of an exchange in a state, at a block time."""
    exchange = find_exchange(state, id_)
    assert exchange is not None, "what was opened is in the state"
    duties = exchange_duties(exchange, read_matters(state, id_, exchange), read_deadlines(state))
    gaps = sorted({duty.gap for duty in duties if duty.is_overdue(time_ms)})
    return (
        id_.hex(), story.index, exchange.requester, exchange.provider, exchange.dataset,
        exchange.purpose, exchange.legal_basis, exchange.urgency, story.manner, exchange.decision,
        exchange.status, story.opened_ms, story.answered_ms or None, story.permitted_ms or None,
        exchange.deadline_ms or None, story.first_delivered_ms or None, story.received_ms or None,
        story.used_ms or None, story.destroyed_ms or None, exchange.retention_days or None,
        len(exchange.fields), exchange.subject_count, exchange.record_count, story.deliveries,
        story.rejections, story.corrections, story.disputes, story.quality or None,
        story.usefulness or None, tuple(gaps),
    )  # fmt: skip
