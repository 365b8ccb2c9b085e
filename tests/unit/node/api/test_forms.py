"""JSON answers as MessagePack: equal values on every route, JSON for whoever does not prefer it."""

from pathlib import Path

import msgspec
import pytest

from node.api.context import JSON, MSGPACK, prefers_msgpack
from node.api.openapi import build_document
from node.api.routes import ROUTES
from tests.builders import ASKER, request
from tests.unit.node.api.harness import Served, run

ASKED = {"Accept": MSGPACK, "Accept-Language": "en"}
EVENT = request()
IN_PATH = {
    "{index}": "1",
    "{digest}": EVENT.digest.hex(),
    "{exchange}": EVENT.digest.hex(),
    "{member}": ASKER,
    "{nonce}": EVENT.nonce.hex(),
    "{target}": "dataset/account",
}
# What these name does not exist on a fresh network, or changes between two answers.
ELSEWHERE = {"readProposal", "readIncident", "readDiagnosis", "readStatus"}


def json_paths() -> list[str]:
    """Paths of all routes that answer a GET in JSON."""
    paths = []
    for route in ROUTES:
        answer = route.answers.get(200)
        is_json = answer is not None and answer.content_type == JSON
        if route.method == "GET" and is_json and route.name not in ELSEWHERE:
            path = route.template
            for name, value in IN_PATH.items():
                path = path.replace(name, value)
            paths.append(path)
    return paths


def test_both_forms_of_every_route_hold_equal_values(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        await node.submit(EVENT.data)
        for path in json_paths():
            assert "{" not in path
            known = await node.get_json(path)
            async with node.client.get(path, headers=ASKED) as response:
                assert (response.status, response.content_type) == (200, MSGPACK), path
                assert msgspec.msgpack.decode(await response.read()) == known, path
                assert response.headers["Vary"] == "Accept"

    assert len(json_paths()) > 20
    run(tmp_path, story)


def test_problems_stay_json(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        async with node.client.get("/v1/entries/x", headers=ASKED) as response:
            assert response.content_type == "application/problem+json"
            assert (await response.json(content_type=None))["code"] == "parameter-invalid"

    run(tmp_path, story)


def test_answers_to_a_submission_come_in_the_form_asked_for(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        headers = {**ASKED, "Content-Type": MSGPACK, "Prefer": "wait=5"}
        async with node.client.post("/v1/events", data=EVENT.data, headers=headers) as response:
            assert msgspec.msgpack.decode(await response.read())["state"] == "final"

    run(tmp_path, story)


def test_a_tag_is_good_for_both_forms(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        async with node.client.get("/v1/genesis", headers=ASKED) as response:
            tag = response.headers["ETag"]
        assert tag.startswith('W/"')
        async with node.client.get("/v1/genesis", headers={"If-None-Match": tag}) as response:
            assert (response.status, response.headers["Vary"]) == (304, "Accept")

    run(tmp_path, story)


def test_other_answers_are_left_alone(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        await node.submit(EVENT.data)
        async with node.client.get("/log/tile/0/000.p/1", headers=ASKED) as response:
            assert response.content_type == "application/octet-stream"
        async with node.client.head("/v1/network", headers=ASKED) as response:
            assert (response.status, response.content_type) == (200, MSGPACK)

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("accept", "is_preferred"),
    [
        ("application/msgpack", True),
        ("Application/MsgPack;q=0.5, */*;q=0.1", True),
        ("application/json, application/msgpack", True),
        ("application/json;q=0.5, application/msgpack;q=0.6", True),
        ("application/json, application/msgpack;q=0.9", False),
        ("application/msgpack;q=0", False),
        ("application/msgpack;q=x", False),
        ("application/msgpack;q=1.5555", False),
        ("*/*", False),
        ("", False),
        (",;q=1,;;", False),
        ("a," * 1_000 + "application/msgpack", False),
    ],
)
def test_the_form_that_is_preferred(accept: str, is_preferred: bool) -> None:
    assert prefers_msgpack(accept) is is_preferred


def test_the_document_names_both_forms() -> None:
    document = build_document(ROUTES, version="1")
    content = document["paths"]["/v1/network"]["get"]["responses"]["200"]["content"]
    assert list(content) == [JSON, MSGPACK]
    assert content[JSON] == content[MSGPACK]
