"""Every code of an error of the commands is provoked by a test; the rarer ones are provoked here.

A test provokes a code if the code stands in it, in what decorates it, or in a table of its module
that it names. Codes are read from the source, so a new one fails here until there is such a test.
"""

import ast
import asyncio
import http.server
import importlib
import io
import json
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import tools
from contracts.words import LANGUAGES
from ledger.genesis import encode_genesis_json
from node.api.problems import HTTP_CODES, STATUS, Problem, problem_body
from tests import builders
from tests.unit.node.api.harness import Served, run
from tests.unit.tools.governance.test_stories import client_of
from tests.unit.tools.test_errors import codes_in, outline, request
from tools import client as clients
from tools import processes
from tools.audit.export.sheets import write_parquet
from tools.audit.export.tables import TABLES
from tools.bench import exchange, load
from tools.cli import main
from tools.client import fetch_genesis
from tools.commands.records import dataset
from tools.doctor.visit import examine
from tools.exits import ToolError
from tools.founding import read_source
from tools.gateway import local, story
from tools.gateway.local import LocalGateways
from tools.gateway.socket import GatewaySocket
from tools.localnet import FREE_PORTS, Localnet, free_ports
from tools.mirror import mirror_log

ROOT = Path(__file__).parents[3]
TESTS = ROOT / "tests"
# They know every code, and provoke none.
CATALOGUES = ("test_docs.py", "test_tidy.py", "test_words.py")
IGNORES_SIGTERM = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""
SHORT_OF_MEMORY = """
import resource, sys
from tools.cli import main
from tools.custody import keyfiles, making
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
# Less than Argon2id asks for, and enough for everything else.
resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20),) * 2)
main(sys.argv[1:])
"""


def words_of(node: ast.AST) -> Iterator[str]:
    """Texts that stand in a part of a module; of a shown error what is between its brackets."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str | bytes):
            text = each.value if isinstance(each.value, str) else each.value.decode("latin-1")
            yield from text.replace("[", " ").replace("]", " ").split()


def provoked_in(source: str) -> set[str]:
    """Words of the tests of a module, and of its tables that they name."""
    tree = ast.parse(source)
    tables: dict[str, set[str]] = {}
    for made in tree.body:
        if isinstance(made, ast.Assign | ast.AnnAssign):
            targets = made.targets if isinstance(made, ast.Assign) else [made.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    tables[target.id] = set(words_of(made))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node.name.startswith("test_")
        ):
            found.update(words_of(node))
            for each in ast.walk(node):
                if isinstance(each, ast.Name):
                    found |= tables.get(each.id, set())
    return found


@cache
def provoked() -> set[str]:
    files = (path for path in TESTS.rglob("test_*.py") if path.name not in CATALOGUES)
    return set().union(*(provoked_in(path.read_text("utf-8")) for path in files))


def test_a_code_is_found_in_a_test_and_in_a_table_that_it_names() -> None:
    source = (
        'TABLE = {"one": 1}\nOTHER = ["two"]\n@mark("three")\ndef test_it():\n'
        '    assert TABLE and "a [four]"\ndef helper():\n    return "five", OTHER\n'
    )
    words = provoked_in(source)
    assert words >= {"one", "three", "four"}
    assert words.isdisjoint({"two", "five"})


def test_every_code_of_the_commands_is_provoked() -> None:
    root = Path(tools.__path__[0])
    used = set().union(*(codes_in(path.read_text("utf-8")) for path in root.rglob("*.py")))
    assert len(used) > 140
    assert used - provoked() == set()


def problems_in_source() -> set[str]:
    """Codes with which the interface of a node makes a problem."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "node").rglob("*.py"))
    return {
        str(node.args[0].value)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Problem"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_code_of_the_interface_is_provoked_and_has_words() -> None:
    used = {*HTTP_CODES, *STATUS, *problems_in_source()}
    assert len(used) > 40
    assert (set(HTTP_CODES) | problems_in_source()) - provoked() == set()
    for code in used:
        zh, en = (
            problem_body(Problem(code), language=language, instance="/") for language in LANGUAGES
        )
        for text in (zh.title, zh.advice, en.title, en.advice):
            assert text, code
        # A code without words shows itself.
        assert code not in f"{zh.title} {en.title}".split(), code
        assert zh.title != en.title, code


def code_of(*words: object) -> str:
    """The code with which a command ends."""
    result = CliRunner().invoke(main, [*map(str, words), "--json", "--lang", "en"])
    assert result.exit_code != 0, result.output
    return str(json.loads(result.stdout)["error"]["code"])


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ToolError) as caught:
        call()
    return caught.value.code


def refused_by(folder: Path, ask: Callable[[Served], Awaitable[object]]) -> str:
    """The code with which asking a node ends."""
    found: list[str] = []

    async def story(node: Served) -> None:
        with pytest.raises(ToolError) as caught:
            await ask(node)
        found.append(caught.value.code)

    run(folder, story)
    return found[0]


def test_a_node_that_may_not_be_activated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "node.toml"
    config.write_text("[node]\n")
    line = ("node", "activate", "--config", config, "--yes")
    assert code_of(*line) == "start-config-invalid"
    monkeypatch.setattr(sys, "executable", "false")
    assert code_of(*line) == "activation-refused"


def test_what_is_no_delay() -> None:
    assert code_of("bench", "network", "--wan", "soon") == "delay-invalid"


def test_a_doctor_without_a_place_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of("doctor") == "target-missing"


def test_a_doctor_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    assert refused(lambda: examine(tmp_path / "node.toml")) == "doctor-failed"


def test_an_index_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text("name = 3\n")
    assert code_of("localnet", "status", "--dir", tmp_path) == "network-invalid"


@pytest.fixture
def net() -> Iterator[Localnet]:
    # Paths of sockets must be short.
    with tempfile.TemporaryDirectory(prefix="tally-") as folder:
        CliRunner().invoke(main, ["localnet", "init", f"{folder}/net"])
        yield Localnet(Path(folder) / "net")


def test_parquet_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    table = next(iter(TABLES.values()))
    written = io.BytesIO()
    assert refused(lambda: write_parquet(table, iter(()), written, {})) == "extra-analytics-missing"
    assert written.getvalue() == b""


def test_nodes_that_are_not_there(net: Localnet) -> None:
    assert refused(lambda: net.node("cn-9999-tax")) == "node-not-found"
    assert refused(lambda: net.kill(net.members[0])) == "node-not-running"


def test_a_node_that_does_not_end(net: Localnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_S_MAX", 0.3)
    folder = net.node_directory(net.members[0]).resolve()
    command = [sys.executable, "-c", IGNORES_SIGTERM, str(folder / "node.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as stubborn:
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == "ready\n"
        (folder / "node.pid").write_text(f"{stubborn.pid}\n")
        result = CliRunner().invoke(
            main, ["localnet", "down", "--dir", str(net.directory), "--lang", "en"]
        )
        assert stubborn.wait(10) is not None
    assert "[node-killed]" in result.stderr


def test_gateways_that_end_or_do_not_answer(net: Localnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "READY_S_MAX", 1.0)
    gateways, member = LocalGateways(net), net.members[0]
    gateways.make([member])
    config = gateways.program(member).config
    command = [sys.executable, "-c", IGNORES_SIGTERM, str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as silent:
        gateways.program(member).pid_file.write_text(f"{silent.pid}\n")
        assert silent.stdout is not None
        assert silent.stdout.readline() == "ready\n"
        assert refused(lambda: gateways.wait_ready([member])) == "gateway-late"
        silent.kill()
    monkeypatch.undo()
    config.write_text(config.read_text() + "\n[membr]\nx = 1\n")
    gateways.start([member])
    assert refused(lambda: gateways.wait_ready([member])) == "gateway-ended"


class Job(http.server.BaseHTTPRequestHandler):
    """Answers questions to a gateway: what is asked is decided so, and every job has failed."""

    decision = "permit"

    def do_GET(self) -> None:
        self._answer({"stage": "failed", "fault": "x", "detail": ""})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"decision": self.decision, "exchange": "00" * 32})

    def _answer(self, document: dict[str, str]) -> None:
        data = json.dumps(document).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        del arguments


@contextmanager
def gateway_at(path: Path, decision: str = "permit") -> Iterator[Any]:
    """A gateway's socket that answers so, as gateways are found by their members."""
    handler = type("J", (Job,), {"decision": decision})
    with socketserver.ThreadingUnixStreamServer(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield SimpleNamespace(socket=lambda _member: GatewaySocket(path))
        finally:
            server.shutdown()
            thread.join()


def test_a_demonstration_whose_job_fails(tmp_path: Path) -> None:
    with gateway_at(tmp_path / "s") as gateways:
        travel: Any = SimpleNamespace(gateways=gateways)
        found = refused(lambda: story._wait(travel, "a", "acquire", "00" * 32, "closed"))
    assert found == "demo-failed"


@pytest.mark.parametrize(
    ("decision", "code"), [("deny", "exchange-not-permitted"), ("permit", "exchange-not-received")]
)
def test_a_measured_exchange_that_does_not_come_to_its_end(
    decision: str, code: str, tmp_path: Path
) -> None:
    async def ask(gateways: Any) -> None:
        asking = exchange._Asking(gateways, ("a", "b"), "subject")
        async with asking._session("a") as session:
            await asking._time(session, 0)

    with gateway_at(tmp_path / "s", decision) as gateways:
        assert refused(lambda: asyncio.run(ask(gateways))) == code


def test_references_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "references"
    path.write_text("no references\n")
    words = ("officer", "refer", "00" * 32, path, "--url", "http://127.0.0.1:1")
    more = ("--member", "cn-3302-tax", "--genesis", tmp_path / "none", "--key", tmp_path / "none")
    assert code_of(*words, *more) == "references-invalid"


def test_more_ports_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    few = FREE_PORTS[:20]
    monkeypatch.setattr("tools.localnet.FREE_PORTS", few)
    assert refused(lambda: free_ports(len(few) + 1)) == "ports-exhausted"


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    assert refused(lambda: read_source(tmp_path / "network.toml")) == "source-unreadable"


def test_a_program_that_ends_without_a_report() -> None:
    words = [sys.executable, "-c", "raise SystemExit('no report')"]
    assert refused(lambda: dataset._run(words)) == "record-program"


def test_subjects_that_stand_twice(tmp_path: Path) -> None:
    words = request(tmp_path, "--member", "cn-3301-tax", document=outline())
    (tmp_path / "subjects").write_text("one\none\n")
    assert code_of(*words) == "subjects-invalid"


def test_blinds_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "blinds"
    path.write_text("no blinds")
    words = ("officer", "subjects", "00" * 32, "--blinds", path, "--url", "http://127.0.0.1:1")
    assert code_of(*words, "--genesis", tmp_path / "genesis.json") == "blinds-invalid"


def test_python_without_its_checks() -> None:
    command = [sys.executable, "-O", "-m", "tools.cli", "doctor", "--lang", "en"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "[python-optimized]" in done.stderr


def test_a_machine_with_too_little_memory(tmp_path: Path) -> None:
    phrase = tmp_path / "phrase"
    phrase.touch(mode=0o600)
    phrase.write_text("correct horse battery\n")
    words = ["keys", "generate", str(tmp_path / "x.key"), "--passphrase-file", str(phrase)]
    command = [sys.executable, "-c", SHORT_OF_MEMORY, *words, "--lang", "en"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "[memory-short]" in done.stderr, done.stderr
    assert not (tmp_path / "x.key").exists()


def test_a_token_that_takes_no_pin_any_more() -> None:
    """SoftHSM2 locks no PIN: what the library says of one that does is raised here."""
    pkcs11 = pytest.importorskip("pkcs11")
    token = importlib.import_module("tools.custody.token")

    def ask() -> None:
        with token._faults():
            raise pkcs11.PinLocked

    assert refused(ask) == "pin-locked"


def test_a_measurement_in_which_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "STALL_S_MAX", 0.05)

    async def wait() -> None:
        async with load._Stall():
            await asyncio.Event().wait()

    assert refused(lambda: asyncio.run(wait())) == "stalled"


def test_an_answer_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BODY_BYTES_MAX", 100)

    async def ask(node: Served) -> object:
        host, port = node.address
        return await fetch_genesis(f"http://{host}:{port}")

    assert refused_by(tmp_path, ask) == "answer-too-large"


def test_an_event_that_is_not_final_in_time(tmp_path: Path) -> None:
    async def ask(node: Served) -> object:
        async with client_of(node) as client:
            return await client.wait_final(bytes(32), timeout_s=0)

    assert refused_by(tmp_path, ask) == "not-yet-final"


def test_an_entry_that_is_no_record(tmp_path: Path) -> None:
    async def ask(node: Served) -> object:
        await node.submit(builders.request().data)
        node.service.sign_checkpoint()
        async with client_of(node) as client:
            return await client.fetch_record(0)  # the header of the first block

    assert refused_by(tmp_path, ask) == "record-invalid"


def test_a_stream_that_the_node_ends(tmp_path: Path) -> None:
    async def ask(node: Served) -> object:
        async with client_of(node) as client, client.stream() as stream:
            await stream._socket.send_str("this is no batch of events")
            return await stream.receive()

    assert refused_by(tmp_path, ask) == "stream-closed"


async def copy(node: Served, folder: Path) -> object:
    host, port = node.address
    return await mirror_log(
        f"http://{host}:{port}", folder, genesis=builders.genesis(), on_progress=lambda *_: None
    )


def test_a_folder_with_the_copy_of_another_network(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    other = builders.genesis(delta_ms=300)
    (folder / "genesis.json").write_bytes(encode_genesis_json(other))
    assert refused_by(tmp_path / "node", lambda node: copy(node, folder)) == "genesis-mismatch"
