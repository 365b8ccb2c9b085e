"""Real four-node networks for tests, events for them, and plain HTTP towards their nodes."""

import http.client
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ledger.events import Body, Event, ShareDelivered, ShareRequested, sign_event
from ledger.genesis import Genesis, decode_genesis_json, hash_genesis
from ledger.keys import SecretKey, parse_secret_key
from ledger.tlog.tiles import ENTRIES_LEVEL, decode_entries, tile_paths
from tools.founding import read_source
from tools.localnet import Localnet, create_network, get_json, shipped_policy_set

MSGPACK = "application/msgpack"
JSON = "application/json"
HTTP_TIMEOUT_S = 40
BLOCK_TIMEOUT_S = 60
ASKER, OWNER = "cn-3301-tax", "cn-3302-tax"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a node answered; `body` is the JSON document, if it is one."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.data)


def wait_height(api: str, height: int) -> None:
    """Return when the node at a base URL has the block at `height`: its stream sends it then."""
    connection = http.client.HTTPConnection(api.removeprefix("http://"), timeout=HTTP_TIMEOUT_S)
    try:
        connection.request("GET", "/v1/stream", headers={"Last-Event-ID": str(height - 1)})
        response = connection.getresponse()
        while not (line := response.readline()).startswith(b"id: "):
            assert line, "the stream ended"
    finally:
        connection.close()


def wait_level(apis: Collection[str]) -> None:
    """Return when all these nodes have what the highest has: any of them may be asked next."""
    height = max(get_json(f"{api}/v1/status", timeout_s=10).document["height"] for api in apis)
    for api in apis if height else ():
        wait_height(api, height)


def wait_receipt(api: str, index: int) -> bytes:
    """Receipt of an entry that the node may not have yet, as soon as a quorum covers it."""
    connection = http.client.HTTPConnection(api.removeprefix("http://"), timeout=HTTP_TIMEOUT_S)
    try:
        connection.request("GET", f"/v1/entries/{index}/receipt?wait=20")
        response = connection.getresponse()
        data = response.read()
        assert response.status == http.client.OK, data
        return data
    finally:
        connection.close()


def wait_block(api: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Header of the first block for which `wanted` holds, from the stream of a node."""
    host = api.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=BLOCK_TIMEOUT_S)
    try:
        connection.request("GET", "/v1/stream", headers={"Last-Event-ID": "0"})
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data: "):
                index = json.loads(line[len(b"data: ") :])["first_index"] - 1
                entry = get_json(f"{api}/v1/entries/{index}", timeout_s=BLOCK_TIMEOUT_S)
                header: dict[str, Any] = entry.document["header"]
                if wanted(header):
                    return header
    finally:
        connection.close()
    raise AssertionError("the stream ended")


class Net:
    """A network on loopback and what tests do with it."""

    def __init__(self, directory: Path) -> None:
        create_network(directory, source=read_source(), nodes=4, policy_set=shipped_policy_set())
        self.local = Localnet(directory)
        self.genesis: Genesis = decode_genesis_json(self.local.genesis_path.read_bytes())
        self.id = hash_genesis(self.genesis)
        self.members = self.local.members

    def key(self, member: str, role: str) -> SecretKey:
        return parse_secret_key(self.local.officer_key_path(member, role).read_text())

    def sign(
        self,
        body: Body,
        *,
        member: str = ASKER,
        role: str = "requester",
        nonce: bytes | None = None,
        network: bytes | None = None,
        expires_height: int = 10_000,
        key: SecretKey | None = None,
    ) -> Event:
        return sign_event(
            key or self.key(member, role),
            network=network or self.id,
            member=member,
            nonce=nonce or os.urandom(16),
            expires_height=expires_height,
            body=body,
        )

    def request(self, asker: str = ASKER, owner: str = OWNER, **changed: Any) -> Event:
        """A request that the contracts permit at once; keywords lie about one field."""
        names = ("member", "role", "nonce", "network", "expires_height", "key")
        envelope = {name: changed.pop(name) for name in names if name in changed}
        body = msgspec.structs.replace(request_body(owner), **changed)
        return self.sign(body, **{"member": asker, **envelope})

    def deliver(self, exchange: bytes, owner: str = OWNER) -> Event:
        body = ShareDelivered(
            exchange=exchange,
            commitment=bytes(32),
            record_count=1,
            schema_version=1,
            quality_digest=bytes(32),
            size_bytes=100,
            outbox_until_ms=0,
        )
        return self.sign(body, member=owner, role="provider")

    def call(
        self, member: str, method: str, path: str, data: bytes = b"", **headers: str
    ) -> Answer:
        host = self.local.node(member).api.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=HTTP_TIMEOUT_S)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, data or None, {"Accept-Language": "en", **sent})
            response = connection.getresponse()
            return Answer(
                status=response.status, headers=dict(response.getheaders()), data=response.read()
            )
        finally:
            connection.close()

    def get(self, member: str, path: str) -> Answer:
        return self.call(member, "GET", path)

    def submit(self, event: Event | bytes, member: str = ASKER, *, wait_s: int = 20) -> Answer:
        data = event if isinstance(event, bytes) else event.data
        return self.call(
            member, "POST", "/v1/events", data, Content_Type=MSGPACK, Prefer=f"wait={wait_s}"
        )

    def submit_final(self, event: Event, member: str = ASKER) -> dict[str, Any]:
        answer = self.submit(event, member)
        assert answer.status == http.client.OK, answer.body
        assert answer.body["state"] == "final", answer.body
        return dict(answer.body)

    def submit_batch(
        self, events: list[Event], member: str = ASKER, *, wait_s: int = 20
    ) -> list[dict[str, Any]]:
        data = msgspec.msgpack.encode([event.data for event in events])
        answer = self.call(
            member, "POST", "/v1/events/batch", data, Content_Type=MSGPACK, Prefer=f"wait={wait_s}"
        )
        assert answer.status in (http.client.OK, http.client.ACCEPTED), answer.body
        return list(answer.body["results"])

    def status(self, member: str) -> dict[str, Any]:
        return dict(self.get(member, "/v1/status").body)

    def wait_height(self, member: str, height: int) -> None:
        """Return when the node has the block at `height`."""
        wait_height(self.local.node(member).api, height)

    def wait_block(self, member: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Header of the first block of a node for which `wanted` holds."""
        return wait_block(self.local.node(member).api, wanted)

    def wait_checkpoint(self, member: str, size: int) -> bytes:
        """Receipt of the last entry under `size`, as soon as a quorum covers it."""
        return wait_receipt(self.local.node(member).api, size - 1)

    def wait_level(self) -> None:
        """Return when all nodes have what the highest has."""
        wait_level([node.api for node in self.local.index.nodes])

    def entries(self, member: str) -> list[bytes]:
        """Exact bytes of every entry of a node."""
        entries: list[bytes] = []
        for tile in tile_paths(self.status(member)["tree_size"]):
            if tile.level == ENTRIES_LEVEL:
                data = self.get(member, f"/log/{tile.format()}").data
                entries += decode_entries(data, tile.width)
        return entries


def request_body(owner: str = OWNER) -> ShareRequested:
    """Body of a request that the contracts permit at once."""
    return ShareRequested(
        provider=owner,
        dataset="registration",
        purpose="assessment",
        legal_basis="tcal-6",
        fields=("uscc",),
        period_from="2026-01-01",
        period_to="2026-03-31",
        subjects=(os.urandom(32),),
        urgency="normal",
        retention_days=90,
        case="C-1",
    )


@contextmanager
def running(directory: Path) -> Iterator[Net]:
    """A network whose four nodes are ready; all are stopped at the end."""
    net = Net(directory)
    net.local.start()
    try:
        net.local.wait_ready()
        yield net
    finally:
        net.local.stop()


def flip_byte(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def log_files(folder: Path) -> list[Path]:
    """What makes the log: not the genesis and policy, which a reader has from elsewhere."""
    return [folder / "checkpoint", *sorted(p for p in (folder / "tile").rglob("*") if p.is_file())]
