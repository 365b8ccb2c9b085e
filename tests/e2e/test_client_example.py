"""The Python example of both READMEs, word for word, against a real network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.network import ASKER, OWNER, Net, running

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def example(readme: str) -> str:
    codes: list[str] = EXAMPLE.findall((ROOT / readme).read_text("utf-8"))
    (code,) = (code for code in codes if "from tools.client import Client" in code)
    return code


def run(net: Net, readme: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", example(readme), *arguments],
        cwd=net.local.directory.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_example_asks_and_proves(tmp_path: Path) -> None:
    with running(tmp_path / "localnet") as net:
        url = net.local.node(ASKER).api
        for readme in ("README.md", "README.zh-CN.md"):
            done = run(net, readme, url, ASKER, OWNER)
            assert done.returncode == 0, done.stderr
            first, second = done.stdout.split("\n")[:-1]
            index, kind, decision = first.split()
            assert (kind, decision) == ("share.requested", "permit")
            assert second.split() == [index, ASKER]
        refused = run(net, "README.md", url, ASKER, "de-none")
        assert (refused.returncode, refused.stdout) == (1, "")
    gone = run(net, "README.md", url, ASKER, OWNER)
    assert gone.stderr.startswith("unreachable: ")
