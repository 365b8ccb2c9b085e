"""A log that was really executed: requests of all kinds, approvals, deliveries, refusals."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.engine import ENGINE_VERSION, Contracts
from contracts.execute import BlockInput, execute
from contracts.shipped import load_shipped
from ledger.blocks import RECORDS, Outcome
from ledger.events import Event, ShareApproved, ShareDelivered, parse_event, sign_event
from ledger.genesis import Genesis
from ledger.lthash.digest import apply_changes
from ledger.registry import Contract, PolicySet, Purpose
from tests import builders
from tests.unit.ledger.builders import (
    MEMBERS,
    ChainBuilder,
    make_genesis,
    make_member,
    make_request,
    officer_secret,
)

PURPOSES = ("assessment", "criminal", "statistics", "audit")
CONTRACTS = Contracts()
URGENCIES = ("normal", "urgent", "critical")


def make_past_genesis(**lies: object) -> Genesis:
    members = tuple(msgspec.structs.replace(make_member(name), credit=900) for name in MEMBERS)
    fields = {
        "policy_set": load_shipped(),
        "members": members,
        "datasets": builders.DATASETS,
        "purposes": tuple(
            Purpose(id=name, name_zh=name, name_en=name) for name in builders.PURPOSES
        ),
    }
    return make_genesis(**(fields | lies))


def make_past(blocks: int = 4, *, size: int = 20, genesis: Genesis | None = None) -> ChainBuilder:
    """Blocks of `size` requests, each answered in the next block as far as it is allowed."""
    chain = ChainBuilder(genesis or make_past_genesis())
    before: list[Event] = []
    for block in range(blocks):
        requests = [ask(chain, block * size + at) for at in range(size)]
        outcomes = add_executed(chain, [*answers(chain, before), *requests])
        applied = outcomes[len(outcomes) - size :]
        before = [
            event
            for event, outcome in zip(requests, applied, strict=True)
            if outcome.decision in ("permit", "review")
        ]
    return chain


def ask(chain: ChainBuilder, number: int) -> Event:
    member, provider = MEMBERS[number % 4], MEMBERS[(number + 1 + number // 4 % 3) % 4]
    wanted = builders.DATASETS[number % 4]
    body = make_request(
        provider=provider,
        dataset=wanted.id if number % 19 else "unknown",
        fields=tuple(field.id for field in wanted.fields),
        purpose=PURPOSES[number // 4 % 4],
        urgency=URGENCIES[number % 3],
        subjects=tuple(builders.hash32(f"{number}/{at}") for at in range(1 + number * 7 % 60)),
        retention_days=100 + number % 2_000,
    )
    return signed(chain, member, body, number)


def answers(chain: ChainBuilder, events: Sequence[Event]) -> list[Event]:
    """Approvals, which are refused where nothing is under review, and deliveries."""
    found = []
    for at, event in enumerate(events):
        assert hasattr(event.body, "provider")
        approved = ShareApproved(exchange=event.digest, comment="")
        delivered = ShareDelivered(
            exchange=event.digest,
            commitment=builders.hash32(f"payload {at}"),
            record_count=3,
            schema_version=1,
            quality_digest=bytes(32),
            size_bytes=100,
            outbox_until_ms=builders.OUTBOX_UNTIL_MS,
        )
        number = int.from_bytes(event.nonce, "big")
        found.append(signed(chain, event.body.provider, approved, 100_000 + number))
        found.append(signed(chain, event.body.provider, delivered, 200_000 + number))
    return found


def signed(chain: ChainBuilder, member: str, body: object, number: int) -> Event:
    return sign_event(
        officer_secret(member),
        network=chain.network,
        member=member,
        nonce=number.to_bytes(16, "big"),
        expires_height=1_000 * (1 + len(chain.blocks) // 1_000),
        body=body,
    )


def add_executed(
    chain: ChainBuilder,
    events: Sequence[Event],
    contracts: Contracts = CONTRACTS,
    **lies: object,
) -> tuple[Outcome, ...]:
    time_ms = chain.time_ms + 1_000
    given = BlockInput(
        network=chain.network,
        height=len(chain.blocks) + 1,
        time_ms=time_ms,
        first_index=chain.range.size + 1,
        events=tuple(events),
    )
    execution = execute(chain.state, given, contracts)
    digest = apply_changes(chain.accumulator, execution.overlay)
    fields = {
        "records": execution.records,
        "time_ms": time_ms,
        "engine": ENGINE_VERSION,
        "state_digest": digest.digest(),
    }
    chain.add(**(fields | lies))
    chain.accumulator = digest.encode()
    chain.state.pairs.update(execution.overlay.changes)
    return execution.outcomes


def records_of(chain: ChainBuilder) -> list[tuple[Event, Outcome]]:
    decoded = [RECORDS.decode(data) for block in chain.blocks for data in block.records]
    return [(parse_event(record.event), record.outcome) for record in decoded]


def write_copy(chain: ChainBuilder, folder: Path, **lies: bytes) -> Path:
    for name, data in chain.copy(**lies).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def changed_set(contract: str, old: str, new: str) -> PolicySet:
    """The shipped set with a piece of one contract replaced."""
    return replaced(load_shipped(), contract, old, new)


def replaced(policy_set: PolicySet, contract: str, old: str, new: str) -> PolicySet:
    """The set with a piece of one contract replaced."""
    texts = {each.id: each.text for each in policy_set.contracts}
    assert texts[contract].count(old) >= 1
    texts[contract] = texts[contract].replace(old, new)
    contracts = tuple(Contract(id=name, text=text) for name, text in sorted(texts.items()))
    return msgspec.structs.replace(policy_set, contracts=contracts)


def write_draft(policy_set: PolicySet, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.cedarschema").write_text(policy_set.schema)
    for contract in policy_set.contracts:
        (folder / f"{contract.id}.cedar").write_text(contract.text)
    return folder
