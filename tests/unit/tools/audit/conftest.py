"""What tests only read, made once: a log with a state file at every height, a mirror archived."""

import os
import shutil
from pathlib import Path

import pytest

from tests.unit.contracts.test_replay_epochs import Governed
from tests.unit.tools.audit import quarter
from tests.unit.tools.audit.archived import archived, lay_mirror
from tests.unit.tools.audit.copies import keep_states, make_log, write_copy


@pytest.fixture(scope="session")
def log() -> Governed:
    return make_log()


@pytest.fixture(scope="session")
def stated(log: Governed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_copy(tmp_path_factory.mktemp("stated"), log)
    keep_states(folder, log.chain.genesis)
    return folder


@pytest.fixture(scope="session")
def stated_quarter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log in which everything happens, with a state file at every height."""
    folder = quarter.write(tmp_path_factory.mktemp("quarter"))
    keep_states(folder, quarter.GENESIS)
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mirror` of two full segments and some more, and its `archive`."""
    folder = tmp_path_factory.mktemp("archived")
    mirror = lay_mirror(folder / "mirror")
    assert archived(mirror, folder / "archive").written == 2
    return folder


@pytest.fixture
def mirror(made: Path, tmp_path: Path) -> Path:
    """A mirror whose files may be removed or replaced, not written into."""
    return Path(shutil.copytree(made / "mirror", tmp_path / "mirror", copy_function=os.link))


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "archive", tmp_path / "archive"))
