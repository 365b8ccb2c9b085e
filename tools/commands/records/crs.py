"""`tally crs`: messages of the reporting standard, checked, answered, referenced and packed.

The work is done by another program, `python -m node.crs`: `tools` has no part of a node.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from tools.commands.records.programs import read_answer
from tools.exits import ERROR, InvalidInput
from tools.options import WordGroup, common, option
from tools.output import emit, format_table
from tools.words import language, say
from tools.words.codes import CODE_SETS

MANIFEST = "manifest.toml"
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_file = click.argument("file", type=_FILE)
_output = option("--output", "-o", type=_FILE, required=True, help="option.crs_output")
_passphrase = option("--passphrase-file", type=_FILE, help="option.passphrase_file")


def _checking(function: Any) -> Any:
    """Options of a check."""
    sets = click.Choice(CODE_SETS)
    function = option("--code-set", type=sets, default=CODE_SETS[0], help="option.crs_code_set")(
        function
    )
    environments = click.Choice(("production", "test"))
    function = option(
        "--environment", type=environments, default="production", help="option.crs_environment"
    )(function)
    function = option("--receiving", default="", help="option.crs_receiving")(function)
    return option("--schema", type=_FOLDER, required=True, help="option.crs_schema")(function)


@click.group(cls=WordGroup, help="help.crs")
def command() -> None:
    """Group."""


@command.command("pin", help="help.crs_pin")
@click.argument("folder", type=_FOLDER)
@option("--root", required=True, help="option.crs_root")
@common
def pin(folder: Path, root: str, as_json: bool) -> None:
    """Write the manifest of a schema folder."""
    path = folder / MANIFEST
    if path.exists():
        raise InvalidInput("file-exists", str(path))
    document = _run("pin", folder, root=root)
    path.write_text(document["manifest"], "utf-8")
    emit(as_json, document, document["manifest"])


@command.command("check", help="help.crs_check")
@_file
@_checking
@common
def check(file: Path, as_json: bool, **named: Any) -> None:
    """Check one message."""
    document = _run("check", file, **named)
    emit(as_json, document, _format_report(document))
    if document["report"]["findings"]:
        click.get_current_context().exit(ERROR)


@command.command("status-message", help="help.crs_status_message")
@_file
@_checking
@_output
@option("--message-id", required=True, help="option.crs_message_id")
@option("--original-id", default="", help="option.crs_original_id")
@option("--sender", default="", help="option.crs_sender")
@option("--recipient", default="", help="option.crs_recipient")
@common
def status_message(file: Path, as_json: bool, **named: Any) -> None:
    """Check one message and write the answer to its sender."""
    document = _run("status-message", file, language=language(), **named)
    emit(as_json, document, f"{_format_report(document)}\n\n{_format_status(document)}")


@command.command("read-status", help="help.crs_read_status")
@_file
@common
def read_status(file: Path, as_json: bool) -> None:
    """Show a status message that another authority has sent."""
    document = _run("read-status", file)
    emit(as_json, document, _format_status(document))


@command.command("key", help="help.crs_key")
@_file
@option("--year", default="", help="option.crs_key_year")
@common
def key(file: Path, year: str, as_json: bool) -> None:
    """Make the key of a year, or tell the id of one."""
    document = _run("key", file, year=year)
    emit(as_json, document, f"{document['year']}: {document['key_id']}")


@command.command("refs", help="help.crs_refs")
@_file
@option("--key", type=_FILE, required=True, help="option.crs_key")
@_output
@common
def refs(file: Path, as_json: bool, **named: Any) -> None:
    """Write the references of a message."""
    document = _run("refs", file, **named)
    emit(as_json, document, say("crs.referenced", **{k: str(v) for k, v in document.items()}))


@command.command("package", help="help.crs_package")
@_file
@option("--sender", required=True, help="option.crs_sender")
@option("--recipient", required=True, help="option.crs_recipient")
@option("--certificate", type=_FILE, required=True, help="option.crs_certificate")
@option("--sign-key", type=_FILE, help="option.crs_sign_key")
@option("--sign-certificate", type=_FILE, help="option.crs_sign_certificate")
@option("--communication", default="CRS", help="option.crs_communication")
@option("--year", required=True, help="option.crs_year")
@_passphrase
@_output
@common
def package(file: Path, as_json: bool, **named: Any) -> None:
    """Sign a message and pack it."""
    document = _run("package", file, **named)
    emit(as_json, document, _format_package(document))


@command.command("unpackage", help="help.crs_unpackage")
@_file
@option("--key", type=_FILE, required=True, help="option.crs_private_key")
@option("--sender-certificate", type=_FILE, help="option.crs_sender_certificate")
@_passphrase
@_output
@common
def unpackage(file: Path, as_json: bool, **named: Any) -> None:
    """Open a package and verify its signature."""
    document = _run("unpackage", file, **named)
    emit(as_json, document, _format_package(document))


def _run(verb: str, file: Path, **named: Any) -> dict[str, Any]:
    """The last line of the program."""
    words = [sys.executable, "-m", "node.crs", verb, str(file)]
    for name, value in named.items():
        if value:
            words.append(f"--{name.replace('_', '-')}={value}")
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    lines = done.stdout.strip().split("\n")
    document: dict[str, Any] = json.loads(lines[-1]) if lines[-1] else {}
    return read_answer(document, done.stderr)


def _format_report(document: dict[str, Any]) -> str:
    report = document["report"]
    head = report["header"]
    lines = [
        f"{say('crs.message')}: {head['message_id'] or '-'}",
        f"{say('crs.records')}: {report['records']:,}",
    ]
    rows = [
        (
            str(each["code"]),
            str(each["line"] or "-"),
            each["document_id"] or "-",
            _name_of(document["codes"], each["code"]),
            document["reasons"].get(each["reason"], {}).get(language(), ""),
        )
        for each in report["findings"]
    ]
    if not rows:
        return "\n".join([*lines, say("crs.good")])
    columns = [say(f"crs.{name}") for name in ("code", "line", "document", "meaning", "reason")]
    more = [say("crs.more", count=str(report["more"]))] if report["more"] else []
    return "\n".join([*lines, "", format_table(columns, rows), *more])


def _name_of(codes: dict[str, dict[str, str]], code: int) -> str:
    return codes.get(str(code), {}).get(language(), "")


def _format_status(document: dict[str, Any]) -> str:
    status = document["status"]
    rows = [
        (str(each["code"]), " ".join(each.get("documents", ())) or "-", each["details"])
        for each in (*status["file_errors"], *status["record_errors"])
    ]
    head = say("crs.answer", **{k: str(status[k]) for k in ("original_id", "status")})
    if not rows:
        return head
    columns = [say(f"crs.{name}") for name in ("code", "document", "meaning")]
    return f"{head}\n\n{format_table(columns, rows)}"


def _format_package(document: dict[str, Any]) -> str:
    signed = say("crs.signed" if document["signed"] else "crs.unsigned")
    size, used = f"{document['size_bytes']:,}", document["fingerprint"]
    return say("crs.packed", size=size, fingerprint=used, signed=signed)
