"""The rules of CONSENSUS section 1 as pure predicates, shared by the core and the exhaustive check.

Views are integers, 0 is the epoch's genesis; `final_view` is vf, `current` is cur. Growth is a
fraction of integers, never a float.
"""

from collections.abc import Container, Mapping
from enum import Enum

GROWTH_MAX = 16
_GROWTH_STEPS_MAX = 7  # 1.5^7 > 16


class Place(Enum):
    """R5: whether a proposal may stand where it claims to stand."""

    JUSTIFIED = "justified"
    NOT_YET = "a certificate is not here yet"
    NEVER = "no certificate can ever justify it"


def count_faulty_max(validators: int) -> int:
    """f = floor((n-1)/3)."""
    return (validators - 1) // 3


def count_quorum(validators: int) -> int:
    """q = n - f, not 2f+1 (which is too small unless n = 3f+1)."""
    return validators - count_faulty_max(validators)


def leader_of(view: int, *, validators: int, rotation: int) -> int:
    """Index of the leader of a view."""
    return (view - 1 + rotation) % validators


def choose_parent(
    *,
    current: int,
    final_view: int,
    notarized: Mapping[int, bytes],
    nullified: Container[int],
) -> int | None:
    """R3: the highest notarized view such that every view between is nullified, or None."""
    view = current - 1
    while view >= final_view:
        if view in notarized:
            return view
        if view not in nullified:
            return None
        view -= 1
    return None


def judge_place(
    *,
    view: int,
    parent_view: int,
    parent_hash: bytes,
    final_view: int,
    notarized: Mapping[int, bytes],
    nullified: Container[int],
) -> Place:
    """R5: parent notarized with that hash, all views between nullified, parent not below vf (I11).

    `notarized` also holds the final view with its hash. For a re-proposal `parent_hash` is the
    hash of the seal block itself.
    """
    if not final_view <= parent_view < view:
        return Place.NEVER
    if parent_view not in notarized:
        return Place.NOT_YET
    if notarized[parent_view] != parent_hash:
        return Place.NEVER
    if all(between in nullified for between in range(parent_view + 1, view)):
        return Place.JUSTIFIED
    return Place.NOT_YET


def is_reproposal(*, view: int, block_view: int) -> bool:
    """A proposal of `view` that offers a block made in an earlier one."""
    return block_view < view


def may_follow(*, is_parent_seal: bool, is_reproposal: bool) -> bool:
    """Section 3, step 4: after a notarized seal block only itself again, which nothing else may."""
    return is_parent_seal == is_reproposal


def may_vote(*, is_final_seal: bool | None) -> bool:
    """I5: none once the epoch's seal block is final, nor while the final block is unknown (None).

    Unknown: its finalization is here, the block is not, and it may be the seal.
    """
    return is_final_seal is False


def may_notarize(*, view: int, current: int, has_notarized: bool, has_nullified: bool) -> bool:
    """R5 (and R4): in the current view only, once, and never after a nullify."""
    return view == current and not has_notarized and not has_nullified


def may_nullify(*, view: int, current: int, has_nullified: bool, has_finalized: bool) -> bool:
    """R7: in the current view only (I10), once, and never with a finalize (I2)."""
    return view == current and not has_nullified and not has_finalized


def may_finalize(
    *,
    view: int,
    current: int,
    final_view: int,
    notarized_hash: bytes | None,
    own_notarized_hash: bytes | None,
    has_nullified: bool,
    has_finalized: bool,
) -> bool:
    """R6 without the data condition: notarized (I9), not nullified (I2), not finalized (I3).

    The hashes may be whole bodies of votes: a seal block can be voted on with two parent views.
    """
    if not final_view < view < current or notarized_hash is None:
        return False
    if has_nullified or has_finalized:
        return False
    return own_notarized_hash is None or own_notarized_hash == notarized_hash


def growth(*, current: int, final_view: int, validators: int) -> tuple[int, int]:
    """R8: g = min(16, 1.5^floor((cur - vf - 1)/n)) as (numerator, denominator).

    A step for each round in which every validator has led: that f+1 views in a row fail is no sign
    of a slow network after faults, and longer timers make what is left of them last longer.
    """
    steps = (current - final_view - 1) // validators
    if steps >= _GROWTH_STEPS_MAX:
        return GROWTH_MAX, 1
    steps = max(steps, 0)
    return 3**steps, 2**steps


def scale_ms(base_ms: int, factor: tuple[int, int], cap_ms: int) -> int:
    """`base_ms` times the growth, at most `cap_ms`, rounded down."""
    return min(cap_ms, base_ms * factor[0] // factor[1])


def is_timely(
    time_ms: int, *, wall_ms: int, precision_ms: int, delay_ms: int, factor: tuple[int, int]
) -> bool:
    """CONSENSUS 6.5: recv - PRECISION - MSGDELAY*g <= time_ms <= recv + PRECISION."""
    earliest_ms = wall_ms - precision_ms - delay_ms * factor[0] // factor[1]
    return earliest_ms <= time_ms <= wall_ms + precision_ms


def is_earliest(time_ms: int, *, parent_ms: int) -> bool:
    """CONSENSUS 6.5: no child of that parent can have an earlier time."""
    return time_ms == parent_ms + 1


def is_in_window(view: int, *, current: int, final_view: int, ahead: int) -> bool:
    """R2: votes are kept for vf < view <= cur + `ahead` only (I13)."""
    return final_view < view <= current + ahead
