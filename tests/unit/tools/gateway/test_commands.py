"""`tally gateway` against a real socket: what people see, and how errors reach them."""

import json
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner, Result

from node.gateway.jobs import ACTIVE, Answered, Stage
from tests.unit.node.gateway.office import job, kept, office
from tools.cli import main
from tools.commands.gateway.command import STAGES
from tools.exits import ERROR, NOT_FOUND, UNREACHABLE, USAGE
from tools.gateway import socket as sockets
from tools.words import LANGUAGES, catalogue

ONE, TWO = f"{1:064x}", f"{2:064x}"
FAR = f"abcdef{7:058x}"


def tally(*words: str, path: Path | None = None, lang: str = "en") -> Result:
    where = ["--socket", str(path)] if path is not None else []
    return CliRunner().invoke(main, ["gateway", *words, *where, "--lang", lang])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def error_of(result: Result) -> tuple[str, int]:
    return json.loads(result.stdout)["error"]["code"], result.exit_code


def test_stages_are_those_of_the_gateway_and_have_words() -> None:
    assert set(STAGES) == set(get_args(Stage))
    assert {stage for _, stage in ACTIVE} < set(STAGES)
    for language in LANGUAGES:
        words = catalogue(language)
        for stage in STAGES:
            assert words[f"job_word.{stage}"]
            assert words[f"job_stage.{stage}"]


def test_jobs_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    held = job(2, stage="held", resume="fetch", fault="work-memory", detail="Check")
    with office(tmp_path, [kept(1), held]) as path:
        shown = tally("jobs", path=path).stdout.strip().split("\n")
        assert len(shown) == 3
        assert "kept" in shown[1]
        assert shown[2].endswith("Work needs more memory than it may have")
        only = document(tally("jobs", "--stage", "held", "--json", path=path))
        assert [row["exchange"] for row in only["items"]] == [TWO]
        assert tally("jobs", "--stage", "fetch", path=path).stdout == "There are no exchanges.\n"
        text = tally("show", TWO, path=path).stdout
        assert "[work-memory]" in text
        assert "Raise [work] memory_mb" in text
        status = document(tally("status", "--json", path=path))
        assert {(row["stage"], row["count"]) for row in status["jobs"]} == {
            ("kept", 1),
            ("held", 1),
        }
        assert "Gateway of cn-3301-tax" in tally("status", path=path).stdout


def test_all_jobs_are_shown_however_many_pages_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "PAGE_ROWS", 3)
    with office(tmp_path, [job(number) for number in range(1, 8)]) as path:
        found = document(tally("jobs", "--json", path=path))["items"]
    assert [int(row["exchange"], 16) for row in found] == list(range(1, 8))


def test_an_exchange_is_found_by_its_first_digits(tmp_path: Path) -> None:
    with office(tmp_path, [job(1), job(2), job(int(FAR, 16))]) as path:
        assert document(tally("show", FAR[:6], "--json", path=path))["exchange"] == FAR
        assert document(tally("show", TWO, "--json", path=path))["exchange"] == TWO
        assert document(tally("show", ONE, "--json", path=path))["exchange"] == ONE
        ambiguous = tally("show", "000000", "--json", path=path)
        assert error_of(ambiguous) == ("exchange-ambiguous", ERROR)
        for digits in (FAR[:5], FAR + "0", FAR[:6].upper(), "xxxxxx", ""):
            assert error_of(tally("show", digits, "--json", path=path)) == (
                "exchange-digits",
                ERROR,
            )
        for digits in ("abcdee", "abcdf0", f"{3:064x}"):
            assert error_of(tally("show", digits, "--json", path=path)) == (
                "job-missing",
                NOT_FOUND,
            )


def test_what_is_held_goes_on(tmp_path: Path) -> None:
    held = job(1, stage="held", resume="open", fault="work-memory")
    with office(tmp_path, [held]) as path:
        assert "waits for delivery" in tally("retry", ONE, path=path).stdout
        refused = tally("retry", ONE, path=path)
        assert refused.exit_code == ERROR
        assert "Exchange does not wait for a person: open [job-not-held]" in refused.stderr
        assert "There is nothing to retry" in refused.stderr


def test_nothing_is_destroyed_without_a_yes(tmp_path: Path) -> None:
    folder = tmp_path / "received" / f"{ONE}.0"
    folder.mkdir(parents=True)
    with office(tmp_path, [kept(1)]) as path:
        asked = CliRunner().invoke(
            main, ["gateway", "destroy", ONE, "--socket", str(path), "--json"], input="n\n"
        )
        assert json.loads(asked.stdout)["error"]["code"] == "not-destroyed"
        assert folder.exists()
        assert document(tally("destroy", ONE, "--yes", "--json", path=path))["stage"] == "erase"
        sockets.GatewaySocket(path).get(f"/v1/jobs/acquire/{ONE}", stage="attest", wait="30")
        assert not folder.exists()
        again = tally("destroy", ONE, "--yes", "--json", path=path)
        assert error_of(again) == ("job-not-destroyable", ERROR)


def test_a_correction_is_of_what_was_delivered_here(tmp_path: Path) -> None:
    delivered = kept(1)
    sent = job(
        2, side="provide", stage="settled", payload=delivered.payload, wake_ms=delivered.wake_ms
    )
    line = ["--reason", "wrong-value", "--json"]
    with office(tmp_path, [delivered, sent]) as path:
        assert error_of(tally("correct", ONE, *line, path=path)) == ("job-unknown", NOT_FOUND)
        document(tally("correct", TWO, *line, path=path))
        told = sockets.GatewaySocket(path).get(f"/v1/jobs/provide/{TWO}")
        assert told["correction"] == 1


def test_a_status_message_is_written_once_and_exactly(tmp_path: Path) -> None:
    data = "<a>税</a>".encode("utf-16")
    output = tmp_path / "status.xml"
    told = job(1, stage="open", answered=Answered(correction=2, document=data))
    with office(tmp_path, [told, kept(2)]) as path:
        words = ("status-message", ONE, "-o", str(output))
        text = tally(*words, path=path).stdout
        assert text == f"Status message about delivery 2 of the exchange: {output}\n"
        assert output.read_bytes() == data
        assert output.stat().st_mode & 0o777 == 0o600
        assert error_of(tally(*words, "--json", path=path)) == ("file-exists", ERROR)
        result = tally("status-message", TWO, "-o", str(tmp_path / "x"), "--json", path=path)
        assert error_of(result) == ("status-message-unknown", NOT_FOUND)
        assert not (tmp_path / "x").exists()


def test_a_gateway_that_does_not_run_is_an_error_that_says_so(tmp_path: Path) -> None:
    result = tally("jobs", "--json", path=tmp_path / "none.sock")
    assert error_of(result) == ("gateway-unreachable", UNREACHABLE)
    result = CliRunner().invoke(
        main, ["gateway", "jobs", "--config", str(tmp_path / "none.toml"), "--json"]
    )
    assert error_of(result) == ("gateway-config", ERROR)


def test_init_wants_an_address(tmp_path: Path) -> None:
    line = [
        "init",
        str(tmp_path / "gate"),
        "--member",
        "m",
        "--genesis",
        "none",
        "--plain",
        "--json",
    ]
    for listen in ("7401", "host:", "host:0", "host:70000", ":7401"):
        assert error_of(tally(*line, "--listen", listen)) == ("listen-invalid", ERROR)


def test_a_request_is_kept_by_the_gateway_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "subjects").write_text("91\n")
    line = ["officer", "request", "--subjects", str(tmp_path / "subjects"), "--member", "m"]
    line += ["--to", "p", "--dataset", "d", "--purpose", "u", "--legal-basis", "l", "--field", "f"]
    line += ["--from", "2026-01-01", "--until", "2026-01-02", "--json"]
    line += ["--url", "http://127.0.0.1:1", "--genesis", "none", "--key", "none"]
    for more in ([], ["--blinds", "b", "--gateway", "g"]):
        result = CliRunner().invoke(main, [*line, *more])
        assert error_of(result) == ("request-keeper", USAGE)


# Trying the plug-ins.


def checked(tmp_path: Path, *plugs: str) -> Result:
    (tmp_path / "records").mkdir(exist_ok=True)
    config = tmp_path / "gateway.toml"
    head = '[gateway]\nmember = "m"\nlisten = "127.0.0.1:0"\n'
    config.write_text(head + "".join(plugs))
    return tally("check", "--config", str(config), "--json")


RECEIVER = '[receiver]\nname = "folder"\noptions = { path = "received" }\n'
FILING = '[datasets.filing]\nname = "%s"\n'
FOLDER = FILING % "folder" + 'options = { path = "%s", files = "a", format = "csv" }\n'


def test_plug_ins_that_can_work_are_fine(tmp_path: Path) -> None:
    found = document(checked(tmp_path, RECEIVER, FOLDER % "records"))["plugs"]
    assert [(row["table"], row["code"]) for row in found] == [
        ("receiver", ""),
        ("datasets.filing", ""),
    ]


@pytest.mark.parametrize(
    ("plug", "code"),
    [
        (FOLDER % "nowhere", "files-unreachable"),
        (FILING % "folder", "option-missing"),
        (FILING % "nonsense", "plugin-unknown"),
        ('[messages.account]\nschema = "none"\n', "xsd-manifest-missing"),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_said(plug: str, code: str, tmp_path: Path) -> None:
    result = checked(tmp_path, RECEIVER, plug)
    assert result.exit_code == ERROR
    [good, bad] = json.loads(result.stdout)["plugs"]
    assert (good["code"], bad["code"]) == ("", code)
    assert bad["title"]
    assert bad["advice"].endswith(".")


def test_a_wrong_configuration_is_an_error(tmp_path: Path) -> None:
    result = checked(tmp_path, "[work]\nprocesses = 0\n")
    assert error_of(result) == ("start-config-invalid", ERROR)
    [fault] = json.loads(result.stdout)["error"]["faults"]
    assert fault == {"code": "count-wanted", "line": 5, "setting": "[work] processes"}
    told = tally("check", "--config", str(tmp_path / "gateway.toml"), lang="zh").stderr
    assert told.startswith(f"错误：配置有误：{tmp_path / 'gateway.toml'} [start-config-invalid]\n")
    assert "第 5 行：[work] processes：须为 1 到 64 的整数\n改正指出的每一处" in told


def test_a_check_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    assert error_of(checked(tmp_path)) == ("gateway-check", ERROR)
