"""`tally audit mirror` as it is typed: addresses, and whom the copy believes."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger.genesis import hash_genesis
from tests.unit.ledger.test_verify_epochs import spanning
from tests.unit.tools.test_epochs import node_of
from tools.cli import main
from tools.exits import OK, USAGE


def mirror(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", "mirror", *map(str, arguments)])


@pytest.mark.parametrize(("language", "words"), [("en", "is no address"), ("zh", "不是网址")])
@pytest.mark.parametrize("url", ["copy", "127.0.0.1:7101", "ftp://node.example"])
def test_a_source_is_an_address(tmp_path: Path, url: str, language: str, words: str) -> None:
    done = mirror(url, tmp_path / "new", "--lang", language)
    assert (done.exit_code, f"{url} {words}" in done.output.replace("  ", " ")) == (USAGE, True)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("language", "words"), [("en", "No --genesis"), ("zh", "未指定 --genesis")]
)
def test_whom_a_copy_believes_is_said_where_nobody_said_it(
    tmp_path: Path, language: str, words: str
) -> None:
    chain, genesis = spanning(), tmp_path / "genesis.json"
    genesis.write_bytes(chain.copy()["genesis.json"])
    network = hash_genesis(chain.genesis).hex()
    with node_of(chain) as url:
        told = mirror(url, tmp_path / "copy", "--lang", language)
        assert (told.exit_code, words in told.stderr, network in told.stderr) == (OK, True, True)
        trusting = mirror(url, tmp_path / "copy", "--genesis", genesis, "--lang", language)
    assert (trusting.exit_code, words in trusting.stderr) == (OK, False)
