"""Commands of governance: what they ask a node, what they refuse before, what they show."""

import http.server
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding

from contracts.credit.behaviours import DEFAULT_RULES
from contracts.risk.reasons import DEFAULT_RULES as RISK_RULES
from ledger.custody.decryption import derive_encryption_key
from ledger.custody.encryption import format_encryption_key, hash_encryption_key
from ledger.custody.rotation import encode_rotation_json, sign_rotation
from ledger.exchange.matters import DEFAULT_DEADLINES
from ledger.genesis import encode_genesis_json
from ledger.governance.actions import Action
from ledger.keys import SecretKey, format_public_key, format_secret_key
from tests import builders
from tests.certificates import certificate_of, pem_of
from tests.registers import code_list, shape
from tests.unit.tools.governance.test_drafts import BALLOT, draft_of
from tools.cli import main
from tools.exits import ERROR, OK, UNREACHABLE, UNVERIFIED, USAGE
from tools.governance.applications import encode_action, make_officer
from tools.governance.drafts import body_of, read_draft

MEMBER = builders.ASKER
OLD = format_public_key(builders.key_of(MEMBER, "admin").public)
OTHER = format_public_key(builders.key_of("de-tax", "admin").public)
NOWHERE = "http://127.0.0.1:1"
HEIGHT = 77
PREVIEW: dict[str, Any] = {
    "class": "parties",
    "needed": 3,
    "voters": 4,
    "factors": 2,
    "own": False,
    "faults": [],
    "changes": [
        {
            "target": "member/de-tax",
            "kind": "set",
            "before": {"status": "active", "credit": 880},
            "after": {"status": "suspended", "credit": 880},
        }
    ],
    "validators": None,
}
SEATS = {
    "quorum": 4,
    "members": ["a", "b", "c", "d", "e"],
    "added": ["e"],
    "removed": [],
    "heard": ["a", "b", "c"],
    "silent": ["d"],
    "unlinked": ["e"],
    "has_live_quorum": False,
}
FAULT = {"code": "member-state", "title": "t", "detail": "de-tax is retired", "advice": "a"}


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the commands send to a dry run."""

    actions: tuple[Action, ...]
    member: str


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what every proposal asks: heights, parameters, and a dry run."""

    preview: ClassVar[dict[str, Any]] = {}
    in_force: ClassVar[dict[str, int]] = {}
    status: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[Asked]] = []

    def do_GET(self) -> None:
        parameters = msgspec.to_builtins(builders.parameters(**self.in_force))
        deadlines = msgspec.to_builtins(DEFAULT_DEADLINES)
        document = {"height": HEIGHT, "parameters": parameters, "deadlines": deadlines}
        self._answer({**document, **self.status})

    def do_POST(self) -> None:
        assert self.path == "/v1/proposals/preview"
        data = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append(msgspec.msgpack.decode(data, type=Asked))
        self._answer(type(self).preview)

    def _answer(self, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        del arguments


@contextmanager
def node(
    in_force: dict[str, int] | None = None,
    status: dict[str, Any] | None = None,
    **changed: Any,
) -> Iterator[tuple[str, list[Asked]]]:
    """Address of a node that finds a proposal so, and what it was asked."""
    own = {
        "preview": PREVIEW | changed,
        "asked": [],
        "in_force": in_force or {},
        "status": status or {},
    }
    handler = type("H", (Handler,), own)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "genesis.json").write_bytes(encode_genesis_json(builders.genesis()))
    key = tmp_path / "admin.key"
    key.write_text(format_secret_key(builders.key_of(MEMBER, "admin")))
    key.chmod(0o600)
    return tmp_path


def tally(home: Path, url: str, *words: object, member: str = MEMBER) -> Result:
    place = ("--genesis", home / "genesis.json", "--url", url, "--member", member)
    line = [*map(str, (*words, *place)), "--lang", "en", "--json"]
    return CliRunner().invoke(main, line)


def propose(home: Path, url: str, *words: object) -> Result:
    return tally(home, url, "admin", "propose", *words, "--key", home / "admin.key")


def code_of(result: Result, exit_code: int = ERROR) -> str:
    assert result.exit_code == exit_code, result.output
    return str(json.loads(result.stdout)["error"]["code"])


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def officer_file(home: Path) -> Path:
    key = SecretKey(builders.hash32("new"))
    action = make_officer(key, network=builders.NETWORK, member=MEMBER, roles=["admin"])
    return write(home / "officer.json", encode_action(action))


def rotation_file(home: Path, network: bytes = builders.NETWORK) -> Path:
    keys = [SecretKey(builders.hash32(name)) for name in ("old", "next")]
    signed = sign_rotation(*keys, network=network, member=MEMBER)
    return write(home / "rotation.json", encode_rotation_json(signed))


def encryption_file(home: Path, **changed: str) -> Path:
    key = derive_encryption_key(builders.hash32("recipient"))
    document = {
        "format": "tallystick-public-key-v1",
        "public_key": format_encryption_key(key),
        "fingerprint": hash_encryption_key(key).hex()[:16],
    }
    return write(home / "public.json", json.dumps({**document, **changed}))


PURPOSE = 'id = "x"\nname_zh = "x"\nname_en = "x"\n'
BASIS = (
    'id = "x"\ntitle_zh = "x"\ntitle_en = "x"\narticle = ""\nauthority = "x"\n'
    'in_force_from = "2020-01-01"\nin_force_to = "2030-01-01"\n'
    "parties = []\npurposes = []\ncategories = []\n"
)
DATASET = (
    'id = "x"\nversion = 1\nname_zh = "x"\nname_en = "x"\ncategory = "x"\ndeadline_hours = 9\n'
    '[[fields]]\nid = "f"\nname_zh = "f"\nname_en = "f"\nsensitivity = "public"\n'
)
GROUNDS = ("--grounds", "g")
FORMS = {
    "member.suspend": ("member", "suspend", "de-tax", *GROUNDS),
    "member.reinstate": ("member", "reinstate", "de-tax", *GROUNDS),
    "member.retire": ("member", "retire", "de-tax", *GROUNDS),
    "member.sanction": ("member", "sanction", "de-tax", "--points", 5, *GROUNDS),
    "officer.add": ("officer", "add", "officer.json"),
    "officer.roles": ("officer", "roles", OLD, "--role", "requester", "--role", "admin"),
    "officer.revoke": ("officer", "revoke", OLD, *GROUNDS),
    "officer.term": ("officer", "term", OLD, "--not-after", "2027-06-30"),
    "encryption.set": ("encryption", "set", "public.json", "--not-after", "2027-06-30"),
    "gateway.set": ("gateway", "set", "gate.example.org:8443", "gate.pem"),
    "contract.set": ("contract", "set", "x.cedar"),
    "contract.remove": ("contract", "remove", "legality"),
    "schema.set": ("contract", "schema", "x.cedar"),
    "dataset.set": ("dataset", "set", "dataset.toml"),
    "basis.set": ("basis", "set", "basis.toml"),
    "purpose.set": ("purpose", "set", "purpose.toml"),
    "record-schema.set": (
        *("record-schema", "set", "schema.json", "--dataset", "account", "--version", 2),
    ),
    "code-list.set": ("code-list", "set", "codes.json"),
    "sunset.set": ("sunset", "dataset/account", "--date", "2027-01-31"),
    "parameters.set": ("parameters", "set", "parameters.toml"),
    "deadlines.set": ("deadlines", "set", "deadlines.toml"),
    "credit.set": ("credit", "set", "credit.json"),
    "risk.set": ("risk", "set", "risk.json"),
    "rule.set": ("rule", "set", "keys", "--share", 700, "--factors", 2),
    "freeze.set": ("freeze", "--everything", *GROUNDS),
    "freeze.lift": ("unfreeze", "--provider", "de-tax"),
}


@pytest.fixture
def files(home: Path) -> Path:
    officer_file(home)
    rotation_file(home)
    encryption_file(home)
    write(home / "gate.pem", pem_of("one") + pem_of("two"))
    write(home / "x.cedar", "permit(principal, action, resource);")
    write(home / "dataset.toml", DATASET)
    write(home / "basis.toml", BASIS)
    write(home / "purpose.toml", PURPOSE)
    write(home / "credit.json", msgspec.json.encode(DEFAULT_RULES))
    write(home / "risk.json", msgspec.json.encode(RISK_RULES))
    write(home / "parameters.toml", "delta_ms = 300\n")
    write(home / "deadlines.toml", "receipt_hours = 24\n")
    write(home / "schema.json", json.dumps(shape()))
    write(home / "codes.json", msgspec.json.encode(code_list().code_list))
    return home


@pytest.mark.parametrize("tag", FORMS)
def test_every_action_is_asked_about_and_drafted(
    files: Path, tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    path = files / "draft.json"
    with node() as (url, asked):
        words = ("admin", "propose", *FORMS[tag], "--draft", path, "--text", "why")
        result = tally(files, url, *words, "--ballot-blocks", 9, "--activate-height", 100)
    assert result.exit_code == OK, result.output
    [question] = asked
    assert question.member == MEMBER
    body: Any = body_of(read_draft(path))
    assert body.actions == question.actions
    assert body.actions[0].__struct_config__.tag == tag
    assert (body.text, body.activate_height, body.ballots_until_height) == ("why", 100, HEIGHT + 9)
    assert "status: active → suspended" in result.stderr, "seen before anything is written"


def test_parameters_that_the_file_does_not_name_stay(files: Path) -> None:
    with node() as (url, asked):
        result = propose(files, url, "parameters", "set", files / "parameters.toml", "--dry-run")
    assert result.exit_code == OK, result.output
    action: Any = asked[0].actions[0]
    assert action.parameters == builders.parameters(delta_ms=300)


def test_an_end_can_be_taken_back(home: Path) -> None:
    with node() as (url, asked):
        result = propose(home, url, "sunset", "dataset/account", "--never", "--dry-run")
    assert result.exit_code == OK, result.output
    action: Any = asked[0].actions[0]
    assert (action.target, action.date) == ("dataset/account", None)


@pytest.mark.parametrize("words", [(), ("--date", "2027-01-31", "--never")])
def test_an_end_is_a_day_or_never(home: Path, words: tuple[str, ...]) -> None:
    result = propose(home, NOWHERE, "sunset", "dataset/account", *words)
    assert code_of(result, USAGE) == "sunset-date"


@pytest.mark.parametrize("words", [("x", "--never"), ("purpose/x", "--date", "31.1.2027")])
def test_an_end_is_read_strictly(home: Path, words: tuple[str, ...]) -> None:
    assert code_of(propose(home, NOWHERE, "sunset", *words)) == "event-body-invalid"


SOON = {
    "kind": "legal-basis",
    "id": "maac",
    "ends": "2027-01-30",
    "days_left": 5,
    "within_days": 7,
}
SUNSETS = [
    {"target": "record-schema/account@1", "date": "2027-01-31", "proposal": "00", "ended": True},
    {"target": "parameters", "date": "2027-02-28", "proposal": "00", "ended": False},
]


def expiring(home: Path, language: str, *soon: dict[str, Any]) -> str:
    with node(status={"expiring": list(soon), "items": SUNSETS}) as (url, _):
        line = ["admin", "expiring", "--genesis", home / "genesis.json", "--url", url]
        shown = CliRunner().invoke(main, [*map(str, line), "--lang", language])
        assert shown.exit_code == OK, shown.output
        told = json.loads(CliRunner().invoke(main, [*map(str, line), "--json"]).stdout)
        assert told == {"expiring": list(soon), "sunsets": SUNSETS}
        return shown.output


def test_what_ends_soon_is_listed_with_every_end(home: Path) -> None:
    shown = expiring(home, "en", SOON)
    assert "legal basis maac" in shown
    assert "2027-01-30  5" in shown
    assert "record schema account@1  2027-01-31         out of force" in shown
    assert "parameters               2027-02-28         in force" in shown
    assert "Nothing ends within 60 days." in expiring(home, "en")
    assert "法律依据 maac" in expiring(home, "zh", SOON)


def test_a_dry_run_says_whose_votes_carry_what_and_sends_nothing(home: Path) -> None:
    words = ("member", "suspend", "de-tax", *GROUNDS, "--dry-run")
    with node() as (url, _):
        result = propose(home, url, *words)
        assert json.loads(result.stdout)["needed"] == 3
        place = ("--genesis", home / "genesis.json", "--url", url, "--member", MEMBER)
        line = ["admin", "propose", *words, *place, "--key", home / "admin.key"]
        for language, text in (("en", "3 of 4 voters must approve"), ("zh", "须 3 个同意")):
            shown = CliRunner().invoke(main, [*map(str, line), "--lang", language]).output
            assert text in shown
            assert "2" in shown
    with node(own=True) as (url, _):
        line[line.index("--url") + 1] = url
        shown = CliRunner().invoke(main, [*map(str, line), "--lang", "en"]).output
        assert "two administrators of the member suffice" in shown


def test_a_list_without_a_live_quorum_needs_force(home: Path) -> None:
    words = ("admin", "validator", "remove", "d", "--key", home / "admin.key")
    with node(validators=SEATS, changes=[]) as (url, _):
        refused = tally(home, url, *words)
        assert code_of(refused) == "no-live-quorum"
        assert "5 validators, quorum 4, 3 online" in refused.stderr
        tried = tally(home, url, *words, "--dry-run")
        assert json.loads(tried.stdout)["added"] == ["e"]
        forced = tally(home, url, *words, "--force", "--draft", home / "draft.json")
        assert forced.exit_code == OK, forced.output


def test_what_the_node_finds_impossible_is_not_signed(home: Path) -> None:
    with node(faults=[FAULT]) as (url, _):
        result = propose(home, url, "member", "suspend", "de-tax", *GROUNDS)
    assert code_of(result) == "member-state"
    assert "de-tax is retired" in result.stderr


def test_a_rotation_is_two_proposals(files: Path) -> None:
    path = files / "draft.json"
    words = ("officer", "rotate", files / "officer.json", "--old", OLD, "--overlap-blocks", 50)
    with node() as (url, asked):
        result = tally(files, url, "admin", "propose", *words, *GROUNDS, "--draft", path)
        assert result.exit_code == OK, result.output
        tried = propose(files, url, *words, *GROUNDS, "--dry-run")
    assert set(json.loads(tried.stdout)) == {"add", "revoke"}
    assert [question.actions[0].__struct_config__.tag for question in asked[:2]] == [
        "officer.add",
        "officer.revoke",
    ]
    add: Any = body_of(read_draft(files / "draft-add.json"))
    revoke: Any = body_of(read_draft(files / "draft-revoke.json"))
    assert (add.activate_height, revoke.activate_height) == (0, HEIGHT + 50)


def test_a_statement_of_both_keys_names_the_old_key_and_new_keys_can_end(files: Path) -> None:
    path = files / "draft.json"
    words = ("officer", "rotate", files / "rotation.json", "--not-after", "2027-06-30", *GROUNDS)
    with node() as (url, asked):
        result = tally(files, url, "admin", "propose", *words, "--draft", path)
    assert result.exit_code == OK, result.output
    rotate, term = asked[0].actions
    assert rotate.statement.rotation.member == MEMBER
    assert (term.key, term.not_after) == (rotate.statement.rotation.new_key, "2027-06-30")
    [revoke] = asked[1].actions
    assert revoke.key == rotate.statement.rotation.old_key


def test_a_term_is_never_or_a_day(files: Path) -> None:
    words = ("officer", "term", OLD, "--dry-run", "--not-after")
    with node() as (url, asked):
        for day in ("never", "2027-06-30"):
            assert propose(files, url, *words, day).exit_code == OK
        assert propose(files, url, *words, "never", "--of", "de-tax").exit_code == OK
    found = [(each.actions[0].member, each.actions[0].not_after) for each in asked]
    assert found == [(MEMBER, ""), (MEMBER, "2027-06-30"), ("de-tax", "")]


def test_drafts_keep_to_the_bounds_in_force_and_not_to_those_of_the_genesis(home: Path) -> None:
    path = home / "draft.json"
    words = ("admin", "propose", "member", "suspend", "de-tax", *GROUNDS, "--draft", path)
    with node(in_force={"expiry_blocks_max": 40}) as (url, _):
        assert tally(home, url, *words).exit_code == OK
    draft = read_draft(path)
    body: Any = body_of(draft)
    assert (draft.expires_height, body.ballots_until_height) == (HEIGHT + 20, HEIGHT + 20)


def test_deadlines_that_the_file_does_not_name_stay(files: Path) -> None:
    with node() as (url, asked):
        result = propose(files, url, "deadlines", "set", files / "deadlines.toml", "--dry-run")
    assert result.exit_code == OK, result.output
    action: Any = asked[0].actions[0]
    assert action.rules == msgspec.structs.replace(DEFAULT_DEADLINES, receipt_hours=24)


@pytest.mark.parametrize("hours", ["0", "8761", '"24"', "1.5"])
def test_deadlines_out_of_bounds_are_refused(files: Path, hours: str) -> None:
    path = write(files / "deadlines.toml", f"receipt_hours = {hours}\n")
    with node() as (url, asked):
        result = propose(files, url, "deadlines", "set", path)
    assert code_of(result) == "event-body-invalid"
    assert not asked


def test_a_draft_is_never_overwritten(home: Path) -> None:
    path = write(home / "draft.json", "mine")
    words = ("admin", "propose", "member", "suspend", "de-tax", *GROUNDS, "--draft", path)
    with node() as (url, _):
        assert code_of(tally(home, url, *words)) == "file-exists"
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("freeze", *GROUNDS), USAGE, "freeze-scope"),
        (("freeze", "--everything", "--dataset", "x", *GROUNDS), USAGE, "freeze-scope"),
        (("unfreeze",), USAGE, "freeze-scope"),
        (("officer", "revoke", "ed25519:00", *GROUNDS), ERROR, "public-key-invalid"),
        (("member", "suspend", "DE TAX", *GROUNDS), ERROR, "event-body-invalid"),
        (("member", "suspend", "de-tax", "--grounds", "x" * 501), ERROR, "event-body-invalid"),
        (("member", "suspend", "de-tax"), USAGE, "usage-invalid"),
        (("rule", "set", "nothing", "--share", 1), USAGE, "usage-invalid"),
        (("member", "admit", "bad.json"), ERROR, "admission-invalid"),
        (("officer", "add", "bad.json"), ERROR, "officer-file-invalid"),
        (("officer", "rotate", "officer.json", *GROUNDS), ERROR, "old-key-missing"),
        (
            ("officer", "rotate", "rotation.json", "--old", OTHER, *GROUNDS),
            ERROR,
            "old-key-mismatch",
        ),
        (("officer", "rotate", "cut.json", *GROUNDS), ERROR, "statement-tampered"),
        (("officer", "rotate", "elsewhere/rotation.json", *GROUNDS), ERROR, "statement-tampered"),
        (("officer", "term", OLD, "--not-after", "2026-02-30"), USAGE, "day-invalid"),
        (("officer", "add", "officer.json", "--not-after", "soon"), USAGE, "day-invalid"),
        (("encryption", "set", "bad.json"), ERROR, "encryption-file-invalid"),
        (("encryption", "set", "elsewhere/public.json"), ERROR, "encryption-file-invalid"),
        (("gateway", "set", "gate:1", "bad.json"), ERROR, "certificate-file-invalid"),
        (("gateway", "set", "gate:1", "stranger.pem"), ERROR, "certificate-file-invalid"),
        (("gateway", "set", "gate:0", "gate.pem"), ERROR, "event-body-invalid"),
        (("gateway", "set", "gate:1", "gate.pem", "gate.pem"), ERROR, "event-body-invalid"),
        (("contract", "set", "bad.json"), ERROR, "contract-file-invalid"),
        (("contract", "schema", "none"), ERROR, "file-unreadable"),
        (("dataset", "set", "bad.json"), ERROR, "value-file-invalid"),
        (("deadlines", "set", "bad.json"), ERROR, "value-file-invalid"),
        (("parameters", "set", "bad.json"), ERROR, "value-file-invalid"),
        (("officer", "add", "officer.json"), UNREACHABLE, "unreachable"),
    ],
)
def test_a_mistake_is_found_before_anything_is_sent(
    files: Path, words: tuple[object, ...], exit_code: int, code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Nobody listens: whatever is asked of a node first would end as unreachable."""
    monkeypatch.chdir(files)
    write(files / "bad.json", '{"nothing": 1}')
    (files / "elsewhere").mkdir()
    rotation_file(files / "elsewhere", builders.hash32("another"))
    encryption_file(files / "elsewhere", fingerprint="0" * 16)
    write(files / "stranger.pem", certificate_of(issuer="x").public_bytes(Encoding.PEM))
    write(files / "cut.json", (files / "rotation.json").read_bytes()[:-9])
    assert code_of(propose(files, NOWHERE, *words), exit_code) == code


def test_a_tampered_file_is_found_before_anything_is_sent(files: Path) -> None:
    made = CliRunner().invoke(
        main,
        [
            *(
                "member",
                "apply",
                str(files / "home"),
                "--plain",
                "--member",
                "cn-1-tax",
                "--name-zh",
                "甲",
            ),
            *("--name-en", "First", "--region", "110000", "--kind", "tax", "--json"),
            *("--genesis", str(files / "genesis.json")),
        ],
    )
    path = Path(json.loads(made.stdout)["application"])
    assert code_of(propose(files, NOWHERE, "member", "admit", path), UNREACHABLE) == "unreachable"
    write(path, path.read_text("utf-8").replace("First", "Forst"))
    refused = propose(files, NOWHERE, "member", "admit", path)
    assert code_of(refused) == "application-tampered"
    assert "Nothing was sent" in refused.stderr
    officer = files / "officer.json"
    write(officer, officer.read_text().replace(MEMBER, "de-tax"))
    assert code_of(propose(files, NOWHERE, "officer", "add", officer)) == "officer-tampered"


def test_a_proof_of_a_new_key(home: Path) -> None:
    out = home / "proof.json"
    words = ("member", "key", home / "admin.key", "--role", "admin", "--out", out)
    line = [*map(str, words), "--member", MEMBER, "--genesis", str(home / "genesis.json")]
    made = CliRunner().invoke(main, [*line, "--json"])
    assert json.loads(made.stdout)["key"] == OLD
    again = CliRunner().invoke(main, [*line, "--json"])
    assert code_of(again) == "file-exists"
    (home / "admin.key").chmod(0o644)
    out.unlink()
    assert code_of(CliRunner().invoke(main, [*line, "--json"])) == "key-readable"
    assert not out.exists()


@pytest.mark.parametrize(("answer", "exit_code"), [("y", OK), ("n", ERROR)])
def test_on_a_terminal_a_person_says_yes(home: Path, answer: str, exit_code: int) -> None:
    write(home / "draft.json", draft_of(BALLOT))
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tools.cli", "admin", "sign", home / "draft.json"),
                *("--key", home / "admin.key", "--genesis", home / "genesis.json"),
                *("--out", home / "signed", "--lang", "en", "--json"),
            ],
            stdin=theirs,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == exit_code, done.stderr
    assert "a breach" in done.stderr.partition("Sign this?")[0], "the content comes first"
    assert (home / "signed").exists() is (exit_code == OK)
    if exit_code == ERROR:
        assert json.loads(done.stdout)["error"]["code"] == "not-signed"


def test_status_asks_for_the_member(home: Path) -> None:
    assert code_of(tally(home, NOWHERE, "member", "status", member="")) == "member-missing"


@pytest.mark.parametrize("words", [("frozen",), ("proposals",), ("rules",), ("history", "x/y")])
def test_without_a_node_there_is_no_answer(home: Path, words: tuple[str, ...]) -> None:
    assert code_of(tally(home, NOWHERE, "admin", *words), UNREACHABLE) == "unreachable"


def test_an_answer_that_makes_no_sense_is_not_believed(home: Path) -> None:
    words = ("member", "suspend", "de-tax", *GROUNDS)
    with node(needed="many") as (url, _):
        assert code_of(propose(home, url, *words), UNVERIFIED) == "answer-malformed"


@pytest.mark.parametrize("command", ["show", "status"])
def test_the_id_of_a_member_is_not_a_path(home: Path, command: str) -> None:
    subject = ("../status",) if command == "show" else ()
    result = tally(home, NOWHERE, "member", command, *subject, member="../status")
    assert code_of(result) == "subject-invalid"
