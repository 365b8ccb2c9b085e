"""A refusal is told in the language that is asked for, what was found too; its code is the same."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import builders
from tests.refusals import CHINESE
from tests.unit.node.api.harness import ENGLISH, MSGPACK, Served, run

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "code", "en", "zh"),
    [
        ("/v1/events/xyz", "parameter-invalid", "digest: 64 lower-case hex digits are required",
         "digest：须为 64 位小写十六进制数字"),
        ("/v1/members?limit=0", "parameter-invalid", "limit: a whole number from 1 to 1000",
         "limit：须为 1 到 1000 的整数"),
        ("/v1/status?x=1", "parameter-invalid", "x: unknown here, or given twice",
         "x：此处没有该参数，或给出了两次"),
        ("/v1/tasks?overdue=maybe", "parameter-invalid", "overdue: true or false",
         "overdue：须为 true 或 false"),
        ("/v1/tasks?at=soon", "parameter-invalid",
         "at: 2026-12-01, 2026-12-01T08:00Z or +30 days, not before the last block",
         "at：须写成 2026-12-01、2026-12-01T08:00Z 或 +30 days，且不早于最后区块"),
        ("/v1/tasks?member=A", "parameter-invalid", "member: the id of a member",
         "member：须为成员编号"),
        ("/v1/proposals?status=new", "parameter-invalid", "status: one of ", "status：须为 "),
        ("/v1/history/9", "parameter-invalid", "target: a kind, or kind/id, as in changes",
         "target：须为类别，或类别/编号，如 changes 中所示"),
        ("/v1/entries/999999", "entry-unknown", "the log has 0 entries", "日志有 0 个条目"),
        ("/v1/log/epochs/7", "epoch-open", "the epoch in force is 0", "现行纪元为 0"),
        ("/log/tile/0/x1", "tile-unknown", "not the path of a tile", "不是分块的路径"),
    ],
)  # fmt: skip
def test_a_refused_reading_is_told_in_both_languages(
    data_dir: Path, path: str, code: str, en: str, zh: str
) -> None:
    async def story(node: Served) -> None:
        for headers, text in ((ENGLISH, en), ({"Accept-Language": "zh-CN"}, zh), ({}, zh)):
            async with node.client.get(path, headers=headers) as response:
                body = await response.json(content_type=None)
            assert body["code"] == code
            assert body["detail"].startswith(text)
            assert response.headers["Content-Language"] == ("en" if text == en else "zh")

    run(data_dir, story)


@pytest.mark.parametrize(
    ("path", "headers", "data", "en"),
    [
        ("/v1/events", JSON, b'{"event": 1}', "Expected `bytes`, got `int` - at `$.event`"),
        ("/v1/events", JSON, b'{"event"', "Input data was truncated"),
        ("/v1/events", JSON, b"{}", "Object missing required field `event`"),
        ("/v1/events/batch", MSGPACK, b"\x81", "Expected `array`, got `object`"),
        ("/v1/events/batch", JSON, b'{"events": [' + b'"AA==",' * 1_001 + b'"AA=="]}',
         "1002 events, at most 1000 are allowed"),
        ("/v1/events", {**MSGPACK, "Content-Encoding": "gzip"}, b"", "Content-Encoding: only iden"),
        ("/v1/events", MSGPACK, b"\x80" * 200_000, "at most 131072 bytes are allowed"),
        ("/v1/events", MSGPACK, builders.request(network=bytes(32)).data, "signed for network 00"),
        ("/v1/events", MSGPACK, builders.request(expires_height=0).data, "expired at height 0, "),
        ("/v1/validators/preview", JSON, b'{"actions": []}', "0 actions, 1 to "),
        ("/v1/proposals/preview", JSON, b"[]", "Expected `object`, got `array`"),
    ],
)  # fmt: skip
def test_a_refused_writing_is_told_in_both_languages(
    data_dir: Path, path: str, headers: dict[str, str], data: bytes, en: str
) -> None:
    async def ask(node: Served, language: dict[str, str]) -> Any:
        sent = {**headers, **language}
        async with node.client.post(path, data=data, headers=sent) as response:
            return await response.json(content_type=None)

    async def story(node: Served) -> None:
        english, chinese = await ask(node, ENGLISH), await ask(node, {})
        assert english["detail"].startswith(en)
        assert CHINESE.search(chinese["detail"]), chinese["detail"]
        assert english["code"] == chinese["code"]

    run(data_dir, story)


def test_each_answer_of_a_batch_is_told_in_both_languages(data_dir: Path) -> None:
    events = msgspec.msgpack.encode([builders.request(expires_height=0).data])

    async def story(node: Served) -> None:
        for headers, text in (
            (ENGLISH, "expired at height 0, now"),
            ({}, "已在高度 0 过期，现在为"),
        ):
            sent = {**MSGPACK, **headers}
            async with node.client.post("/v1/events/batch", data=events, headers=sent) as response:
                (result,) = (await response.json())["results"]
            assert result["code"] == "event-expired"
            assert result["detail"].startswith(text)

    run(data_dir, story)
