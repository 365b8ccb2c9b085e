"""One log, and its copy with a state file at every height, for all tests that only read them."""

from pathlib import Path

import pytest

from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.tools.audit.copies import keep_states, make_log, write_copy


@pytest.fixture(scope="session")
def log() -> Governed:
    return make_log()


@pytest.fixture(scope="session")
def stated(log: Governed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_copy(tmp_path_factory.mktemp("stated"), log)
    keep_states(folder, log.chain.genesis)
    return folder
