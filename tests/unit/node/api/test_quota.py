"""Token buckets and pending counts."""

import pytest

from node.api.quota import CountQuota, RateQuota


def test_a_bucket_grants_its_burst_and_then_its_rate() -> None:
    quota = RateQuota(rate_per_s=10, burst=5)
    assert [quota.take("a", 1, 0) for _ in range(5)] == [0] * 5
    assert quota.take("a", 1, 0) == 100
    assert quota.take("a", 1, 99) == 1
    assert quota.take("a", 1, 100) == 0
    assert quota.take("b", 5, 100) == 0


def test_more_than_the_burst_is_granted_once_and_paid_back() -> None:
    quota = RateQuota(rate_per_s=10, burst=5)
    assert quota.take("a", 15, 0) == 0
    assert quota.take("a", 1, 0) == 1_100
    assert quota.take("a", 1, 1_100) == 0


def test_time_that_goes_back_gives_nothing() -> None:
    quota = RateQuota(rate_per_s=10, burst=1)
    assert quota.take("a", 1, 1_000) == 0
    assert quota.take("a", 1, 0) == 100


def test_keys_are_bounded_and_the_quietest_is_forgotten() -> None:
    quota = RateQuota(rate_per_s=1, burst=10, keys_max=3)
    for key in ("first", "second", "third"):
        quota.take(key, 10, 0)
    quota.take("first", 1, 1_000)
    quota.take("new", 1, 1_000)
    assert len(quota) == 3
    assert quota.wait_ms("first", 1, 1_000) > 0
    assert quota.wait_ms("second", 10, 1_000) == 0
    for number in range(100):
        quota.take(f"key {number}", 10, 1_000)
    assert len(quota) == 3


def test_counts_are_given_back() -> None:
    quota = CountQuota(per_key_max=2)
    assert quota.take("a", 2)
    assert not quota.take("a", 1)
    assert quota.take("b", 1)
    quota.give_back("a", 2)
    assert quota.held("a") == 0
    with pytest.raises(AssertionError):
        quota.give_back("a", 1)


@pytest.mark.parametrize("field", ["rate_per_s", "burst", "keys_max"])
def test_a_quota_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RateQuota(**{"rate_per_s": 1, "burst": 1, field: 0})
