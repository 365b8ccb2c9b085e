"""The story of `tally demo`: four regions, 200 requests, a node killed, data, an audit."""

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from contracts.engine import validate_policy_set
from ledger.events import Body, Event, ShareApproved, ShareDelivered, ShareReceived, ShareRequested
from ledger.genesis import Genesis
from ledger.keys import Signer
from tools.casebook import Case, read_cases
from tools.client import Claim, Client, Moment
from tools.commands.copies.replay import replay_folder
from tools.custody.blinds import blind_subject
from tools.custody.signer import open_signer
from tools.exits import InvalidAnswer, RefusedEvent
from tools.founding import read_source
from tools.gateway.local import LocalGateways
from tools.gateway.story import Travel, count_ids_on, let_data_travel, show_overdue
from tools.localnet import Localnet, create_network, shipped_policy_set
from tools.mirror import mirror_log, read_genesis
from tools.output import progress
from tools.words import language, say

WAIT_S = 20
KILL_AT = 70
RESTART_AT = 140
EXCHANGES = 12
EXAMPLES = ("permit", "review", "deny")
COLOURS = {"permit": "green", "review": "yellow", "deny": "red"}

Tell = Callable[[str], None]


@dataclass(slots=True)
class Story:
    """What has happened so far."""

    network: Localnet
    genesis: Genesis
    tell: Tell
    decided: list[tuple[Case, Event, Claim]] = field(default_factory=list)
    final_s: list[float] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    gateways: LocalGateways = field(init=False)

    def __post_init__(self) -> None:
        self.gateways = LocalGateways(self.network)

    @property
    def victim(self) -> str:
        """The member whose node is killed; clients talk to another."""
        return self.network.members[1]

    @property
    def url(self) -> str:
        """The node that clients talk to."""
        return self.network.index.nodes[0].api

    def key(self, member: str, role: str) -> Signer:
        """An officer's key."""
        return open_signer(str(self.network.officer_key_path(member, role)))


def make_story(directory: Path, tell: Tell) -> Story:
    """Found the network in `directory` and introduce it."""
    network = create_network(
        directory, source=read_source(), nodes=4, policy_set=shipped_policy_set()
    )
    genesis = read_genesis(network.genesis_path)
    tell(say("demo.title", nodes=len(network.members)))
    tell(
        say(
            "demo.members",
            members=len(genesis.members),
            officers=len(genesis.officers),
            datasets=len(genesis.datasets),
            contracts=len(genesis.policy_set.contracts),
        )
    )
    return Story(network=network, genesis=genesis, tell=tell)


def start_nodes(story: Story) -> None:
    """Start all nodes and wait for them."""
    started_s = time.monotonic()
    story.network.start()
    story.network.wait_ready()
    seconds = round(time.monotonic() - started_s, 1)
    story.tell(say("demo.ready", nodes=len(story.network.members), seconds=seconds))


async def play(story: Story) -> None:
    """Requests with a killed node, then whole exchanges."""
    async with Client(story.url, story.genesis) as client:
        await _request_all(story, client)
        _tell_decisions(story)
        await _exchange(story, client)
        await _verify_examples(story, client)


def travel(story: Story) -> None:
    """The data itself, through the gateways of two agencies."""
    journey = _journey(story)
    let_data_travel(journey)
    story.ids |= journey.ids
    story.figures |= journey.figures


def look_ahead(story: Story) -> None:
    """What would be overdue some days from now; nothing is within the minute of the story."""
    journey = _journey(story)
    show_overdue(journey)
    story.figures |= journey.figures


def _journey(story: Story) -> Travel:
    return Travel(
        network=story.network, genesis=story.genesis, tell=story.tell, gateways=story.gateways
    )


def stop(story: Story) -> None:
    """End all processes of the story."""
    story.gateways.stop()
    story.network.stop()


async def audit(story: Story) -> None:
    """Copy the log, look for names of taxpayers in the copy, replay it offline."""
    directory = story.network.directory / "mirror"
    await _mirror(story, directory)
    found = count_ids_on(directory, story.ids)
    story.figures["ids_on_ledger"] = found
    story.tell(say("demo.no_ids", count=len(story.ids), found=found))
    report = replay_folder(directory, genesis=story.genesis, jobs=os.cpu_count() or 1)
    story.figures |= {
        "entries": report["entries"],
        "decisions": report["decisions"],
        "replay": report["replay"],
        "replay_entries_per_s": report["entries_per_s"],
    }
    story.tell(say("demo.replayed", entries=report["entries"], rate=report["entries_per_s"]))


async def _request_all(story: Story, client: Client) -> None:
    cases = read_cases()
    restart: asyncio.Task[None] | None = None
    killed_at = 0
    with progress("demo.requesting") as bar:
        for number, case in enumerate(cases, start=1):
            if number == KILL_AT:
                await asyncio.to_thread(story.network.kill, story.victim)
                killed_at = len(story.final_s)
                story.tell(say("demo.killed", member=story.victim))
            if number == RESTART_AT:
                gap_s = _longest_gap_s(story.final_s[killed_at - 1 :])
                story.figures["kill_gap_s"] = round(gap_s, 3)
                story.tell(say("demo.gap", seconds=round(gap_s, 2)))
                restart = asyncio.create_task(_restart(story))
            await _request(story, client, case)
            bar.clear()
            _tell_case(story, number)
            bar(number, len(cases))
    assert restart is not None, "there are more cases than RESTART_AT"
    await restart


async def _request(story: Story, client: Client, case: Case) -> None:
    body = ShareRequested(
        provider=case.provider,
        dataset=case.dataset,
        purpose=case.purpose,
        legal_basis=case.legal_basis,
        fields=case.fields,
        period_from=case.period_from,
        period_to=case.period_to,
        subjects=tuple(_commitment(case, at) for at in range(case.subject_count)),
        urgency=case.urgency,
        retention_days=case.retention_days,
        case=case.case,
    )
    event, claim = await _act(story, client, case.requester, "requester", body)
    story.decided.append((case, event, claim))
    story.final_s.append(time.monotonic())


async def _act(
    story: Story, client: Client, member: str, role: str, body: Body
) -> tuple[Event, Claim]:
    """Sign and submit; returns when the event is final and applied."""
    height = story.decided[-1][2].height if story.decided else 0
    # Nobody votes in this story: what the genesis says is in force.
    bound = story.genesis.parameters.expiry_blocks_max
    moment = Moment(height=height, expiry_blocks_max=bound)
    event = client.sign_at(moment, story.key(member, role), member=member, body=body)
    claim = await client.submit(event, wait_s=WAIT_S)
    if claim.state != "final":
        claim = await client.wait_final(event.digest, timeout_s=2 * WAIT_S)
    if claim.outcome is None or not (claim.outcome.applied or claim.outcome.decision == "deny"):
        raise RefusedEvent(claim.outcome.code if claim.outcome else claim.code, event.digest.hex())
    return event, claim


async def _restart(story: Story) -> None:
    """Start the killed node again and wait until it has what was final before."""
    last_index = story.decided[-1][2].index
    height = story.decided[-1][2].height
    started_s = time.monotonic()
    await asyncio.to_thread(story.network.start, [story.victim])
    await asyncio.to_thread(story.network.wait_ready, [story.victim])
    async with Client(story.network.node(story.victim).api, story.genesis) as client:
        async for index in client.watch_indexes(after_height=max(0, height - 1)):
            if index >= last_index:
                break
    seconds = time.monotonic() - started_s
    story.figures["catch_up_s"] = round(seconds, 3)
    story.tell(say("demo.caught_up", member=story.victim, seconds=round(seconds, 2), height=height))


def _tell_case(story: Story, number: int) -> None:
    """One line: the decision and the rules that made it."""
    case, _, claim = story.decided[-1]
    if claim.outcome is None:
        return
    decision = claim.outcome.decision
    words = {
        "number": f"{number:3}",
        "decision": click.style(f"{say(f'decision.{decision}'):6}", fg=COLOURS[decision]),
        "requester": case.requester,
        "provider": case.provider,
        "dataset": case.dataset,
        "purpose": case.purpose,
        "rules": ", ".join(claim.outcome.policies),
    }
    story.tell(say("demo.case", **words))


def _tell_decisions(story: Story) -> None:
    counts = Counter(
        claim.outcome.decision for _, _, claim in story.decided if claim.outcome is not None
    )
    story.tell(say("demo.decided", **{name: counts[name] for name in EXAMPLES}))
    titles = {
        info.id: info.title_zh if language() == "zh" else info.title_en
        for info in validate_policy_set(story.genesis.policy_set)
    }
    told: set[str] = set()
    for case, _, claim in story.decided:
        outcome = claim.outcome
        if outcome is None:
            continue
        comma = "、" if language() == "zh" else ", "
        rules = comma.join(titles.get(name, name) for name in outcome.policies) or outcome.code
        if rules in told:
            continue
        told.add(rules)
        names = {
            "requester": case.requester,
            "provider": case.provider,
            "dataset": case.dataset,
            "note": case.note_zh if language() == "zh" else case.note_en,
        }
        decision = say(f"decision.{outcome.decision}")
        story.tell("  " + say("demo.example", **names))
        story.tell("    " + say("demo.because", decision=decision, rules=rules))


async def _exchange(story: Story, client: Client) -> None:
    """Approve reviews, then deliver and receive some exchanges."""
    reviewed = [row for row in story.decided if _decision(row[2]) == "review"][:EXCHANGES]
    for case, event, _ in reviewed:
        body = ShareApproved(exchange=event.digest, comment="")
        await _act(story, client, case.provider, "approver", body)
    permitted = [row for row in story.decided if _decision(row[2]) == "permit"][:EXCHANGES]
    for case, event, _ in permitted:
        commitment = hashlib.sha256(event.digest + b"payload").digest()
        records = case.subject_count
        delivered = ShareDelivered(
            exchange=event.digest,
            commitment=commitment,
            record_count=records,
            schema_version=1,
            quality_digest=hashlib.sha256(event.digest + b"quality").digest(),
            size_bytes=512 * records,
            outbox_until_ms=story.genesis.time_ms + 30 * 86_400_000,
        )
        await _act(story, client, case.provider, "provider", delivered)
        received = ShareReceived(exchange=event.digest, commitment=commitment, record_count=records)
        await _act(story, client, case.requester, "requester", received)
    story.tell(say("demo.lifecycle", count=len(permitted), approved=len(reviewed)))
    story.figures |= {"exchanges": len(permitted), "approved": len(reviewed)}


async def _verify_examples(story: Story, client: Client) -> None:
    """Check one receipt of each decision: the node's word is not enough."""
    for decision in EXAMPLES:
        _, event, claim = next(row for row in story.decided if _decision(row[2]) == decision)
        record = await client.fetch_record(claim.index)
        if record.event.digest != event.digest or record.outcome.decision != decision:
            raise InvalidAnswer("answer-mismatch", f"#{claim.index}")


async def _mirror(story: Story, directory: Path) -> None:
    with progress("demo.mirroring") as bar:
        await mirror_log(
            story.url,
            directory,
            genesis=story.genesis,
            on_progress=bar,
        )


def _decision(claim: Claim) -> str:
    return claim.outcome.decision if claim.outcome is not None else ""


def _longest_gap_s(times_s: list[float]) -> float:
    return max((later - before for before, later in pairwise(times_s)), default=0.0)


def _commitment(case: Case, at: int) -> bytes:
    """Commitment to a fictitious taxpayer under a fresh blind."""
    return blind_subject(f"{case.case}/{at}").commitment
