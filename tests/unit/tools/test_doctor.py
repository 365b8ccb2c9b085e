"""`tally doctor`: nodes side by side, nodes that do not answer, exit codes and words."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tools.cli import main
from tools.commands import doctor
from tools.doctor import visit as visiting
from tools.doctor.compare import compare, count_quorum, place_anchors
from tools.doctor.report import (
    Entry,
    Finding,
    NodeFacts,
    PeerView,
    Report,
    Severity,
    Software,
    ViewState,
    Visit,
    clean,
    make_finding,
)
from tools.doctor.visit import Target, visit_all
from tools.exits import ERROR, OK, UNREACHABLE, USAGE, WARNING
from tools.output import run
from tools.words import LANGUAGES, catalogue

A, B, C, D = MEMBERS = ("cn-1-tax", "cn-2-tax", "cn-3-tax", "cn-4-tax")
NOW_MS = 1_800_000_000_000


VIEW = ViewState(
    epoch=0,
    view=103,
    leader=B,
    quorum=3,
    validators=MEMBERS,
    final_view=102,
    certified="finalize",
    certified_view=102,
)


def make_report(member: str, **changed: Any) -> Report:
    hears = changed.pop("hears", MEMBERS)
    view = {name: changed.pop(name) for name in ("epoch", "view", "certified") if name in changed}
    network = changed.pop("network", "11" * 32)
    findings = changed.pop("findings", ())
    facts = NodeFacts(
        member=member,
        standing="validator",
        wall_ms=NOW_MS,
        height=100,
        block_hash="aa" * 32,
        header_index=500,
        stalled_ms=0,
        precision_ms=500,
        software=Software(version="1.0.0", engine="cedar-4"),
        view=msgspec.structs.replace(VIEW, **view),
        peers=tuple(
            PeerView(
                member=other,
                is_validator=True,
                is_connected=True,
                silent_ms=300 if other in hears else 60_000,
                final_height=100,
                address=f"{other}:7000",
            )
            for other in MEMBERS
            if other != member
        ),
    )
    facts = msgspec.structs.replace(facts, **changed)
    return Report(network=network, findings=findings, facts=facts)


def answered(member: str, **changed: Any) -> Visit:
    anchors = changed.pop("anchors", {})
    return Visit(
        member=member,
        url=f"http://{member}",
        report=make_report(member, **changed),
        clock_ms=NOW_MS,
        delay_ms=5,
        anchors=anchors,
    )


def down(member: str) -> Visit:
    finding = make_finding("process-down", Severity.FAULT, member, member=member)
    return Visit(member=member, url=f"http://{member}", findings=(finding,))


def healthy(**of: dict[str, Any]) -> list[Visit]:
    """Four nodes that agree; keywords a, b, c, d change one."""
    named = zip("abcd", MEMBERS, strict=True)
    return [answered(member, **of.get(letter, {})) for letter, member in named]


DISK = Finding(code="disk-low", severity="warning", title="t", detail="d", advice="a")
OTHER_HASH = {"block_hash": "bb" * 32}
LOWER = {"height": 95, "header_index": 450}
HERE, THERE = Entry(height=95, leaf_hash="01"), Entry(height=95, leaf_hash="02")
Case = tuple[str, Severity, list[Visit], str]
OK_, WARN, FAULT = Severity.OK, Severity.WARNING, Severity.FAULT
CASES: list[Case] = [
    ("network-healthy", OK_, healthy(), "4 nodes"),
    ("networks-differ", FAULT, healthy(b={"network": "22" * 32}), B),
    ("fork", FAULT, healthy(c=OTHER_HASH), "height 100"),
    (
        "fork",
        FAULT,
        [answered(A, **LOWER, anchors={450: HERE}), answered(B, anchors={450: THERE})],
        "height 95",
    ),
    (
        "no-quorum",
        FAULT,
        [answered(A, hears=(B,)), answered(B, hears=(A,)), down(C), down(D)],
        f"Start 1 of: {C}, {D}",
    ),
    ("no-quorum", FAULT, [down(member) for member in MEMBERS], "0 of 4"),
    ("no-quorum", FAULT, [answered(A, hears=())], f"{B}, {C}, {D}"),
    (
        "partition",
        FAULT,
        healthy(a={"hears": (B,)}, b={"hears": (A,)}, c={"hears": (D,)}, d={"hears": (C,)}),
        f"{A}, {B} | {C}, {D}",
    ),
    (
        "partition",
        WARN,
        healthy(a={"hears": ()}, b={"hears": (C, D)}, c={"hears": (B, D)}, d={"hears": (B, C)}),
        f"{B}, {C}, {D} | {A}",
    ),
    ("one-way", WARN, healthy(a={"hears": (B, C)}), f"{A}:7000"),
    ("heights-differ", WARN, healthy(a={"height": 80, "header_index": 400}), f"{A} 80"),
    ("epochs-differ", WARN, healthy(a={"epoch": 1, "view": 2}), f"{A} 1/2"),
    ("views-differ", WARN, healthy(a={"view": 110}), f"{A} 0/110"),
    (
        "certificates-split",
        WARN,
        healthy(a={"stalled_ms": 20_000, "certified": "nullify"}),
        f"{A} nullify 102",
    ),
    (
        "engines-differ",
        FAULT,
        healthy(d={"software": Software(version="1.0.0", engine="cedar-5")}),
        f"{D} cedar-5",
    ),
    (
        "versions-differ",
        WARN,
        healthy(d={"software": Software(version="1.1.0", engine="cedar-4")}),
        f"{D} 1.1.0",
    ),
    ("clock-differs", WARN, healthy(c={"wall_ms": NOW_MS + 3_600_000}), f"{C} differs by 3600000"),
    ("disk-low", WARN, healthy(a={"findings": (DISK,)}, b={"findings": (DISK,)}), "d"),
    ("process-down", FAULT, [answered(A), answered(B), answered(C), down(D)], D),
]
# Found while asking; each has its test below.
ASKED = {
    "process-stopped",
    "no-answer",
    "connection-refused",
    "connection-broken",
    "tls-failed",
    "name-unknown",
    "not-a-node",
    "other-member",
}


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.words._selected", ["en"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].word}")
def test_a_cause_is_found(case: Case) -> None:
    code, severity, visits, named = case
    findings = [finding for finding in compare(visits) if finding.code == code]
    assert findings
    assert {finding.weight for finding in findings} == {severity}
    assert named in f"{findings[0].detail} {findings[0].advice}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1].word}")
def test_nothing_else_is_blamed(case: Case) -> None:
    allowed = {
        "no-quorum": {"process-down", "one-way"},
        "partition": {"one-way"},
        "one-way": {"partition"},
    }
    codes = {finding.code for finding in compare(case[2])}
    assert codes <= {case[0], *allowed.get(case[0], ())}


def test_every_code_has_words_and_a_test() -> None:
    for name in LANGUAGES:
        keys = {key for key in catalogue(name) if key.startswith("findings.")}
        codes = {key.split(".")[1] for key in keys}
        assert codes == ({case[0] for case in CASES} | ASKED) - {"disk-low"}
        assert len(keys) == 3 * len(codes)


def test_what_several_nodes_say_is_said_once() -> None:
    found = compare(healthy(a={"findings": (DISK,)}, b={"findings": (DISK,)}))
    assert [finding.members for finding in found] == [(A, B)]


def test_a_node_that_was_not_asked_counts_if_it_is_heard() -> None:
    codes = {finding.code for finding in compare([answered(A), answered(B)])}
    assert codes == {"network-healthy"}


def test_an_observer_does_not_count_for_the_quorum() -> None:
    visits = [answered(A), answered(B), answered(C, standing="observer"), down(D)]
    assert "no-quorum" in {finding.code for finding in compare(visits)}


def test_of_two_clocks_none_is_the_wrong_one() -> None:
    visits = [answered(A), answered(B, wall_ms=NOW_MS + 10_000)]
    assert "clock-differs" not in {finding.code for finding in compare(visits)}


def test_quorums() -> None:
    assert [count_quorum(count) for count in (4, 5, 6, 7, 10, 30)] == [3, 4, 5, 5, 7, 21]


def test_a_fork_is_looked_for_between_neighbours_by_height() -> None:
    assert place_anchors(healthy(b=LOWER)) == {A: 450}
    assert place_anchors(healthy()) == {}
    above = {"height": 110, "header_index": 560}
    assert place_anchors(healthy(b=LOWER, d=above)) == {A: 450, D: 500}


# --- asking -----------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the test set, by path."""

    answers: dict[str, tuple[int, bytes]] = {}  # noqa: RUF012 - set for each server anew

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b"{}"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        del arguments


@contextmanager
def serving(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    handler = type("Answering", (Handler,), {"answers": answers})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def report_bytes(member: str = A, **changed: Any) -> bytes:
    return msgspec.json.encode(make_report(member, **changed))


def diagnosis(**changed: Any) -> dict[str, tuple[int, bytes]]:
    return {"/v1/diagnosis": (200, report_bytes(**changed))}


def doctor_of(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments), "--lang", "en"])


def codes_of(result: Result) -> set[str]:
    document = json.loads(result.stdout)
    return {finding["code"] for node in document["nodes"] for finding in node["findings"]}


def test_the_exit_code_says_how_bad_it_is() -> None:
    fault = Finding(code="disk-full", severity="fault", title="t", detail="d", advice="a")
    for findings, exit_code in (((), OK), ((DISK,), WARNING), ((DISK, fault), ERROR)):
        with serving(diagnosis(findings=findings)) as url:
            result = doctor_of("--node", url)
            assert result.exit_code == exit_code, result.output
            assert "cn-3-tax" in result.stdout


def test_json_has_the_findings_and_the_facts() -> None:
    with serving(diagnosis(findings=(DISK,))) as url:
        result = doctor_of("--node", url, "--json")
    document = json.loads(result.stdout)
    assert document["severity"] == "warning"
    assert document["nodes"][0]["facts"]["height"] == 100
    assert codes_of(result) == {"disk-low"}


def test_nodes_compared_over_http_show_a_fork() -> None:
    def with_entry(leaf: str) -> dict[str, tuple[int, bytes]]:
        entry = msgspec.json.encode({"height": 95, "leaf_hash": leaf, "index": 450})
        return {"/v1/entries/450": (200, entry)}

    low = diagnosis(member=A, **LOWER) | with_entry("01")
    for leaf, is_fork in (("01", False), ("02", True)):
        high = diagnosis(member=B) | with_entry(leaf)
        with serving(low) as one, serving(high) as other:
            result = doctor_of("--network", "--json", "--node", one, "--node", other)
        codes = {finding["code"] for finding in json.loads(result.stdout)["network"]}
        assert ("fork" in codes) is is_fork


def test_a_network_is_shown_as_a_table() -> None:
    with serving(diagnosis(member=A)) as one, serving(diagnosis(member=B)) as other:
        result = doctor_of("--network", "--node", one, "--node", other)
    assert result.exit_code == OK, result.output
    assert "3 of 4 validators decide" in result.stdout
    assert "3/3" in result.stdout


def test_nothing_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    result = doctor_of("--node", url, "--json")
    assert result.exit_code == UNREACHABLE
    assert codes_of(result) == {"connection-refused"}


def test_a_name_that_nobody_knows() -> None:
    assert codes_of(doctor_of("--node", "http://no-such-host.invalid", "--json")) == {
        "name-unknown"
    }


def test_a_listener_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visiting, "ANSWER_S_MAX", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert codes_of(doctor_of("--node", url, "--json")) == {"no-answer"}


def test_files_of_one_node_do_not_make_the_answer_of_another_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visiting, "ANSWER_S_MAX", 5.0)
    is_answered = threading.Event()

    def examine(config: Path) -> list[Finding]:
        assert config == tmp_path / "node.toml"
        assert is_answered.wait(20), "the other node was asked only afterwards"
        return [DISK]

    class Telling(dict[str, tuple[int, bytes]]):
        def get(self, path: str, default: Any = None) -> Any:
            is_answered.set()
            return super().get(path, default)

    monkeypatch.setattr(visiting, "examine", examine)
    gone = Target(url="http://127.0.0.1:1", member=B, pid=0, config=tmp_path / "node.toml")
    with serving(Telling(diagnosis(member=A))) as url:
        first, second = run(visit_all([gone, Target(url=url, member=A)]))
    assert [finding.code for finding in first.findings] == ["process-down", "disk-low"]
    assert second.report is not None


def test_a_stopped_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visiting, "ANSWER_S_MAX", 0.2)
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            [visit] = run(visit_all([Target(url=url, member=A, pid=process.pid)]))
    finally:
        process.kill()
        process.wait()
    assert [finding.code for finding in visit.findings] == ["process-stopped"]
    assert f"kill -CONT {process.pid}" in visit.findings[0].advice


def test_a_listener_without_tls() -> None:
    with serving(diagnosis()) as url:
        result = doctor_of("--node", url.replace("http:", "https:"), "--json")
    assert codes_of(result) == {"tls-failed"}


def test_a_listener_that_hangs_up() -> None:
    def hang_up(listener: socket.socket) -> None:
        # The client tries a second time, as HTTP allows.
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = doctor_of("--node", url, "--json")
        thread.join()
    assert codes_of(result) == {"connection-broken"}


@pytest.mark.parametrize(
    "answer",
    [(404, b"{}"), (200, b"<html>"), (200, b"{}"), (200, b"[" * 200_000), (200, b"\xff")],
)
def test_what_is_no_node_is_said_so(answer: tuple[int, bytes]) -> None:
    with serving({"/v1/diagnosis": answer}) as url:
        result = doctor_of("--node", url, "--json")
    assert codes_of(result) == {"not-a-node"}
    assert result.exit_code == UNREACHABLE


def test_another_member_at_the_address() -> None:
    with serving(diagnosis(member=B)) as url:
        [visit] = run(visit_all([Target(url=url, member=A)]))
    assert [finding.code for finding in visit.findings] == ["other-member"]


def test_a_node_cannot_steer_the_terminal() -> None:
    evil = Finding(code="x", severity="warning", title="\x1b[2J", detail="a\nb", advice="\x07")
    with serving(diagnosis(findings=(evil,))) as url:
        result = doctor_of("--node", url)
    assert "?[2J" in result.stdout
    assert "\x1b" not in result.stdout
    assert clean({"a": ["\x9b"]}) == {"a": ["?"]}


@pytest.mark.parametrize("arguments", [(), ("--node", "http://a", "--dir", "b")])
def test_targets_that_do_not_go_together(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor_of(*arguments).exit_code == USAGE


def test_the_files_of_a_node_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(doctor.__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", str(root))
    result = doctor_of("--config", tmp_path / "node.toml", "--json")
    assert result.exit_code == ERROR, result.output
    document = json.loads(result.stdout)
    assert [finding["code"] for finding in document["files"]] == ["config-invalid"]
    assert document["nodes"] == []
