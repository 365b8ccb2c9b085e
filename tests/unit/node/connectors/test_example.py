"""The plug-in of the READMEs, word for word: installed, loaded by its name, and read."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from node.connectors.errors import ConnectorFailed, InvalidOptions
from node.connectors.registry import load_connector, load_receiver
from node.gateway.config import read_gateway_config
from tests.test_docs import READMES, Language
from tests.unit.node.connectors.asks import BUYER, OTHER, SELLER, ask, clean
from tests.unit.node.connectors.service import private

EXAMPLE = re.compile(r"^```toml\n(\[datasets\.invoice\]\n.*?)^```", re.DOTALL | re.MULTILINE)
SECTION = re.compile(r"<!-- generated: connectors -->(.*?)^### ", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_configuration_of_the_readme(language: Language, tmp_path: Path) -> None:
    """A gateway reads it, and every connector and the receiver can be made as it says."""
    pytest.importorskip("sqlalchemy", reason="the extra sql is not installed")
    example = EXAMPLE.search(READMES[language].read_text("utf-8"))
    assert example
    file = tmp_path / "gateway.toml"
    file.write_text(f'[gateway]\nmember = "cn-3302-tax"\nlisten = "127.0.0.1:0"\n{example[1]}')
    private(tmp_path / "database.url", "sqlite://")
    (tmp_path / "accounts.sql").write_text("SELECT 1 AS number")
    config = read_gateway_config(file)
    assert set(config.connectors) == {"invoice", "account"}
    for plug in config.connectors.values():
        load_connector(plug.name, plug.options, tmp_path)
    load_receiver(config.receiver.name, config.receiver.options, tmp_path).check()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_plug_in_of_the_readme(
    language: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = SECTION.search(READMES[language].read_text("utf-8"))
    assert section
    (source,) = re.findall(r"^```python\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)
    (metadata,) = re.findall(r"^```toml\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)
    (group, points), *_ = tomllib.loads(metadata)["project"]["entry-points"].items()
    (name, value), *_ = points.items()
    info = tmp_path / "fixed_width-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fixed-width\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (tmp_path / f"{value.split(':')[0]}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, value.split(":")[0], raising=False)

    with pytest.raises(InvalidOptions):
        load_connector(name, {"pth": "export.txt"}, tmp_path)
    connector = load_connector(name, {"path": "export.txt"}, tmp_path)
    with pytest.raises(ConnectorFailed) as caught:
        connector.check()
    assert caught.value.retry
    days = ("2026-07-03", "2026-07-04", "2025-12-31")
    rows = zip((1, 2, 3), (SELLER, OTHER, SELLER), days, strict=True)
    lines = (f"{number:020}{seller}{day}{number * 100:012}\n" for number, seller, day in rows)
    (tmp_path / "export.txt").write_text("".join(lines))
    for subjects, wanted in (((), [100, 200]), ((OTHER,), [200]), ((BUYER,), [])):
        records, _ = clean(connector.read(ask(*subjects)))
        assert [record["amount-fen"] for record in records] == wanted
    connector.close()
