"""The program behind `tally crs`: each verb prints JSON lines, the last of which is its answer.

    pin FOLDER             {"manifest": TEXT}
    check FILE             {"report": …, "codes": {CODE: {zh, en}}, "reasons": …}
    status-message FILE    the same, and writes the answer to the sender
    read-status FILE       {"status": …, "codes": …}
    key FILE               {"key_id": HEX, "year": …}; an existing key is only read
    refs FILE              {"batches": …, "references": …}, and writes a batch a line
    package, unpackage     {"size_bytes": …, "fingerprint": …, …}, and write a file

or `{"refused": {"code": …, "detail": …, title and advice in zh and en}}` with exit code 1. What is
written is for its owner's eyes, and appears whole or not at all.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificate

from contracts.words import LANGUAGES
from node.crs.check import Report, check_file
from node.crs.codes import CODE_SETS, read_code_set
from node.crs.errors import CrsError, InvalidKey, InvalidPackage
from node.crs.package import Parties, fingerprint, pack, public_key, unpack
from node.crs.references import make_key, read_key, read_references
from node.crs.rules import Setting
from node.crs.schemas import load_schema, pin_folder
from node.crs.signing import open_message, sign_message
from node.crs.status import make_status, read_status, write_status
from node.crs.words import catalogue, refuse, tell


def run(words: Sequence[str]) -> int:
    """Run one verb; the exit code."""
    arguments = _parser().parse_args(words)
    try:
        tell(_VERBS[arguments.verb](arguments))
    except InvalidPackage as error:
        return refuse(error.code, f"{error.status}: {error.detail}")
    except CrsError as error:
        return refuse(error.code, error.detail)
    except FileExistsError as error:
        return refuse("crs-output-exists", Path(str(error.filename)).name)
    except OSError as error:
        return refuse("crs-file-unreadable", Path(str(error.filename)).name)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m node.crs")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, options in _OPTIONS.items():
        verb = verbs.add_parser(name)
        verb.add_argument("file", type=Path)
        for option in options:
            is_path = option in _PATHS
            verb.add_argument(
                f"--{option}", type=Path if is_path else str, default=None if is_path else ""
            )
    return parser


_PATHS = ("schema", "output", "key", "certificate", "sign-key", "passphrase-file")
_CHECKING = ("schema", "receiving", "environment", "code-set")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "pin": ("root",),
    "check": _CHECKING,
    "status-message": (
        *_CHECKING, "output", "language", "original-id", "message-id", "sender", "recipient",
        "time",
    ),
    "read-status": (),
    "key": ("year",),
    "refs": ("key", "output"),
    "package": (
        "output", "certificate", "sign-key", "passphrase-file", "sign-certificate", "sender",
        "recipient", "communication", "year",
    ),
    "unpackage": ("output", "key", "passphrase-file", "sender-certificate"),
}  # fmt: skip


def _pin(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"manifest": pin_folder(arguments.file, arguments.root)}


def _check(arguments: argparse.Namespace) -> dict[str, Any]:
    return _tell_report(_run_check(arguments), _code_set(arguments))


def _run_check(arguments: argparse.Namespace) -> Report:
    setting = Setting(
        receiving=arguments.receiving, environment=arguments.environment or "production"
    )
    return check_file(arguments.file, load_schema(arguments.schema), setting)


def _code_set(arguments: argparse.Namespace) -> str:
    return arguments.code_set or CODE_SETS[0]


def _tell_report(report: Report, code_set: str) -> dict[str, Any]:
    names = read_code_set(code_set)
    codes = sorted({finding.code for finding in report.findings})
    reasons = sorted({finding.reason for finding in report.findings} - {""})
    return {
        "report": {**msgspec.to_builtins(report), "rejected": report.is_rejected},
        "codes": {str(code): names.get(code, {}) for code in codes},
        "reasons": {reason: _words_of_reason(reason) for reason in reasons},
    }


def _words_of_reason(reason: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in LANGUAGES:
        words = catalogue(name)
        found[name] = words["reasons"].get(reason) or words["refusals"][reason]["title"]
    return found


def _status_message(arguments: argparse.Namespace) -> dict[str, Any]:
    report, code_set = _run_check(arguments), _code_set(arguments)
    header = report.header
    status = make_status(
        report,
        original_id=arguments.original_id or header.message_id,
        transmitting=arguments.sender or header.receiving,
        receiving=arguments.recipient or header.transmitting,
        message_id=arguments.message_id,
        timestamp=arguments.time or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        language=arguments.language,
        code_set=code_set,
    )
    _write(arguments.output, write_status(status))
    return {**_tell_report(report, code_set), "status": msgspec.to_builtins(status)}


def _read_status(arguments: argparse.Namespace) -> dict[str, Any]:
    status = read_status(arguments.file.read_bytes())
    known = {code: names for name in CODE_SETS for code, names in read_code_set(name).items()}
    codes = {each.code for each in status.file_errors}
    codes |= {each.code for each in status.record_errors}
    return {
        "status": msgspec.to_builtins(status),
        "codes": {str(code): known.get(code, {}) for code in sorted(codes)},
    }


def _key(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.year:
        key = make_key(arguments.file, arguments.year)
    else:
        key = read_key(arguments.file)
    return {"key_id": key.id.hex(), "year": key.year}


def _refs(arguments: argparse.Namespace) -> dict[str, Any]:
    key = read_key(arguments.key)
    lines, count = [], 0
    for batch in read_references(arguments.file, key):
        count += len(batch["references"])
        lines.append(json.dumps(batch, sort_keys=True) + "\n")
    _write(arguments.output, "".join(lines).encode("ascii"))
    return {"batches": len(lines), "references": count, "key_id": key.id.hex()}


def _package(arguments: argparse.Namespace) -> dict[str, Any]:
    receiver = public_key(_read_certificate(arguments.certificate))
    message = arguments.file.read_bytes()
    if arguments.sign_key is not None:
        own = _read_private_key(arguments.sign_key, arguments.passphrase_file)
        message = sign_message(message, own, _read_certificate(Path(arguments.sign_certificate)))
    now = datetime.now(UTC)
    parties = Parties(
        sender=arguments.sender,
        receiver=arguments.recipient,
        communication=arguments.communication or "CRS",
        year=arguments.year,
        file_id=arguments.file.name,
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    data = pack(message, parties, receiver)
    _write(arguments.output, data)
    return {
        "size_bytes": len(data),
        "fingerprint": fingerprint(receiver),
        "signed": arguments.sign_key is not None,
    }


def _unpackage(arguments: argparse.Namespace) -> dict[str, Any]:
    own = _read_private_key(arguments.key, arguments.passphrase_file)
    message, metadata = unpack(arguments.file.read_bytes(), own)
    is_signed = bool(arguments.sender_certificate)
    if is_signed:
        message = open_message(message, _read_certificate(Path(arguments.sender_certificate)))
    _write(arguments.output, message)
    return {
        "size_bytes": len(message),
        "fingerprint": fingerprint(own.public_key()),
        "signed": is_signed,
        "metadata": metadata,
    }


_VERBS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "pin": _pin,
    "check": _check,
    "status-message": _status_message,
    "read-status": _read_status,
    "key": _key,
    "refs": _refs,
    "package": _package,
    "unpackage": _unpackage,
}


def _read_certificate(path: Path) -> Certificate:
    try:
        return load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise InvalidKey("crs-certificate-unreadable", path.name) from None


def _read_private_key(path: Path, passphrase_file: Path | None) -> rsa.RSAPrivateKey:
    said = None if passphrase_file is None else passphrase_file.read_bytes().rstrip(b"\r\n")
    try:
        key = load_pem_private_key(path.read_bytes(), said)
    except (ValueError, TypeError):
        raise InvalidKey("crs-key-unreadable", path.name) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidKey("crs-key-unreadable", path.name)
    return key


def _write(path: Path, data: bytes) -> None:
    """A new file with mode 0600, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    if path.exists():
        raise FileExistsError(17, "exists", str(path))
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    partial.replace(path)
