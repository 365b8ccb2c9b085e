"""A real network: a node anchors its access log by itself, and a webhook gets what became final."""

import asyncio
import csv
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ledger.access.lines import parse_line
from ledger.blocks import RECORDS
from ledger.events import parse_event
from tests.e2e.network import ASKER, OWNER, Net
from tests.unit.tools.test_epochs import tally
from tools.exits import UNVERIFIED
from tools.mirror import mirror_log

pytestmark = pytest.mark.e2e

LINES = 100
TAKEN_S_MAX = 60
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@contextmanager
def receiver() -> Iterator[tuple[str, queue.Queue[dict[str, Any]]]]:
    """A receiver of webhooks: its URL and what it took."""
    taken: queue.Queue[dict[str, Any]] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def configure(folder: Path, url: str) -> None:
    """Anchor often, and call a receiver."""
    (folder / "hook.secret").write_text(SECRET)
    (folder / "hook.secret").chmod(0o600)
    (folder / "webhooks.toml").write_text(
        f'[[hook]]\nid = "cases"\nurl = "{url}"\nsecret_file = "hook.secret"\n'
        'kinds = ["share.requested", "access.logged"]\nfrom_height = 1\n'
    )
    text = (folder / "node.toml").read_text()
    assert "[access]" not in text
    more = f'[access]\nanchor_lines = {LINES}\n\n[webhooks]\nfile = "webhooks.toml"\n'
    (folder / "node.toml").write_text(f"{text}\n{more}")


def test_who_read_cannot_be_rewritten_later(tmp_path: Path) -> None:
    with receiver() as (url, taken):
        net = Net(tmp_path / "net")
        folder = net.local.directory / "nodes" / OWNER
        configure(folder, url)
        try:
            net.local.start()
            net.local.wait_ready()
            asked = net.submit_final(net.request(), ASKER)
            net.wait_height(OWNER, asked["height"])
            for _ in range(LINES):
                assert net.get(OWNER, f"/v1/entries/{asked['index']}").status == 200
            header = net.wait_block(ASKER, lambda header: has_anchor(net, header))
            # One is copied, the other is exported from.
            for member in (ASKER, OWNER):
                net.wait_checkpoint(member, header["tree_size"] + 2)
            mirror(net, tmp_path / "mirror")
            export(net, tmp_path / "records.csv")
            net.submit_final(net.request(), ASKER)
            events = [taken.get(timeout=TAKEN_S_MAX) for _ in range(3)]
            # One is delivered after the other: with the third, the first two are counted.
            status = net.get(OWNER, "/v1/status").body
        finally:
            net.local.stop()
        files = folder / "data" / "access"
        found = tally("audit", "access", files, "--mirror", tmp_path / "mirror", "--jobs", 1)
        assert (found["member"], found["faults"]) == (OWNER, [])
        assert found["anchored"] >= LINES
        assert_export_is_noted(files)
        (path,) = files.glob("*.jsonl")
        path.write_bytes(path.read_bytes().replace(b"127.0.0.1", b"127.0.0.9", 1))
        again = tally(
            "audit", "access", files, "--mirror", tmp_path / "mirror", "--jobs", 1,
            exit_code=UNVERIFIED,
        )  # fmt: skip
        assert [(fault["code"], fault["first"]) for fault in again["faults"]] == [
            ("line-rewritten", 1)
        ]
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["tallystick.share.requested.v1", "tallystick.access.logged.v1"]
    assert events[0]["id"] == asked["digest"]
    assert status["hooks"][0]["delivered"] >= 2


def has_anchor(net: Net, header: dict[str, Any]) -> bool:
    """Whether a block records an anchor of the owner's node."""
    first = header["tree_size"] + 1
    for index in range(first, first + header["record_count"]):
        data = bytes.fromhex(net.get(ASKER, f"/v1/entries/{index}").body["data"])
        event = parse_event(RECORDS.decode(data).event)
        if (event.kind, event.member) == ("access.logged", OWNER):
            return True
    return False


def export(net: Net, out: Path) -> None:
    """The records as a table, straight from the owner's node."""
    url, genesis = net.local.node(OWNER).api, net.local.genesis_path
    done = tally(
        "audit", "export", url, "--format", "csv", "--genesis", genesis, "--jobs", 1, "-o", out
    )
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == done["rows"] > 0
    assert {row["kind"] for row in rows} >= {"share.requested", "access.logged"}


def assert_export_is_noted(files: Path) -> None:
    """Nobody else fetched tiles from this node."""
    lines = [parse_line(data) for path in files.glob("*.jsonl") for data in _lines_of(path)]
    tiles = [line for line in lines if line.route == "readTile"]
    assert any(line.ids["path"].startswith("entries/") for line in tiles)
    assert {(line.address, line.status) for line in tiles} == {("127.0.0.1", 200)}
    assert {line.agent for line in tiles} == {"tallystick audit export"}
    assert "readCheckpoint" in {line.route for line in lines}


def _lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def mirror(net: Net, folder: Path) -> None:
    url = net.local.node(ASKER).api
    asyncio.run(mirror_log(url, folder, genesis=net.genesis, on_progress=lambda done, total: None))
