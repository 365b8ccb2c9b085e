"""Reading the log, exchanges, registry and tiles over HTTP."""

import asyncio
import base64
from pathlib import Path

import msgspec
import pytest

from contracts.engine import hash_policy_set
from ledger.blocks import Record, decode_entry
from ledger.exchange.matters import DEFAULT_DEADLINES
from ledger.genesis import encode_genesis_json
from ledger.quorum.founding import decode_signatures, verify_founders
from ledger.tlog.merkle import hash_leaf
from ledger.tlog.receipt import Receipt
from ledger.tlog.tiles import tile_paths
from tests import builders
from tests.registers import code_list, record_schema, sunset
from tests.unit.node.api.harness import ENGLISH, MSGPACK, Served, run


async def submit_many(node: Served, count: int) -> list[bytes]:
    events = [builders.request(label=f"{number}") for number in range(count)]
    async with node.client.post(
        "/v1/events/batch",
        data=msgspec.msgpack.encode([event.data for event in events]),
        headers={**MSGPACK, "Prefer": "wait=10"},
    ) as response:
        assert response.status == 200
    return [event.digest for event in events]


def test_entries_are_decoded_with_their_exact_bytes(data_dir: Path) -> None:
    event = builders.request()

    async def story(node: Served) -> None:
        await node.submit(event.data)
        header = await node.get_json("/v1/entries/0")
        assert (header["kind"], header["header"]["height"], header["event"]) == ("header", 1, None)
        record = await node.get_json("/v1/entries/1")
        assert record["event"]["digest"] == event.digest.hex()
        assert record["event"]["body"]["subjects"] == [builders.hash32("subject 0").hex()]
        data = bytes.fromhex(record["data"])
        entry = decode_entry(data)
        assert isinstance(entry, Record)
        assert entry.event == event.data
        assert record["leaf_hash"] == hash_leaf(data).hex()
        tag = {"If-None-Match": f'"{record["leaf_hash"]}"'}
        async with node.client.get("/v1/entries/1", headers=tag) as response:
            assert (response.status, await response.read()) == (304, b"")

    run(data_dir, story)


def test_a_receipt_waits_for_the_checkpoint(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await node.submit(builders.request().data)
        problem = await node.get_json("/v1/entries/1/receipt", status=503)
        assert problem["code"] == "receipt-not-yet"
        assert (await node.get_json("/log/checkpoint", status=503))["code"] == "checkpoint-not-yet"
        node.service.sign_checkpoint()
        async with node.client.get("/v1/entries/1/receipt?wait=5") as response:
            assert response.content_type == "text/plain"
            receipt = Receipt.parse(await response.read())
        assert receipt.index == 1
        async with node.client.get("/log/checkpoint") as response:
            assert response.headers["Cache-Control"] == "no-cache"
            assert await response.read() == receipt.note.format()

    run(data_dir, story)


def test_a_receipt_waits_for_an_entry_that_another_node_had_first(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(node: Served) -> None:
        path = "/v1/entries/1/receipt"
        assert (await node.get_json(path, status=404))["code"] == "entry-unknown"
        is_waiting, wait_receipt = asyncio.Event(), node.service.wait_receipt

        async def waited(index: int, timeout_s: float) -> bytes | None:
            is_waiting.set()
            return await wait_receipt(index, timeout_s)

        async def ask() -> bytes:
            async with node.client.get(f"{path}?wait=30") as response:
                assert response.status == 200
                return await response.read()

        monkeypatch.setattr(node.service, "wait_receipt", waited)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(ask())
            await is_waiting.wait()
            await node.submit(builders.request().data)
            node.service.sign_checkpoint()
        assert Receipt.parse(asked.result()).index == 1
        problem = await node.get_json("/v1/entries/99/receipt?wait=1", status=404)
        assert problem["code"] == "entry-unknown"

    run(data_dir, story)


def test_every_tile_is_served_and_immutable(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        await submit_many(node, 300)
        paths = [tile.format() for tile in tile_paths(node.service.tree_size())]
        assert len(paths) >= 4
        for path in paths:
            async with node.client.get(f"/log/{path}") as response:
                assert response.status == 200, path
                assert response.content_type == "application/octet-stream"
                assert "immutable" in response.headers["Cache-Control"]
                assert await response.read() == node.service.tile(path)
        for path in ("tile/9/000", "tile/0/00", "tile/0/000.p/256", "tile/x", "tile/0/+01"):
            assert (await node.get_json(f"/log/{path}", status=404))["code"] == "tile-unknown"

    run(data_dir, story)


def test_an_exchange_shows_its_state_and_history(data_dir: Path) -> None:
    asked = builders.reviewed_request()

    async def story(node: Served) -> None:
        await node.submit(asked.data)
        await node.submit(builders.approve(asked).data)
        body = await node.get_json(f"/v1/requests/{asked.digest.hex()}")
        assert body["state"]["status"] == "permitted"
        assert body["state"]["requested_by"].startswith("ed25519:")
        kinds = [record["event"]["kind"] for record in body["history"]]
        assert kinds == ["share.requested", "share.approved"]
        assert [record["index"] for record in body["history"]] == [1, 3]
        problem = await node.get_json("/v1/requests/" + "0" * 64, status=404)
        assert problem["code"] == "exchange-unknown"

    run(data_dir, story)


def test_requests_are_listed_in_pages_by_member_and_status(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        digests = await submit_many(node, 25)
        await node.submit(builders.request(legal_basis="ended").data)
        seen: list[str] = []
        cursor = ""
        while True:
            page = await node.get_json(f"/v1/requests?status=permitted&limit=10{cursor}")
            assert len(page["items"]) <= 10
            seen += [item["exchange"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == sorted(digest.hex() for digest in digests)
        denied = await node.get_json(f"/v1/requests?status=denied&member={builders.OWNER}")
        assert len(denied["items"]) == 1
        assert (await node.get_json("/v1/requests?member=de-tax"))["items"] == []
        foreign = base64.urlsafe_b64encode(b"m/cn").decode()
        for query in (f"cursor={foreign}", "cursor=***", "cursor=%C3%A9"):
            problem = await node.get_json(f"/v1/requests?{query}", status=400)
            assert problem["code"] == "cursor-invalid"

    run(data_dir, story)


@pytest.mark.parametrize(
    ("path", "count", "key"),
    [
        ("members", 5, "id"),
        ("officers", len(builders.genesis().officers), "key"),
        ("datasets", 4, "id"),
        ("legal-bases", 5, "id"),
        ("purposes", 7, "id"),
    ],
)
def test_registry_lists_and_their_pages(data_dir: Path, path: str, count: int, key: str) -> None:
    async def story(node: Served) -> None:
        whole = await node.get_json(f"/v1/{path}")
        assert len(whole["items"]) == count
        assert whole["next"] is None
        ids = [item[key] for item in whole["items"]]
        assert ids == sorted(ids)
        first = await node.get_json(f"/v1/{path}?limit=2")
        second = await node.get_json(f"/v1/{path}?limit=2&cursor={first['next']}")
        assert first["items"] + second["items"] == whole["items"][:4]
        for limit in ("0", "1001", "x", "-1"):
            await node.get_json(f"/v1/{path}?limit={limit}", status=400)

    run(data_dir, story)


def test_registers_filled_by_vote(data_dir: Path) -> None:
    """Record schemas in all versions, code lists, ends; what ended is refused by its code."""

    async def story(node: Served) -> None:
        first = builders.carried(
            record_schema(),
            code_list(),
            sunset("purpose/assessment", "2026-01-01"),
            activate_height=0,
        )
        second = builders.carried(record_schema(version=2), activate_height=0)
        for event in (*first, *second):
            await node.submit(event.data)
        schemas = (await node.get_json("/v1/record-schemas"))["items"]
        assert [(each["dataset"], each["version"]) for each in schemas] == [
            ("account", 1),
            ("account", 2),
        ]
        (listed,) = (await node.get_json("/v1/code-lists"))["items"]
        assert [each["code"] for each in listed["codes"]] == ["CNY", "EUR"]
        (ending,) = (await node.get_json("/v1/sunsets"))["items"]
        assert ending == {
            "target": "purpose/assessment",
            "date": "2026-01-01",
            "proposal": first[0].digest.hex(),
            "ended": True,
        }
        refused = await node.submit(builders.request(label="late").data, status=422)
        assert (refused["code"], refused["title"]) == ("purpose-ended", "Purpose out of force")
        for target in ("sunset/purpose/assessment", "record-schema/account", "code-list/iso-4217"):
            history = await node.get_json(f"/v1/history/{target}")
            assert history["revisions"], target
        await node.get_json("/v1/sunsets?x=1", status=400)

    run(data_dir, story)


def test_contracts_network_and_genesis(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        genesis = node.service.genesis
        contracts = await node.get_json("/v1/contracts")
        assert contracts["hash"] == hash_policy_set(genesis.policy_set).hex()
        assert len(contracts["contracts"]) == len(genesis.policy_set.contracts)
        network = await node.get_json("/v1/network")
        assert network["network"] == node.service.network.hex()
        assert network["parameters"]["delta_ms"] == 200
        assert network["deadlines"] == msgspec.to_builtins(DEFAULT_DEADLINES)
        assert len(network["validators"]) == 4
        async with node.client.get("/v1/genesis/signatures") as response:
            verify_founders(genesis, decode_signatures(await response.read()))
        problem = await node.get_json("/v1/genesis/signatures?of=x", status=400)
        assert problem["code"] == "parameter-invalid"
        async with node.client.get("/v1/genesis") as response:
            assert await response.read() == encode_genesis_json(genesis)
            tag = response.headers["ETag"]
            assert "immutable" in response.headers["Cache-Control"]
        async with node.client.get("/v1/genesis", headers={"If-None-Match": tag}) as response:
            assert response.status == 304

    run(data_dir, story)


@pytest.mark.parametrize("index", ["-1", "+1", "01", "1e3", "x", "9" * 30])
def test_an_index_is_a_plain_number(data_dir: Path, index: str) -> None:
    async def story(node: Served) -> None:
        problem = await node.get_json(f"/v1/entries/{index}", status=400, headers=ENGLISH)
        assert problem["code"] == "parameter-invalid"

    run(data_dir, story)


def test_an_entry_beyond_the_log_is_unknown(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        problem = await node.get_json("/v1/entries/0", status=404)
        assert problem["code"] == "entry-unknown"

    run(data_dir, story)
