"""What the verifiers we did not write make of logs that were tampered with and signed again.

They check the tree and who signed it: so they refuse whatever a minority signs, and a changed log
under the signatures of the true one. What a whole quorum forged they accept, as they must; a replay
names it (`tests/unit/contracts/test_tampering.py`).
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.blocks import quorum_of
from ledger.genesis import cosigner_keys, log_verifier_key
from tests.e2e.third_party import Unavailable, verify_with_aics, verify_with_scales
from tests.unit.contracts.test_tampering import TAMPERED, make_log
from tests.unit.ledger.builders import ChainBuilder, make_genesis

pytestmark = pytest.mark.timeout(600)

SIGNED_AGAIN = (
    "forge_decision",
    "forge_contract_version",
    "hide_refusal_for_role",
    "rewrite_access_log",
    "swap_blocks",
    "drop_record",
)
# The others append what is forged: they begin with the true log, of which its checkpoint is true.
CHANGED = (
    "rewrite_access_log_from_the_start",
    "swap_records",
    "swap_blocks",
    "drop_record",
    "drop_record_and_relink",
)

Verify = Callable[..., tuple[bool, str]]


@pytest.fixture(params=[verify_with_aics, verify_with_scales], ids=["aics", "scales"])
def verify(request: pytest.FixtureRequest, tmp_path: Path) -> Verify:
    def run(
        chain: ChainBuilder, checkpoint: bytes, *, origin: str | None = None
    ) -> tuple[bool, str]:
        folder = tmp_path / "log"
        for name, data in chain.copy(checkpoint=checkpoint).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        genesis = chain.genesis if origin is None else make_genesis(origin=origin)
        keys = [key.format() for key in cosigner_keys(genesis)]
        try:
            verdict: tuple[bool, str] = request.param(
                folder,
                log_vkey=log_verifier_key(genesis).format(),
                cosigner_vkeys=keys,
                quorum=quorum_of(len(keys)),
            )
        except Unavailable as error:
            pytest.skip(str(error))
        return verdict

    return run


def test_the_true_log_is_accepted(verify: Verify) -> None:
    chain = make_log().chain
    accepted, output = verify(chain, chain.checkpoint())
    assert accepted, output


@pytest.mark.parametrize("name", SIGNED_AGAIN)
def test_what_a_minority_signs_again_is_refused(verify: Verify, name: str) -> None:
    log = make_log()
    TAMPERED[name][0](log)
    accepted, output = verify(log.chain, log.chain.checkpoint(("north", "south")))
    assert not accepted, output


@pytest.mark.parametrize("name", CHANGED)
def test_the_signatures_of_the_true_log_do_not_fit(verify: Verify, name: str) -> None:
    log, true = make_log(), make_log().chain.checkpoint()
    TAMPERED[name][0](log)
    accepted, output = verify(log.chain, true)
    assert not accepted, output


@pytest.mark.parametrize("name", ["forge_decision", "swap_blocks", "drop_record"])
def test_what_a_quorum_forges_only_a_replay_finds(verify: Verify, name: str) -> None:
    log = make_log()
    TAMPERED[name][0](log)
    accepted, output = verify(log.chain, log.chain.checkpoint())
    assert accepted, output


def test_the_log_of_another_genesis_is_refused(verify: Verify) -> None:
    chain = make_log().chain
    accepted, output = verify(chain, chain.checkpoint(), origin="other.example/log")
    assert not accepted, output
