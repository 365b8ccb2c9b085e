"""The requests that the demonstration plays: read from `config/demo/requests.ndjson`.

`python -m tools.casebook > config/demo/requests.ndjson` writes the file anew from the scenes below
and one seed; a test checks that file and scenes agree. `expect` is what the shipped contracts
decide about the request.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ledger.codec import Value
from ledger.scalars import Date, Identifier, Urgency

CASES = 200
SEED = 20260101
LINE_BYTES_MAX = 16_384

Expected = Literal["permit", "review", "deny"]


class Case(Value, frozen=True, kw_only=True):
    """One line of the file."""

    requester: Identifier
    provider: Identifier
    dataset: Identifier
    purpose: Identifier
    legal_basis: Identifier
    fields: tuple[Identifier, ...]
    period_from: Date
    period_to: Date
    subject_count: Annotated[int, Meta(ge=1, le=1_000)]
    urgency: Urgency
    retention_days: Annotated[int, Meta(ge=1, le=36_500)]
    case: str
    note_zh: str
    note_en: str
    expect: Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A kind of request, used `count` times; each time one requester and provider is drawn."""

    count: int
    expect: Expected
    requesters: tuple[str, ...]
    providers: tuple[str, ...]
    dataset: str
    purpose: str
    legal_basis: str
    fields: tuple[str, ...]
    zh: str
    en: str
    subjects: tuple[int, int] = (1, 20)
    retention_days: tuple[int, ...] = (90, 180, 365)
    urgencies: tuple[Urgency, ...] = ("normal", "normal", "normal", "urgent")
    months: tuple[int, ...] = (1, 3, 6, 12)


BUREAUS = ("cn-3100-tax", "cn-3205-tax", "cn-3301-tax", "cn-3302-tax")
CUSTOMS = ("cn-3302-customs",)
BANK = ("cn-3301-bank",)
FOREIGN = ("de-tax",)
LOW_CREDIT = ("cn-3300-model-tax",)

PERMITTED = (
    Scene(
        count=26, expect="permit", requesters=BUREAUS, providers=BUREAUS, dataset="registration",
        purpose="assessment", legal_basis="tcal-6",
        fields=("uscc", "name", "type", "industry", "status", "registered-on"),
        zh="核对跨区迁移企业的登记信息", en="Check the registration of firms that moved region",
    ),
    Scene(
        count=24, expect="permit", requesters=BUREAUS, providers=BUREAUS, dataset="filing",
        purpose="collection", legal_basis="yrd-2021",
        fields=("uscc", "tax-type", "period", "tax-due-fen", "tax-paid-fen", "overdue-fen"),
        zh="追征跨区经营企业欠税", en="Collect overdue tax of firms that trade across regions",
    ),
    Scene(
        count=26, expect="permit", requesters=BUREAUS, providers=BUREAUS, dataset="invoice",
        purpose="refund-control", legal_basis="yrd-2021",
        fields=("number", "issued-on", "seller-uscc", "buyer-uscc", "amount-fen", "tax-fen"),
        zh="出口退税前核验进项发票", en="Verify input invoices before an export refund",
        subjects=(5, 50), urgencies=("normal", "urgent"), months=(1, 3),
    ),
    Scene(
        count=16, expect="permit", requesters=BUREAUS, providers=BUREAUS, dataset="incentive",
        purpose="assessment", legal_basis="yrd-2021",
        fields=("uscc", "incentive-code", "period", "relief-fen", "qualification"),
        zh="核实高新技术企业优惠资格", en="Confirm the incentive of high-technology firms",
    ),
    Scene(
        count=12, expect="permit", requesters=CUSTOMS,
        providers=("cn-3100-tax", "cn-3301-tax", "cn-3302-tax"),
        dataset="invoice", purpose="statistics", legal_basis="yrd-2021",
        fields=("issued-on", "goods-code", "amount-fen", "buyer-uscc"),
        zh="统计进出口货物的内销去向", en="Statistics on where imported goods are sold",
        subjects=(50, 100), months=(12,),
    ),
    Scene(
        count=12, expect="permit", requesters=BUREAUS, providers=BANK, dataset="account",
        purpose="automatic-exchange", legal_basis="crs-mcaa",
        fields=("institution", "holder-name", "holder-tin", "residence", "balance-fen"),
        zh="年度金融账户涉税信息自动报送", en="Yearly automatic report of financial accounts",
        subjects=(20, 90), months=(12,),
    ),
    Scene(
        count=14, expect="permit", requesters=BUREAUS + FOREIGN, providers=FOREIGN + BUREAUS,
        dataset="account", purpose="automatic-exchange", legal_basis="crs-mcaa",
        fields=("account-number", "holder-name", "holder-tin", "residence", "balance-fen"),
        zh="与缔约方年度自动交换", en="Yearly automatic exchange with a treaty partner",
        subjects=(20, 90), months=(12,),
    ),
)  # fmt: skip

REVIEWED = (
    Scene(
        count=12, expect="review", requesters=BUREAUS, providers=BUREAUS, dataset="invoice",
        purpose="audit", legal_basis="tcal-54",
        fields=("number", "issued-on", "seller-uscc", "buyer-uscc", "goods-code", "amount-fen"),
        zh="行业专项检查批量核验发票", en="Verify invoices of a whole industry under inspection",
        subjects=(60, 95), months=(6, 12),
    ),
    Scene(
        count=10, expect="review", requesters=BUREAUS, providers=BANK, dataset="account",
        purpose="audit", legal_basis="tcal-54",
        fields=("account-number", "holder-name", "balance-fen", "interest-fen"),
        zh="检查涉案账户资金", en="Inspect the accounts of an audited firm", subjects=(1, 3),
        urgencies=("urgent",),
    ),
    Scene(
        count=4, expect="review", requesters=CUSTOMS,
        providers=("cn-3100-tax", "cn-3301-tax", "cn-3302-tax"),
        dataset="invoice", purpose="refund-control", legal_basis="tcal-6",
        fields=("number", "issued-on", "goods-code", "amount-fen", "status"),
        zh="比对报关单与增值税发票", en="Compare customs declarations with VAT invoices",
        months=(1, 3),
    ),
    Scene(
        count=6, expect="review", requesters=FOREIGN, providers=BUREAUS, dataset="filing",
        purpose="assessment", legal_basis="treaty-de-26",
        fields=("uscc", "tax-type", "period", "revenue-fen", "tax-due-fen"),
        zh="缔约方专项情报请求", en="Request on a single case by a treaty partner",
        subjects=(1, 3), months=(12,),
    ),
    Scene(
        count=8, expect="review", requesters=BUREAUS, providers=BUREAUS, dataset="invoice",
        purpose="criminal", legal_basis="tcal-54",
        fields=("number", "issued-on", "seller-uscc", "buyer-uscc", "amount-fen", "buyer-phone"),
        zh="虚开发票刑事案件协查", en="Help in a criminal case of false invoices",
        subjects=(1, 10), urgencies=("normal", "urgent"),
    ),
)  # fmt: skip

DENIED = (
    Scene(
        count=6, expect="deny", requesters=BUREAUS, providers=BUREAUS, dataset="filing",
        purpose="assessment", legal_basis="yrd-pilot-2019",
        fields=("uscc", "tax-type", "period", "tax-due-fen"),
        zh="引用已失效的试点备忘录", en="Names the pilot memorandum, which has expired",
    ),
    Scene(
        count=5, expect="deny", requesters=BUREAUS, providers=BUREAUS, dataset="registration",
        purpose="statistics", legal_basis="tcal-6", fields=("uscc", "industry", "status"),
        zh="法律依据不含统计用途", en="The legal basis does not cover statistics",
    ),
    Scene(
        count=4, expect="deny", requesters=BUREAUS, providers=BUREAUS, dataset="account",
        purpose="assessment", legal_basis="yrd-2021", fields=("institution", "balance-fen"),
        zh="协议不含金融账户数据", en="The agreement does not cover financial accounts",
    ),
    Scene(
        count=4, expect="deny", requesters=BANK, providers=BUREAUS, dataset="filing",
        purpose="collection", legal_basis="yrd-2021",
        fields=("uscc", "tax-due-fen", "overdue-fen"),
        zh="请求方不是协议当事方", en="The requester is not a party of the agreement",
    ),
    Scene(
        count=4, expect="deny", requesters=BUREAUS, providers=BUREAUS, dataset="invoice",
        purpose="refund-control", legal_basis="yrd-2021",
        fields=("number", "issued-on", "seller-uscc", "buyer-uscc", "amount-fen"),
        zh="一次索取过多纳税人", en="Asks for far too many taxpayers at once", subjects=(700, 900),
        months=(12,),
    ),
    Scene(
        count=3, expect="deny", requesters=CUSTOMS, providers=("cn-3205-tax",), dataset="invoice",
        purpose="refund-control", legal_basis="tcal-6", fields=("number", "amount-fen", "status"),
        zh="双方共享已被紧急冻结", en="Sharing between the two is frozen",
    ),
    Scene(
        count=4, expect="deny", requesters=LOW_CREDIT, providers=BUREAUS, dataset="filing",
        purpose="collection", legal_basis="yrd-2021",
        fields=("uscc", "tax-type", "tax-due-fen", "overdue-fen"),
        zh="请求方信用等级过低", en="The requester's credit grade is too low",
    ),
)  # fmt: skip


def make_cases() -> list[Case]:
    """The 200 cases of all scenes in one shuffled order, the same at every call."""
    draw = random.Random(SEED)  # noqa: S311 - a story, not a secret
    cases = [
        _draw_case(scene, draw)
        for scene in (*PERMITTED, *REVIEWED, *DENIED)
        for _ in range(scene.count)
    ]
    draw.shuffle(cases)
    return [
        msgspec.structs.replace(case, case=f"2026-{case.purpose[:3].upper()}-{number:04d}")
        for number, case in enumerate(cases, start=1)
    ]


def read_cases() -> list[Case]:
    """The cases of the shipped file, in its order."""
    data = (files("config") / "demo" / "requests.ndjson").read_bytes()
    decoder = msgspec.json.Decoder(Case)
    return [decoder.decode(line) for line in data.split(b"\n") if line]


def encode_cases(cases: list[Case]) -> bytes:
    """The file's bytes: one JSON object a line."""
    return b"".join(msgspec.json.encode(case) + b"\n" for case in cases)


def _draw_case(scene: Scene, draw: random.Random) -> Case:
    requester, provider = draw.choice(list(_pairs(scene)))
    month, year = draw.randint(1, 12), draw.choice((2023, 2024, 2025))
    months = draw.choice(scene.months)
    if months == 12:
        month = 1
    last = min(12, month + months - 1)
    return Case(
        requester=requester,
        provider=provider,
        dataset=scene.dataset,
        purpose=scene.purpose,
        legal_basis=scene.legal_basis,
        fields=scene.fields,
        period_from=f"{year}-{month:02d}-01",
        period_to=f"{year}-{last:02d}-{28 if last == 2 else 30 if last in (4, 6, 9, 11) else 31}",
        subject_count=draw.randint(*scene.subjects),
        urgency=draw.choice(scene.urgencies),
        retention_days=draw.choice(scene.retention_days),
        case="",
        note_zh=scene.zh,
        note_en=scene.en,
        expect=scene.expect,
    )


def _pairs(scene: Scene) -> Iterator[tuple[str, str]]:
    """Allowed pairs; where a foreign authority takes part, exactly one side is foreign."""
    is_foreign = bool(set(FOREIGN) & {*scene.requesters, *scene.providers})
    for requester in scene.requesters:
        for provider in scene.providers:
            sides = (requester in FOREIGN) + (provider in FOREIGN)
            if requester != provider and sides == (1 if is_foreign else 0):
                yield requester, provider


if __name__ == "__main__":
    sys.stdout.buffer.write(encode_cases(make_cases()))
