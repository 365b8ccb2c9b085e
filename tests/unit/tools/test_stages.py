"""What `tally node status` says on the way of a node into the network."""

from typing import Any

import pytest

from tools.stages import receives, stages_of
from tools.words import catalogue


def said(
    *,
    status: str = "active",
    syncing: bool = False,
    connected: bool = True,
    seats: tuple[str, ...] = ("a", "b", "c", "d"),
    coming: tuple[str, ...] = (),
    ready: tuple[str, ...] = (),
) -> dict[str, str]:
    """What each stage of node `e` waits for; lie about one answer by naming it."""
    node: dict[str, Any] = {
        "member": "e",
        "height": 7,
        "syncing": syncing,
        "peers": [{"connected": connected, "final_height": 9}],
    }
    pending = {
        "validators": [{"member": member} for member in coming],
        "ready": list(ready),
        "missing": [member for member in coming if member not in ready],
        "quorum": 4,
        "activate_height": 100,
    }
    validators = {
        "validators": [{"member": member} for member in seats],
        "pending": pending if coming else None,
    }
    stages = stages_of(node, validators, [{"id": "e", "status": status}] if status else [])
    for stage in stages:
        assert stage.done == (not stage.waits_for)
    return {stage.name: stage.waits_for for stage in stages if not stage.done}


FIVE = ("a", "b", "c", "d", "e")


def test_every_step_of_the_way() -> None:
    later = {"voted": "voted", "ready": "vote_first", "validator": "ready_first"}
    assert said(status="") == {"member": "member_unknown", **later}
    assert said(status="applied") == {"member": "member_applied", **later}
    assert said(syncing=True) == {"synced": "synced", **later}
    assert said(connected=False) == {"synced": "links", **later}
    assert said() == later
    assert said(coming=FIVE) == {"ready": "ready", "validator": "ready_first"}
    assert said(coming=FIVE, ready=("e",)) == {"validator": "seal"}
    assert said(seats=FIVE) == {}


@pytest.mark.parametrize("status", ["suspended", "retired"])
def test_an_agency_that_may_not_act_says_so(status: str) -> None:
    assert said(status=status, seats=FIVE) == {"member": f"member_{status}"}


def test_a_node_that_nobody_speaks_with_answers_from_the_past() -> None:
    linked, alone = {"connected": True}, {"connected": False}
    assert receives({"peers": [alone, linked]})
    assert not receives({"peers": [alone, alone]})
    assert receives({"peers": []}), "alone in its network"


def test_all_that_can_be_waited_for_has_words() -> None:
    keys = {"synced", "links", "voted", "vote_first", "ready", "ready_first", "seal"}
    keys |= {f"member_{status}" for status in ("unknown", "applied", "suspended", "retired")}
    for language in ("zh", "en"):
        words = {name for name in catalogue(language) if name.startswith("stage.waits_")}
        assert words == {f"stage.waits_{key}" for key in keys}
