"""A client that we did not write has our witness cosign, and sees what the witness refuses."""

import asyncio
import base64
import time
from pathlib import Path

import pytest

from ledger.tlog.merkle import prove_consistency
from tests.e2e.third_party import Unavailable, feed_with_aics
from tests.unit.ledger.builders import LOG_KEY, LeafReader
from tests.unit.tools.audit.test_witness import KEY, OTHERS, READER, note_of
from tools.audit.witnessing.served import listening
from tools.audit.witnessing.witness import Witness, judges_of

pytestmark = pytest.mark.timeout(600)

SIZES = (0, 5, 17, 40)


def step(size: int, reader: LeafReader = READER) -> dict[str, object]:
    proofs = {
        str(old): [base64.b64encode(each).decode() for each in prove_consistency(reader, old, size)]
        for old in SIZES
        if old <= size
    }
    return {"note": note_of(size, reader).decode(), "proofs": proofs}


def test_a_client_feeds_the_witness(tmp_path: Path) -> None:
    steps = [step(5), step(17), step(17), step(40), step(17), step(60, OTHERS), step(40)]

    async def story() -> list[str]:
        judges = judges_of((LOG_KEY.verifier,), ())
        witness = Witness(KEY, judges, tmp_path, lambda: int(time.time()))
        async with listening(witness, ("127.0.0.1", 0)) as url:
            return await asyncio.to_thread(feed_with_aics, url, KEY.verifier.format(), steps)

    try:
        told = asyncio.run(story())
    except Unavailable as error:
        pytest.skip(str(error))
    assert told == [
        "cosigned 1", "cosigned 1", "cosigned 1", "cosigned 1",
        "WitnessAhead ", "WitnessRejected 422", "cosigned 1",
    ]  # fmt: skip
