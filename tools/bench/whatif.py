"""How fast a draft of contracts is rehearsed on recorded requests, hardly two of them alike.

The draft is the set of contracts in force with one limit changed, so it answers some requests in
another way. The log is verified on the way, as always: signatures, blocks and the state.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from ledger.events import Event, ShareRequested
from ledger.genesis import Genesis
from ledger.registry import Contract, PolicySet
from tools.bench.ledger import LedgerWriter, make_copy
from tools.bench.signing import Signing
from tools.contract.past import open_past
from tools.contract.whatif import look
from tools.localnet import Localnet
from tools.mirror import read_genesis
from tools.mirror.folder import no_progress

BLOCK_REQUESTS = 200
SUBJECTS_MAX = 60
CHANGES_SHOWN = 100
LIMIT, OTHER_LIMIT = "context.subjects > 200", "context.subjects > 20"


def measure_what_if(
    directory: Path, requests: int, jobs: int, on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Make the ledger in `directory` if it is not there, and return the figures."""

    def fill(writer: LedgerWriter, network: Localnet) -> None:
        genesis = read_genesis(network.genesis_path)
        for events in batched_events(network, genesis, requests):
            writer.add(events)
            on_progress(min(writer.size, requests), requests)

    copy = make_copy(directory / f"requests-{requests}", fill)
    with open_past(str(copy), copy / "genesis.json") as past:
        draft = change_limit(past.policy_set)
        started_s = _processor_s()
        found = look(
            past,
            draft,
            since=0,
            limit=CHANGES_SHOWN,
            jobs=jobs,
            trust=False,
            on_progress=no_progress,
        )
        used_s = _processor_s() - started_s
    return {
        "requests": found.tally.requests,
        "changed": found.tally.changed,
        "jobs": jobs,
        "seconds": round(found.seconds, 2),
        "requests_per_s": found.requests_per_s,
        "cpu_us_per_request": round(used_s / found.tally.requests * 1e6),
    }


def change_limit(policy_set: PolicySet) -> PolicySet:
    """The set with another limit on the subjects of a request."""
    contracts = tuple(
        Contract(id=each.id, text=each.text.replace(LIMIT, OTHER_LIMIT))
        for each in policy_set.contracts
    )
    assert contracts != policy_set.contracts, "the contracts that are shipped have that limit"
    return msgspec.structs.replace(policy_set, contracts=contracts)


def batched_events(network: Localnet, genesis: Genesis, count: int) -> Iterator[list[Event]]:
    """So many signed requests, block by block."""
    members = network.members
    signing = Signing(network, genesis)
    pairs = [(one, other) for one in members for other in members if one != other]
    kinds = [
        (basis, dataset, purpose)
        for basis, dataset, purpose in product(
            genesis.legal_bases, genesis.datasets, genesis.purposes
        )
        if (not basis.purposes or purpose.id in basis.purposes)
        and (not basis.categories or dataset.category in basis.categories)
    ]

    def make(number: int) -> Event:
        requester, provider = pairs[number % len(pairs)]
        basis, dataset, purpose = kinds[number // len(pairs) % len(kinds)]
        seed = hashlib.sha256(b"what-if" + number.to_bytes(8, "big")).digest()
        body = ShareRequested(
            provider=provider,
            dataset=dataset.id,
            purpose=purpose.id,
            legal_basis=basis.id,
            fields=tuple(field.id for field in dataset.fields),
            period_from="2025-01-01",
            period_to="2025-12-31",
            subjects=tuple(
                hashlib.sha256(seed + bytes([at])).digest()
                for at in range(1 + number * 7 % SUBJECTS_MAX)
            ),
            urgency=("normal", "urgent", "critical")[number % 3],
            retention_days=30 + number % 2_000,
            case="bench",
        )
        return signing.sign(requester, "requester", body, seed[:16])

    for first in range(0, count, BLOCK_REQUESTS):
        yield [make(number) for number in range(first, min(first + BLOCK_REQUESTS, count))]


def _processor_s() -> float:
    """Processor time of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
