"""What makes a request risky, and what it is worth while no vote has set other rules.

One row a reason. What cannot be a reason: that many ask about one taxpayer. Commitments to the same
taxpayer are unrelated by design, so nobody sees it on the ledger; the provider does when it
answers.
"""

from dataclasses import dataclass

from ledger.exchange.risk import RiskRules, RiskWeight

MANY_SUBJECTS = "many-subjects"
NEW_PURPOSE = "new-purpose"
OFF_HOURS = "off-hours"
OFTEN_ASKED = "often-asked"
OFTEN_DENIED = "often-denied"
VOLUME = "volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One row: the id that assessments name, its points, and what it is."""

    id: str
    points: int
    zh: str
    en: str


TABLE: tuple[Reason, ...] = (
    Reason(
        id=MANY_SUBJECTS, points=25,
        zh="一次请求的纳税人过多", en="many subjects in one request",
    ),
    Reason(
        id=NEW_PURPOSE, points=15,
        zh="从未以该用途向该提供方请求过该数据集",
        en="this provider was never asked for this dataset for this purpose",
    ),
    Reason(
        id=OFF_HOURS, points=15,
        zh="在工作时间以外提出（北京时间）", en="asked outside of working hours (UTC+8)",
    ),
    Reason(
        id=OFTEN_ASKED, points=25,
        zh="本月向该提供方请求的次数异常", en="this provider is asked unusually often this month",
    ),
    Reason(
        id=OFTEN_DENIED, points=20,
        zh="本月与上月多次被拒绝", en="turned down often in this month and the last",
    ),
    Reason(
        id=VOLUME, points=30,
        zh="请求方本月请求的纳税人数量异常",
        en="the requester asks about unusually many subjects this month",
    ),
)  # fmt: skip

DEFAULT_RULES = RiskRules(
    version=0,
    weights=tuple(RiskWeight(reason=row.id, points=row.points) for row in TABLE),
    open_hour=7,
    close_hour=21,
    subjects_many=100,
    months=12,
    usual_share=300,
    volume_floor=500,
    asked_floor=100,
    denied_floor=10,
)


def find_rules_faults(rules: RiskRules) -> tuple[str, ...]:
    """What keeps rules from being put to the vote, in words for people; empty: nothing."""
    known = frozenset(row.id for row in TABLE)
    names = [weight.reason for weight in rules.weights]
    faults = [f"unknown reason {name}" for name in names if name not in known]
    if names != sorted(frozenset(names)):
        faults.append("weights: not sorted by reason, or one stands twice")
    if rules.open_hour >= rules.close_hour:
        faults.append("open_hour < close_hour does not hold")
    return tuple(faults)
