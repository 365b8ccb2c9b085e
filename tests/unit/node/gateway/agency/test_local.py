"""The socket for people: jobs in words, and what a person may have done with one."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from node.gateway.jobs import change
from tests.unit.node.gateway.office import job, kept, office


def call(path: Path, method: str, route: str, *, language: str = "en") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("gateway", timeout=40)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(path))
    try:
        connection.request(method, route, headers={"Accept-Language": language})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def exchange_of(number: int) -> str:
    return f"{number:064x}"


def test_a_held_job_says_in_words_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    held = job(1, stage="held", resume="fetch", fault="work-memory", detail="Check")
    with office(tmp_path, [held, job(2)]) as path:
        for language, title in (("en", "Work needs more memory"), ("zh", "所需内存超过上限")):
            code, page = call(path, "GET", "/v1/jobs?stage=held", language=language)
            assert code == 200
            [row] = page["items"]
            assert row["fault"] == "work-memory"
            assert row["title"].startswith(title)
            assert row["detail"] == "Check"
            assert "[work] memory_mb" in row["advice"]
        code, row = call(path, "GET", f"/v1/jobs/acquire/{exchange_of(2)}")
        assert (row["fault"], row["title"], row["advice"]) == ("", "", "")


def test_what_is_kept_is_destroyed_before_its_time(tmp_path: Path) -> None:
    folder = tmp_path / "received" / f"{exchange_of(1)}.0"
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("{}\n")
    with office(tmp_path, [kept(1, question=b"sealed", asked=b"sealed")]) as path:
        code, row = call(path, "POST", f"/v1/jobs/acquire/{exchange_of(1)}/destroy")
        assert (code, row["stage"]) == (200, "erase")
        # The gateway goes on by itself: what the receiver has is gone, then the ledger hears of it.
        route = f"/v1/jobs/acquire/{exchange_of(1)}?stage=attest&wait=30"
        code, row = call(path, "GET", route)
        assert (code, row["stage"]) == (200, "attest")
        assert not folder.exists()
        code, told = call(path, "GET", f"/v1/jobs/acquire/{exchange_of(1)}/subjects")
        assert (code, told["code"]) == (404, "question-unknown")


def test_what_was_received_is_destroyed_also_where_a_correction_is_held(tmp_path: Path) -> None:
    jammed = change(
        kept(1), stage="held", resume="fetch", fault="payload-expired", held=bytes(range(32))
    )
    route = f"/v1/jobs/acquire/{exchange_of(1)}"
    with office(tmp_path, [jammed]) as path:
        code, row = call(path, "POST", f"{route}/destroy")
        assert (code, row["stage"], row["fault"]) == (200, "erase", "")
        assert call(path, "GET", f"{route}?stage=attest&wait=30")[1]["stage"] == "attest"


@pytest.mark.parametrize("stage", ["open", "fetch", "held", "erase", "closed"])
def test_what_is_not_kept_is_not_destroyed(stage: str, tmp_path: Path) -> None:
    # It pauses, so that no step changes the stage meanwhile.
    with office(tmp_path, [job(1, stage=stage, wake_ms=kept(1).wake_ms)]) as path:
        code, told = call(path, "POST", f"/v1/jobs/acquire/{exchange_of(1)}/destroy")
        assert (code, told["code"], told["detail"]) == (422, "job-not-destroyable", stage)
        assert told["title"] == "Exchange has nothing received to destroy"


def test_a_provider_has_nothing_to_destroy(tmp_path: Path) -> None:
    with office(tmp_path, [job(1, side="provide", stage="settled")]) as path:
        code, told = call(path, "POST", f"/v1/jobs/acquire/{exchange_of(1)}/destroy")
        assert (code, told["code"]) == (404, "job-unknown")


@pytest.mark.parametrize(
    ("method", "route", "code"),
    [
        ("GET", "/v1/jobs?limit=0", "parameter-invalid"),
        ("GET", "/v1/jobs/acquire/ab", "exchange-invalid"),
        ("GET", f"/v1/jobs/neither/{exchange_of(1)}", "job-unknown"),
        ("POST", f"/v1/jobs/acquire/{exchange_of(1)}/retry", "job-not-held"),
        ("POST", "/v1/requests", "body-malformed"),
    ],
)
def test_a_refusal_has_words(method: str, route: str, code: str, tmp_path: Path) -> None:
    with office(tmp_path, [kept(1)]) as path:
        status, told = call(path, method, route)
    assert status in (404, 422)
    assert told["code"] == code
    assert told["title"]
    assert told["advice"].endswith(".")
