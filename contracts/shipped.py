"""The contracts that ship, as data: contract, what it does, and the test that shows it."""

from dataclasses import dataclass
from importlib import resources

from contracts.engine import ENGINE_VERSION
from ledger.registry import Contract, PolicySet


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedContract:
    """One row of the table. `requirement` is the id it answers to."""

    id: str
    requirement: str
    zh: str
    en: str
    test: str


def _row(id_: str, requirement: str, zh: str, en: str) -> ShippedContract:
    test = "test_" + id_.replace("-", "_")
    return ShippedContract(id=id_, requirement=requirement, zh=zh, en=en, test=test)


TABLE: tuple[ShippedContract, ...] = (
    _row("automatic-exchange", "P7", "账户信息自动交换", "account data by automatic exchange"),
    _row("credit", "X2", "C 级复核，D 级拒绝", "grade C is reviewed, grade D denied"),
    _row("criminal-release", "P4", "紧急刑事案件直接提供", "critical criminal cases at once"),
    _row("delivery", "X4", "提供方经办人交付", "the owner's provider officers deliver"),
    _row("department-request", "M2", "部门请求登记与发票", "departments ask for registration"),
    _row("four-eyes", "T5", "双人复核", "an approver who is not the requester decides"),
    _row("freeze", "M4", "应急冻结", "nothing moves on what is frozen"),
    _row("incident", "S7", "安全事件期间须复核或暂停", "open incidents: reviewed, then suspended"),
    _row("legality", "P1", "法律依据有效且覆盖", "the legal basis is in force and covers"),
    _row("necessity", "P2", "限制主体、期间与留存", "limits on subjects, period, retention"),
    _row("offer", "P7", "自发与自动提供", "a provider offers what is its own"),
    _row("onward", "X4", "转用与转交须经同意", "another purpose or recipient needs consent"),
    _row("reciprocity", "P5", "收多予少须复核", "who took much more than it gave is reviewed"),
    _row("registration-release", "M1", "登记信息直接提供", "registration data at once"),
    _row("risk", "M4", "风险较高须经复核", "what is risky is reviewed"),
    _row("routine-release", "P4", "小额常规请求直接提供", "small routine requests at once"),
    _row("statistics", "P2", "统计不含个人字段", "statistics without personal fields"),
    _row("tax-request", "P1", "税务机关之间请求", "tax authorities may ask each other"),
    _row("use", "X4", "按用途使用", "the requester uses data for its purpose"),
)


def load_shipped() -> PolicySet:
    """The shipped contracts and schema as version 1 of a policy set."""
    folder = resources.files("contracts").joinpath("policies")
    contracts = tuple(
        Contract(id=row.id, text=folder.joinpath(f"{row.id}.cedar").read_text("utf-8"))
        for row in sorted(TABLE, key=lambda row: row.id)
    )
    schema = folder.joinpath("schema.cedarschema").read_text("utf-8")
    return PolicySet(version=1, engine=ENGINE_VERSION, schema=schema, contracts=contracts)
