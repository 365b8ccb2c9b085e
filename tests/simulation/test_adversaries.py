"""Each adversary does what it is for, and nothing gives way: no checker fires, all goes on.

The runs are those of the simulator, at its command line too: a plan of `make_plan` in which as many
validators as may be faulty are the adversary. What is missing from a correct node is missed here: a
rule taken away makes at least one of these runs fail.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from ledger.blocks import RECORDS
from ledger.events import parse_event
from ledger.quorum.governance import EvidenceEquivocation
from node.peers.wire import FrameType
from node.simplex import rules
from node.simplex.core import Simplex
from node.simplex.errors import CorruptChain, CorruptQuorum
from node.simplex.votes import Tally
from tests.simulation import checkers, simulator
from tests.simulation.byzantine import known_adversaries
from tests.simulation.checkers import Violation, require
from tests.simulation.plan import Mode, Plan, make_plan
from tests.simulation.simulator import QUIET_MS, Result, Runner, run_plan

MODES: tuple[Mode, ...] = ("safety", "liveness")
SIZES = (4, 5, 7)
QUIET_LIMIT_MS = 60_000
STATUS = bytes([FrameType.CONSENSUS, 5])  # its time is always new
# What says that a rule is missing: the checker, or I6 and I7 in the node itself.
ALARMS = (Violation, CorruptQuorum, CorruptChain)


@dataclass(slots=True)
class Found:
    """What several runs have shown."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    nullified: int = 0
    accused: int = 0
    on_ledger: int = 0


class Watched(Runner):
    """A run that also looks for evidence, and for silence once the adversary is silent."""

    found: Found

    def _settle(self) -> None:
        """Then the adversary falls silent, and soon no honest node has anything new to say.

        A node that alone was led to nullify may repeat that, and what it holds, each second.
        """
        super()._settle()
        world = self.world
        for adversary in world.adversaries.values():
            adversary.send = lambda to, frame: None  # type: ignore[method-assign]  # from now on
        said: set[bytes] = set()
        news_us = world.loop.now_us
        sent = world.network.on_send

        def listen(sender: str, receivers: tuple[str, ...], frame: bytes) -> None:
            nonlocal news_us
            if frame not in said and frame[:2] != STATUS:
                said.add(frame)
                news_us = world.loop.now_us
            sent(sender, receivers, frame)

        world.network.on_send = listen
        end_us = world.loop.now_us + QUIET_LIMIT_MS * 1_000

        def is_quiet() -> bool:
            return world.loop.now_us >= news_us + QUIET_MS * 1_000

        world.loop.run_until(end_us, is_done=is_quiet)
        require(is_quiet(), "no end of news after the adversary: {}", self._describe())

    def _result(self) -> Result:
        result = super()._result()
        self.found.nullified += result.nullified
        for adversary in self.world.adversaries.values():
            self.found.done.update(getattr(adversary, "done", {}))
        for site in self.world.running:
            self.found.accused += site.driver.evidence_count
            wronged = site.driver.contradicting - set(self.world.adversaries)
            require(not wronged, "{} is accused of what it never did", sorted(wronged))
        longest = max(self.world.running, key=lambda site: site.driver_log.tip.height, default=None)
        if longest is not None:
            log = longest.driver_log
            for height in range(1, log.tip.height + 1):
                for data in log.read_block(height)[1]:
                    body = parse_event(RECORDS.decode(data).event).body
                    self.found.on_ledger += isinstance(body, EvidenceEquivocation)
        return result


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    """Runs of this test are watched, and what cores refuse is counted."""
    held = Found()
    reject = Simplex._reject

    def count(core: Simplex, sender: int, reason: str, *, is_fault: bool) -> None:
        held.refused[reason] += 1
        reject(core, sender, reason, is_fault=is_fault)

    monkeypatch.setattr(Watched, "found", held, raising=False)
    monkeypatch.setattr(simulator, "Runner", Watched)
    monkeypatch.setattr(Simplex, "_reject", count)
    return held


def plans(name: str, mode: Mode, validators: int, count: int, first: int = 0) -> list[Plan]:
    """The first plans with so many validators of which as many as may be are the adversary."""
    faulty = (validators - 1) // 3
    chosen: list[Plan] = []
    seed = first
    while len(chosen) < count:
        plan = make_plan(seed, mode, adversary=name)
        if plan.validators == validators and len(plan.adversaries) == faulty:
            chosen.append(plan)
        seed += 1
    return chosen


def run_all(name: str, *, sizes: tuple[int, ...] = SIZES, count: int = 1) -> None:
    for mode in MODES:
        for size in sizes:
            for plan in plans(name, mode, size, count):
                run_plan(plan)


def assert_did(found: Found, *names: str) -> None:
    missing = [name for name in names if not found.done[name]]
    assert not missing, f"never did {missing}, only {dict(found.done)}"


def test_every_adversary_has_its_test() -> None:
    tested = [name.removeprefix("test_") for name in globals()]
    assert [name for name in known_adversaries() if name not in tested] == []


def test_equivocating_leader(found: Found) -> None:
    run_all("equivocating_leader", sizes=(*SIZES, 10))
    assert_did(found, "equivocations")
    assert found.accused > 0
    assert found.on_ledger > 0


def test_equivocating_voter(found: Found) -> None:
    run_all("equivocating_voter")
    assert_did(found, "answered")
    assert found.accused > 0
    assert found.on_ledger > 0


def test_twins(found: Found) -> None:
    run_all("twins", sizes=(*SIZES, 10))
    assert_did(found, "changes", "frames of 0", "frames of 1")
    assert found.accused > 0
    assert found.on_ledger > 0


def test_nuller(found: Found) -> None:
    run_all("nuller")
    assert_did(found, "nullified", "finalized")
    assert found.nullified > 0
    assert found.accused > 0  # of nullify and finalize


def test_silent(found: Found) -> None:
    run_all("silent")
    assert found.nullified > 0
    assert found.accused == 0


def test_selective_sender(found: Found) -> None:
    run_all("selective_sender", sizes=(*SIZES, 10))
    assert_did(found, "proposal", "vote", "certificate", "answer")
    assert found.accused == 0


def test_stale_replayer(found: Found) -> None:
    run_all("stale_replayer")
    assert_did(found, "replayed")
    assert found.refused["a proposal does not come from its leader"] > 0
    assert found.refused["a status does not come from its signer"] > 0
    assert found.accused == 0


def test_impersonator(found: Found) -> None:
    run_all("impersonator")
    assert_did(found, "votes", "proposals", "statuses", "certificates", "lines", "usurped")
    assert found.refused["a signature does not verify"] > 0
    assert found.refused["a signer is not a validator of this epoch"] > 0
    assert found.refused["a certificate has no quorum"] > 0
    assert found.refused["a proposal is not signed by the leader of its view"] > 0
    assert found.refused["a proposal does not come from its leader"] > 0


def test_invalid_block(found: Found) -> None:
    run_all("invalid_block", count=2)
    assert len(found.done) > 8, found.done
    assert_did(found, "gaps")
    assert found.nullified > 0


def test_wrong_time(found: Found) -> None:
    run_all("wrong_time")
    assert_did(found, "ahead", "behind", "parent")
    assert found.nullified > 0


def test_flooder(found: Found) -> None:
    run_all("flooder")
    floods = ("votes", "certificates", "proposals", "frontiers", "statuses", "tips", "lines")
    assert_did(found, *floods, "blocks", "ranges", "snapshots", "entries", "events", "giant")
    assert_did(found, "checked")
    assert found.refused["a signature does not verify"] > 0


def test_poison(found: Found) -> None:
    run_all("poison")
    sorts = ("expiring", "malformed", "rivals", "unsigned", "unfit", "lonely", "in_block")
    assert_did(found, *sorts)
    assert found.nullified > 0


@pytest.mark.parametrize("validators", [7, 10])
def test_adversaries_of_mixed_kinds(found: Found, validators: int) -> None:
    kinds = list(known_adversaries())
    for mode in MODES:
        for plan in plans("silent", mode, validators, 2):
            random = Random(f"mixed {plan.seed}")
            mixed = {member: random.choice(kinds) for member in plan.adversaries}
            run_plan(replace(plan, adversaries=mixed))
    assert found.done.total() > 0


# --- that they bite ---------------------------------------------------------------------------


def fires(
    name: str,
    validators: int,
    count: int,
    *,
    modes: tuple[Mode, ...] = MODES,
    first: int = 0,
) -> str:
    """The first alarm in runs of an adversary, or nothing."""
    for mode in modes:
        for plan in plans(name, mode, validators, count, first):
            try:
                run_plan(plan)
            except ALARMS as alarm:
                return f"{plan.mode} {plan.seed}: {alarm}"
    return ""


def test_without_the_gap_check_an_invalid_block_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(
        *, parent_view: int, parent_hash: bytes, notarized: Mapping[int, bytes], **_: object
    ) -> rules.Place:
        is_parent = notarized.get(parent_view) == parent_hash
        return rules.Place.JUSTIFIED if is_parent else rules.Place.NOT_YET

    monkeypatch.setattr(rules, "judge_place", careless)
    # About one in thirty runs.
    assert "skipped silently" in fires("invalid_block", 4, 40, modes=("liveness",))


def test_when_later_votes_count_too_a_flooder_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add = Tally.add

    def add_all(tally: Tally, vote: object) -> object:
        result = add(tally, vote)  # type: ignore[arg-type]  # a vote
        counts = tally._counts.setdefault(vote.subject.view, {})  # type: ignore[attr-defined]  # ditto
        counts.setdefault(vote.subject, {})[vote.signer] = vote.signature  # type: ignore[attr-defined]  # ditto
        return result

    monkeypatch.setattr(Tally, "add", add_all)
    assert "subjects of a view" in fires("flooder", 4, 4)


def test_with_a_quorum_of_2f_plus_1_of_5_there_are_two_truths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_small(validators: int) -> int:
        return 2 * ((validators - 1) // 3) + 1

    monkeypatch.setattr(rules, "count_quorum", too_small)
    # The checker would see at once that certificates are too small: it must see what follows.
    monkeypatch.setattr(checkers, "quorum", too_small)
    assert fires("equivocating_leader", 5, 10)
