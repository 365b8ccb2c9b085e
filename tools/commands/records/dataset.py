"""`tally dataset`: what a record must be, sample records, and the quality of a file of records."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import click

from tools.commands.records.programs import read_answer
from tools.exits import ERROR, InvalidInput, InvalidUsage
from tools.options import WordGroup, common, option
from tools.output import emit, format_table, note, progress
from tools.words import language, say

DATASETS = ("registration", "filing", "incentive", "invoice", "account")
FORMATS = ("csv", "jsonl", "xml")
_COLOURS = {"reject": "red", "warn": "yellow", "fix": "cyan"}
_PROGRESS_ROWS = 10_000


@click.group(cls=WordGroup, help="help.dataset")
def command() -> None:
    """Group."""


@command.command("show", help="help.dataset_show")
@click.argument("dataset", type=click.Choice(DATASETS))
@common
def show(dataset: str, as_json: bool) -> None:
    """Fields, rules, sensitivity."""
    schema = json.loads((files("config") / "datasets" / f"{dataset}.json").read_bytes())
    title = "title_zh" if language() == "zh" else "title"
    rows = [
        (
            name,
            field[title],
            say(f"sensitivity.{field['x-sensitivity']}"),
            say("record.required") if name in schema["required"] else "",
            _rule_of(field),
        )
        for name, field in schema["properties"].items()
    ]
    head = [say(f"record.{name}") for name in ("field", "title", "sensitivity", "required", "rule")]
    emit(as_json, schema, f"{schema[title]}\n\n{format_table(head, rows)}")


def _rule_of(field: dict[str, Any]) -> str:
    for key in ("format", "x-code-list", "pattern"):
        if key in field:
            return str(field[key])
    return f"≤ {field['maxLength']}" if "maxLength" in field else ""


@command.command("sample", help="help.dataset_sample")
@option("--dataset", type=click.Choice(DATASETS), required=True, help="option.record_dataset")
@option("--rows", type=click.IntRange(1, 10_000_000), default=100, help="option.record_rows")
@option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, help="option.record_seed")
@option("--fault-rate", type=click.IntRange(0, 100), default=10, help="option.fault_rate")
@option("--format", "form", type=click.Choice(FORMATS), default="csv", help="option.record_format")
@option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="option.record_output",
)
def sample(
    dataset: str, rows: int, seed: int, fault_rate: int, form: str, output: Path | None
) -> None:
    """Write fictitious records; the same options give the same bytes."""
    from tools.sample.making import make_sample

    pieces = make_sample(dataset, form, rows=rows, seed=seed, fault_percent=fault_rate)
    if output is not None and output.exists():
        raise InvalidInput("file-exists", str(output))
    # Atomic enough: a sample that broke off can be made again, to the byte.
    sink: BinaryIO = sys.stdout.buffer if output is None else output.open("wb")
    try:
        with progress("record.making") as bar:
            for number, piece in enumerate(pieces):
                sink.write(piece)
                if number % _PROGRESS_ROWS == 0 and output is not None:
                    bar(min(number, rows), rows)
    finally:
        if output is not None:
            sink.close()
    if output is not None:
        note(say("record.made", rows=rows, path=output))


@command.command("check", help="help.dataset_check")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@option("--dataset", type=click.Choice(DATASETS), required=True, help="option.record_dataset")
@option("--fields", default="", help="option.record_fields")
@option("--format", "form", type=click.Choice(FORMATS), help="option.record_input")
@option(
    "--encoding",
    type=click.Choice(("utf-8", "gb18030")),
    default="utf-8",
    help="option.record_encoding",
)
@option("--amounts", type=click.Choice(("fen", "yuan")), default="fen", help="option.amounts")
@option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="option.record_clean",
)
@common
def check(file: Path, form: str | None, output: Path | None, as_json: bool, **named: str) -> None:
    """Run the node's pipeline over a file, as another program: `tools` has no part of a node."""
    form = form or file.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise InvalidUsage("record-format", str(file))
    if output is not None and output.exists():
        raise InvalidInput("file-exists", str(output))
    words = [sys.executable, "-m", "node.records", str(file), "--format", form]
    words += [f"--{name}={named[name]}" for name in named if named[name]]
    document = _run([*words, *(["--output", str(output)] if output else [])])
    emit(as_json, document, _format_report(document))
    if document["report"]["rejected"]:
        click.get_current_context().exit(ERROR)


def _run(words: list[str]) -> dict[str, Any]:
    """The last line of the program; lines before it move the bar."""
    document: dict[str, Any] = {}
    with subprocess.Popen(  # noqa: S603 - our own program, no shell
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with progress("record.checking") as bar:
            for line in process.stdout:
                told = json.loads(line)
                if "done_bytes" in told:
                    bar(told["done_bytes"], told["size_bytes"])
                else:
                    document = told
        trouble = process.stderr.read()
    return read_answer(document, trouble)


def _format_report(document: dict[str, Any]) -> str:
    report = document["report"]
    names = ("rows", "accepted", "rejected", "duplicates", "fixed", "warned")
    lines = [f"{say(f'record.{name}')}: {report[name]:,}" for name in names]
    rows = [
        (
            click.style(say(f"record.{row['severity']}"), fg=_COLOURS[row["severity"]]),
            row["rule"],
            row["field"],
            f"{row['count']:,}",
            " ".join(map(str, row["rows"])),
            document["words"][row["rule"]][language()],
        )
        for row in report["rules"]
    ]
    columns = ("severity", "rule", "field", "count", "examples", "meaning")
    if rows:
        lines += ["", format_table([say(f"record.{name}") for name in columns], rows)]
    return "\n".join([*lines, "", f"{say('record.digest')}: {document['digest']}"])
