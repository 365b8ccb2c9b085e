"""GET /v1/diagnosis: findings in the language asked for, with the facts behind them."""

from pathlib import Path

from tests.unit.node.api.harness import ENGLISH, Served, run
from tests.unit.node.diagnosis.test_rules import HEALTHY, without_peers


def test_a_healthy_node_says_so(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json("/v1/diagnosis", headers=ENGLISH)
        assert (body["severity"], body["network"]) == ("ok", node.service.network.hex())
        assert [finding["code"] for finding in body["findings"]] == ["healthy"]
        facts = body["facts"]
        assert (facts["member"], facts["height"]) == (HEALTHY.member, HEALTHY.height)
        assert facts["view"]["validators"] == list(HEALTHY.view.validators)

    run(data_dir, story)


def test_causes_are_told_in_both_languages(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        node.service.seen = without_peers(2)
        for language, needle in (("en", "are needed"), ("zh", "需要 3 个")):
            headers = {"Accept-Language": language}
            async with node.client.get("/v1/diagnosis", headers=headers) as response:
                assert response.headers["Content-Language"] == language
                body = await response.json()
            assert body["severity"] == "fault"
            first = body["findings"][0]
            assert (first["code"], first["severity"]) == ("quorum-missing", "fault")
            assert needle in first["detail"]
            assert first["values"]["missing"] == "cn-2-tax, cn-3-tax"

    run(data_dir, story)


def test_a_query_that_the_route_does_not_know_is_refused(data_dir: Path) -> None:
    async def story(node: Served) -> None:
        body = await node.get_json("/v1/diagnosis?all=1", status=400)
        assert body["code"] == "parameter-invalid"

    run(data_dir, story)
