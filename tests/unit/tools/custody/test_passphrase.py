"""Pass phrases: from a prompt, a private file, a systemd credential; each refusal by its code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.custody.keystore import decode_keystore
from tests.terminal import Terminal
from tools.custody.passphrase import Ways, choose_ways, new_passphrase, read_passphrase
from tools.exits import ToolError

PHRASE = "符契 correct horse"


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def code_of(ways: Ways, *, new: bool = False) -> str:
    with pytest.raises(ToolError) as caught:
        (new_passphrase if new else read_passphrase)(ways, "some key")
    return caught.value.code


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_file_has_one_line(tmp_path: Path, ending: bytes) -> None:
    file = private(tmp_path / "phrase", PHRASE.encode() + ending)
    assert read_passphrase(Ways(file=file), "") == PHRASE
    assert new_passphrase(Ways(file=file), "") == PHRASE


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (PHRASE.encode(), 0o640, "passphrase-readable"),
        (PHRASE.encode(), 0o604, "passphrase-readable"),
        (b"", 0o600, "passphrase-invalid"),
        (b"\n", 0o600, "passphrase-invalid"),
        (b"one\ntwo\n", 0o600, "passphrase-invalid"),
        (b"tab\there", 0o600, "passphrase-invalid"),
        (b"\xff\xfe", 0o600, "passphrase-invalid"),
        (b"x" * 1_025, 0o600, "passphrase-invalid"),
        (b"x" * 1_000_000, 0o600, "passphrase-invalid"),
    ],
)
def test_what_a_file_must_be(tmp_path: Path, content: bytes, mode: int, code: str) -> None:
    assert code_of(Ways(file=private(tmp_path / "phrase", content, mode))) == code


def test_what_is_no_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert code_of(Ways(file=tmp_path / "pipe")) == "passphrase-invalid"
    assert code_of(Ways(file=tmp_path)) == "passphrase-unreadable"
    assert code_of(Ways(file=tmp_path / "none")) == "passphrase-unreadable"


@pytest.mark.parametrize("phrase", ["eleven char", "aaaaaaaaaaaaaaaaaaaa", "abcdabcdabcdabcd"])
def test_a_new_one_is_strong(tmp_path: Path, phrase: str) -> None:
    file = private(tmp_path / "phrase", phrase.encode())
    assert read_passphrase(Ways(file=file), "") == phrase
    assert code_of(Ways(file=file), new=True) == "passphrase-short"


def test_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As systemd makes them: readable, in a folder that only the service can enter.
    private(tmp_path / "keystore", PHRASE.encode(), 0o440)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert code_of(Ways(credential="keystore")) == "credential-not-found"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_passphrase(Ways(credential="keystore"), "") == PHRASE
    assert code_of(Ways(credential="other")) == "passphrase-unreadable"
    for name in ("../keystore", "/etc/passwd", ".", "..", ".hidden", "a/b", "a\0b"):
        assert code_of(Ways(credential=name)) == "credential-not-found"


def test_one_way_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        choose_ways(tmp_path, "name")
    assert caught.value.code == "passphrase-ways"


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tools.cli", "keys", "generate", str(tmp_path / "a.key")]
    done = subprocess.run(
        line,
        input="secret words here\n" * 2,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.returncode == 1
    assert "[passphrase-unasked]" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_new_pass_phrase_is_typed_twice_and_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "officer.key"
    with Terminal(["keys", "generate", str(path), "--lang", "en"]) as terminal:
        terminal.answer("(at least 12 characters): ", PHRASE)
        terminal.answer("The same again: ", PHRASE)
        assert terminal.end() == 0, terminal.shown
        assert PHRASE not in terminal.shown
        assert decode_keystore(path.read_bytes()).public_key in terminal.shown
    with Terminal(["keys", "change-passphrase", str(path), "--lang", "zh"]) as terminal:
        terminal.answer("口令或 PIN：", "wrong words here")
        terminal.wait_for("口令错误")
        terminal.answer("口令或 PIN：", PHRASE)
        terminal.answer("的新口令", "another good phrase")
        terminal.answer("请再输入一次：", "another good phrase")
        assert terminal.end() == 0, terminal.shown
        assert "good phrase" not in terminal.shown
        assert "wrong words" not in terminal.shown


def test_two_that_differ_leave_nothing_behind(tmp_path: Path) -> None:
    with Terminal(["keys", "generate", str(tmp_path / "a.key"), "--lang", "en"]) as terminal:
        terminal.answer("characters): ", PHRASE)
        terminal.answer("again: ", PHRASE + "x")
        assert terminal.end() == 1
        assert "[passphrase-differs]" in terminal.shown
    assert list(tmp_path.iterdir()) == []
