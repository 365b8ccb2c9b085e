"""What ends soon: thresholds, days, and one warning for each."""

from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from ledger.governance.registers import Sunset
from node.oversight.expiry import (
    Expiring,
    Reminder,
    find_threshold,
    judge_basis,
    judge_certificate,
    judge_sunset,
)
from tests.builders import TIME_MS, legal_basis

DAY_MS = 86_400_000


def warned(reminder: Reminder, *expiring: Expiring) -> list[Any]:
    with capture_logs() as logs:
        reminder.tell(expiring)
    assert all(each["log_level"] == "warning" for each in logs)
    return [(each["id"], each["days_left"]) for each in logs]


def certificate(days: int) -> Expiring:
    (found,) = judge_certificate("a", TIME_MS + days * DAY_MS, TIME_MS)
    return found


@pytest.mark.parametrize(
    ("days_left", "within"), [(60, None), (59, 60), (30, 60), (29, 30), (7, 30), (6, 7), (-9, 7)]
)
def test_thresholds(days_left: int, within: int | None) -> None:
    assert find_threshold(days_left) == within
    ends_ms = TIME_MS + days_left * DAY_MS
    found = list(judge_certificate("a", ends_ms, TIME_MS))
    assert [each.within_days for each in found] == ([] if within is None else [within])


def test_a_certificate_has_whole_days_left() -> None:
    (found,) = judge_certificate("a", TIME_MS + 8 * DAY_MS - 1, TIME_MS)
    assert (found.days_left, found.ends, found.kind) == (7, "2026-01-08", "certificate")


@pytest.mark.parametrize(
    ("target", "kind", "name"),
    [
        ("record-schema/account@1", "record-schema", "account@1"),
        ("parameters", "parameters", ""),
    ],
)
def test_the_last_day_is_the_one_before_a_sunset_date(target: str, kind: str, name: str) -> None:
    ending = Sunset(target=target, date="2026-01-06", proposal=bytes(32), ended=False)
    (found,) = judge_sunset(ending, TIME_MS)
    assert (found.kind, found.id, found.ends) == (kind, name, "2026-01-05")
    assert (found.days_left, found.within_days) == (4, 7)
    assert list(judge_sunset(msgspec.structs.replace(ending, ended=True), TIME_MS)) == []
    assert list(judge_sunset(msgspec.structs.replace(ending, date="2026-03-03"), TIME_MS)) == []


@pytest.mark.parametrize(
    ("first", "last", "days_left"),
    [
        ("2025-01-01", "2026-01-11", 10),
        ("2025-01-01", "2026-01-01", 0),
        ("2025-01-01", "2025-12-31", None),
        ("2026-01-02", "2026-01-11", None),
        ("2025-01-01", "2027-01-01", None),
        ("2025-01-01", "2026-02-30", None),
    ],
)
def test_a_legal_basis_is_judged_while_it_is_in_force(
    first: str, last: str, days_left: int | None
) -> None:
    basis = legal_basis("all", in_force_from=first, in_force_to=last)
    found = list(judge_basis(basis, TIME_MS))
    assert [each.days_left for each in found] == ([] if days_left is None else [days_left])


def test_each_threshold_is_told_once() -> None:
    reminder = Reminder()
    assert warned(reminder, certificate(59)) == [("a", 59)]
    assert warned(reminder, certificate(59)) == []
    for days, told in ((58, 0), (30, 0), (29, 1), (28, 0), (6, 1), (5, 0), (-1, 0)):
        again = Expiring(
            kind="certificate",
            id="a",
            ends=certificate(59).ends,
            days_left=days,
            within_days=find_threshold(days) or 0,
        )
        assert len(warned(reminder, again)) == told, days


def test_a_renewed_thing_is_told_anew() -> None:
    reminder = Reminder()
    assert warned(reminder, certificate(5)) == [("a", 5)]
    assert warned(reminder) == []
    assert warned(reminder, certificate(59)) == [("a", 59)]
