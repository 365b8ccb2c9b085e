"""Verifiers we did not write accept the log of four real nodes, and refuse any changed byte."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.blocks import quorum_of
from ledger.genesis import cosigner_keys, log_verifier_key
from tests.e2e.network import flip_byte, log_files
from tests.e2e.third_party import Unavailable, verify_with_aics, verify_with_scales
from tools.mirror import read_genesis

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(params=[verify_with_aics, verify_with_scales], ids=["aics", "scales"])
def verify(request: pytest.FixtureRequest, stopped: Path) -> Callable[[Path], tuple[bool, str]]:
    genesis = read_genesis(stopped / "genesis.json")
    cosigners = [key.format() for key in cosigner_keys(genesis)]

    def run(folder: Path) -> tuple[bool, str]:
        try:
            verdict: tuple[bool, str] = request.param(
                folder,
                log_vkey=log_verifier_key(genesis).format(),
                cosigner_vkeys=cosigners,
                quorum=quorum_of(len(cosigners)),
            )
        except Unavailable as error:
            pytest.skip(str(error))
        return verdict

    return run


def test_the_verifiers_accept_the_log_with_its_quorum(
    verify: Callable[[Path], tuple[bool, str]], mirror: Path
) -> None:
    accepted, output = verify(mirror)
    assert accepted, output


def test_the_verifiers_refuse_one_flipped_byte_of_any_file(
    verify: Callable[[Path], tuple[bool, str]], mirror: Path
) -> None:
    assert len(log_files(mirror)) >= 5
    for path in log_files(mirror):
        data = path.read_bytes()
        # In the checkpoint the last lines are cosignatures, of which one may be wrong.
        places = (30, 60) if path.name == "checkpoint" else (5, len(data) // 2, len(data) - 1)
        for place in places:
            flip_byte(path, place)
            accepted, output = verify(mirror)
            assert not accepted, (path, place, output)
            path.write_bytes(data)
