"""Applications and officers' files: made once, refused when a single character was changed."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ledger.governance.actions import AdmitMember, verify_application, verify_key
from ledger.keys import SecretKey
from tests.builders import NETWORK, hash32
from tools.custody.making import KeyMaker
from tools.exits import InvalidInput
from tools.governance.applications import (
    Applicant,
    encode_action,
    key_roles,
    make_application,
    make_keys,
    make_officer,
    read_admission,
    read_officer,
)

PLAIN = KeyMaker(plain=True)
APPLICANT = Applicant(
    id="cn-4403-tax", name_zh="深圳市税务局", name_en="Shenzhen", region="440300", kind="tax",
    contact="",
)  # fmt: skip


@pytest.fixture
def application(tmp_path: Path) -> Path:
    action = make_application(APPLICANT, make_keys(tmp_path, "tax", PLAIN), NETWORK)
    path = tmp_path / "application.json"
    path.write_bytes(encode_action(action))
    return path


def code_of(path: Path, network: bytes = NETWORK) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_admission(path, network)
    return caught.value.code


def changed(path: Path, **fields: Any) -> Path:
    document = json.loads(path.read_text())
    application = {name: fields.pop(name) for name in list(fields) if name in APPLICANT.__slots__}
    document["application"] |= application
    path.write_text(json.dumps(document | fields))
    return path


def test_an_application_is_signed_and_its_keys_are_private(application: Path) -> None:
    action = read_admission(application, NETWORK)
    assert isinstance(action, AdmitMember)
    verify_application(NETWORK, action)
    roles = sorted(role for key in action.application.keys for role in key.roles)
    assert roles == ["admin", "admin", "approver", "provider", "requester"]
    keys = application.parent / "keys"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()} == {0o600}


def test_a_second_application_keeps_the_keys(tmp_path: Path) -> None:
    first, second = make_keys(tmp_path, "tax", PLAIN), make_keys(tmp_path, "tax", PLAIN)
    assert {name: key.public for name, key in first.items()} == {
        name: key.public for name, key in second.items()
    }


def test_a_supervisor_has_no_keys_for_requests() -> None:
    assert set(key_roles("supervisor").values()) == {"supervisor", "admin"}
    assert set(key_roles("auditor").values()) == {"auditor", "admin"}


@pytest.mark.parametrize("field", ["id", "name_zh", "name_en", "region", "contact"])
def test_a_changed_application_is_refused(application: Path, field: str) -> None:
    assert code_of(changed(application, **{field: "zz-1"})) == "application-tampered"


def test_an_application_signed_by_another_is_refused(application: Path) -> None:
    action = read_admission(application, NETWORK)
    requester = next(key for key in action.application.keys if key.roles == ("requester",))
    home = application.parent
    keys = make_keys(home, "tax", PLAIN)
    assert keys["requester"].public == requester.key
    forged = make_application(
        APPLICANT, {**keys, "admin": keys["requester"], "requester": keys["admin"]}, NETWORK
    )
    application.write_bytes(encode_action(forged))
    document = json.loads(application.read_text())
    for key in document["application"]["keys"]:
        key["roles"] = ["requester"]
    application.write_text(json.dumps(document))
    assert code_of(application) == "application-tampered"


def test_an_application_for_another_network_is_refused(application: Path) -> None:
    assert code_of(application, hash32("another")) == "application-tampered"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 9_999, b'{"action": "x"}'])
def test_what_is_no_application_is_refused(application: Path, content: bytes) -> None:
    application.write_bytes(content)
    assert code_of(application) == "admission-invalid"


@pytest.mark.parametrize("lie", [{"id": "CN 1"}, {"region": "1"}, {"name_zh": ""}])
def test_an_applicant_that_nobody_could_admit_is_refused(
    tmp_path: Path, lie: dict[str, str]
) -> None:
    given = {name: getattr(APPLICANT, name) for name in APPLICANT.__slots__}
    with pytest.raises(InvalidInput) as caught:
        make_application(Applicant(**(given | lie)), make_keys(tmp_path, "tax", PLAIN), NETWORK)
    assert caught.value.code == "applicant-invalid"


def test_an_officers_file_proves_its_key(tmp_path: Path) -> None:
    key, path = SecretKey(hash32("new")), tmp_path / "officer.json"
    action = make_officer(key, network=NETWORK, member="cn-1-tax", roles=["admin", "admin"])
    path.write_bytes(encode_action(action))
    assert read_officer(path, NETWORK) == action
    assert action.officer.roles == ("admin",)
    verify_key(NETWORK, "cn-1-tax", action.officer)
    for member, network in (("cn-2-tax", NETWORK), ("cn-1-tax", hash32("another"))):
        document = json.loads(encode_action(action)) | {"member": member}
        path.write_text(json.dumps(document))
        with pytest.raises(InvalidInput) as caught:
            read_officer(path, network)
        assert caught.value.code == "officer-tampered"
    path.write_text("{}")
    with pytest.raises(InvalidInput) as caught:
        read_officer(path, NETWORK)
    assert caught.value.code == "officer-file-invalid"
