"""The file of webhooks: strict, every fault named, secrets kept from others; and signatures."""

from pathlib import Path

import pytest

from node.hooks.settings import read_hooks
from node.hooks.signing import sign_delivery
from tests.refusals import faults_of as provoke
from tests.refusals import tell_faults

# The worked example of the Standard Webhooks libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, TIMESTAMP_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
WHOLE = """
[[hook]]
id = "cases"
url = "https://cases.example/hook?a=b"
secret_file = "cases.secret"
kinds = ["share.requested", "access.logged"]
member = "cn-3301-tax"
exchange = "{digest}"
pair = ["cn-3301-tax", "cn-3302-tax"]
from_height = 7

[[hook]]
id = "near"
url = "http://127.0.0.1:9000/"
secret_file = "cases.secret"
""".format(digest="0f" * 32)


def hooks_of(folder: Path, text: str, *, secret: str = SECRET, mode: int = 0o600) -> Path:
    (folder / "cases.secret").write_text(secret + "\n")
    (folder / "cases.secret").chmod(mode)
    (folder / "hooks.toml").write_text(text)
    return folder / "hooks.toml"


def faults_of(file: Path) -> str:
    return "\n".join(tell_faults(provoke(lambda: read_hooks(file))))


def test_signature_is_that_of_other_implementations(tmp_path: Path) -> None:
    hook = read_hooks(hooks_of(tmp_path, WHOLE))[0]
    headers = sign_delivery(hook.secret, id_=ID, timestamp_s=TIMESTAMP_S, body=BODY)
    assert headers == {
        "webhook-id": ID,
        "webhook-timestamp": str(TIMESTAMP_S),
        "webhook-signature": SIGNATURE,
    }


def test_a_file_of_hooks_is_read(tmp_path: Path) -> None:
    cases, near = read_hooks(hooks_of(tmp_path, WHOLE))
    assert cases.kinds == {"share.requested", "access.logged"}
    assert (cases.member, cases.exchange, cases.from_height) == ("cn-3301-tax", b"\x0f" * 32, 7)
    assert cases.pair == ("cn-3301-tax", "cn-3302-tax")
    assert (near.kinds, near.member, near.exchange, near.pair) == (frozenset(), None, b"", None)
    assert near.tls is True


FAULTS = {
    'url = "http://cases.example/"': "on this machine [hook-url]",
    'url = "ftp://127.0.0.1/"': "hook-url",
    'url = "https:///nowhere"': "hook-url",
    'url = "https://[1"': "hook-url",
    'url = "https://a:b@cases.example/"': "hook-url-password",
    'secret_file = "other.secret"': "hook-secret-unreadable",
    'kinds = ["share.unknown"]': "[[hook]] 1: kinds: share.unknown unknown [hook-kinds]",
    'kinds = "share.requested"': "Expected `array`",
    'exchange = "0F"': "[table-malformed]",
    'member = "A"': "matching regex",
    'pair = ["a"]': "of length 2",
    "from_height = 0": ">= 1",
    'ca_file = "none.pem"': "hook-ca",
    "retries = 3": "[[hook]] 1: has not the form that it must have: Object",
}


@pytest.mark.parametrize("line", FAULTS)
def test_a_fault_of_a_hook_is_named(tmp_path: Path, line: str) -> None:
    rows = {
        "id": 'id = "a"', "url": 'url = "https://a.example/"',
        "secret_file": 'secret_file = "cases.secret"',
    }  # fmt: skip
    rows[line.partition(" ")[0]] = line
    file = hooks_of(tmp_path, "[[hook]]\n" + "\n".join(rows.values()))
    assert FAULTS[line] in faults_of(file)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = '[[hook]]\nid = "a"\n\n[[hook]]\nid = "B"\n' + 2 * WHOLE
    found = faults_of(hooks_of(tmp_path, text))
    assert "[[hook]] 1" in found
    assert "[[hook]] 2" in found
    assert "hooks-same-id" in found


@pytest.mark.parametrize(
    ("secret", "mode", "fault"),
    [
        (SECRET, 0o640, "hook-secret-open"),
        (SECRET[6:], 0o600, "hook-secret-malformed"),
        ("whsec_MfKQ", 0o600, "hook-secret-malformed"),
        ("whsec_" + "A" * 100, 0o600, "hook-secret-malformed"),
        (SECRET + "!", 0o600, "hook-secret-malformed"),
    ],
)
def test_a_secret_that_is_weak_or_open_is_refused(
    tmp_path: Path, secret: str, mode: int, fault: str
) -> None:
    found = faults_of(hooks_of(tmp_path, WHOLE, secret=secret, mode=mode))
    assert fault in found
    assert secret not in found


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "hooks-malformed"),
        ("x", "config-no-toml"),
        ("[hook]\nid = 1", "hooks-malformed"),
        ("hook = 3", "hooks-malformed"),
        ("[[hooks]]", "hooks-malformed"),
        ("[[hook]]\n" * 65, "hooks-malformed"),
        ("é = \x00", "config-no-toml"),
    ],
)
def test_what_is_no_file_of_hooks_is_refused(tmp_path: Path, text: str, code: str) -> None:
    assert faults_of(hooks_of(tmp_path, text)).endswith(f" [{code}]")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in faults_of(tmp_path / "none.toml")
