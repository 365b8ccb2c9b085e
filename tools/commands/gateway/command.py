"""`tally gateway`: the process in the place of this one, and what people ask it and tell it."""

import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from contracts.words import Language
from contracts.words import catalogue as rule_words
from tools.commands.gateway import asking, making
from tools.commands.gateway.sockets import socket_options
from tools.exits import ERROR, FailedNode, Interrupted
from tools.founding import write_secret
from tools.gateway.socket import GatewaySocket
from tools.options import WordGroup, common, option
from tools.output import confirm, emit, format_table, printable, read_refusal
from tools.words import catalogue, language, say
from tools.words.codes import tell_code

FILE = click.Path(path_type=Path, dir_okay=False)
DIGITS_SHOWN = 16
CHECK_S_MAX = 300
CONFIG = option("--config", type=FILE, required=True, help="option.gateway_config")
STAGES = (
    "review", "ask", "prepare", "refer", "deliver", "offered", "learn", "settled",
    "request", "open", "fetch", "check", "hand", "answer", "kept", "erase", "attest",
    "held", "closed",
)  # fmt: skip


@click.group(cls=WordGroup, help="help.gateway")
def command() -> None:
    """Group."""


for _each in (*making.COMMANDS, *asking.COMMANDS):
    command.add_command(_each)


@command.command("run", help="help.gateway_run")
@CONFIG
def run(config: Path) -> None:
    """Become the gateway; signals reach it directly."""
    arguments = [sys.executable, "-m", "node.gateway", "--config", str(config)]
    arguments += ["--lang", language()]
    os.execv(sys.executable, arguments)  # noqa: S606 - our own program, no shell


@command.command("check", help="help.gateway_check")
@CONFIG
@common
def check(config: Path, as_json: bool) -> None:
    """Try connectors and receiver, as another program: `tools` has no part of a node."""
    words = [sys.executable, "-m", "node.gateway.work.plugs", "--config", str(config)]
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [*words, "--language", language()],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHECK_S_MAX,
    )
    if done.returncode:
        raise read_refusal(done) or FailedNode("gateway-check", done.stderr.strip())
    document = json.loads(done.stdout)
    rows = [_plug_row(plug) for plug in document["plugs"]]
    head = [say(f"column.{name}") for name in ("setting", "plug", "state")]
    emit(as_json, document, format_table(head, rows))
    for plug in document["plugs"]:
        if plug["code"] and not as_json:
            detail = f"{plug['table']}: {plug['detail']}\n  {plug['advice']}"
            click.echo(printable(detail), err=True)
    if any(plug["code"] for plug in document["plugs"]):
        click.get_current_context().exit(ERROR)


def _plug_row(plug: dict[str, Any]) -> list[str]:
    good = click.style(say("gateway.good"), fg="green")
    bad = click.style(f"{printable(plug['title'])} [{printable(plug['code'])}]", fg="red")
    return [printable(plug["table"]), printable(plug["name"]), bad if plug["code"] else good]


@command.command("status", help="help.gateway_status")
@socket_options
def status(gateway: GatewaySocket, as_json: bool) -> None:
    """Show how far the gateway has followed the chain, and how many exchanges are where."""
    document = gateway.get("/v1/status")
    rows = [
        [tell_side(row["side"]), tell_stage(row["stage"]), str(row["count"])]
        for row in document["jobs"]
    ]
    text = say("gateway.standing", member=document["member"], height=document["height"])
    if rows:
        head = [say(f"column.{name}") for name in ("side", "stage", "count")]
        text += f"\n{format_table(head, rows)}"
    emit(as_json, document, text)


@command.command("jobs", help="help.gateway_jobs")
@option("--stage", type=click.Choice(STAGES), help="option.job_stage")
@socket_options
def jobs(gateway: GatewaySocket, stage: str | None, as_json: bool) -> None:
    """List exchanges, those of one stage with --stage."""
    found = gateway.jobs(stage or "")
    head = [
        say(f"column.{name}")
        for name in ("exchange", "side", "stage", "partner", "dataset", "fault")
    ]
    rows = [
        [
            row["exchange"][:DIGITS_SHOWN],
            tell_side(row["side"]),
            _stage_and_status(row),
            printable(row["partner"]),
            printable(row["dataset"]),
            printable(row["title"]) or "-",
        ]
        for row in found
    ]
    emit(as_json, {"items": found}, format_table(head, rows) if rows else say("gateway.no_jobs"))


@command.command("show", help="help.gateway_show")
@click.argument("exchange")
@socket_options
def show(gateway: GatewaySocket, exchange: str, as_json: bool) -> None:
    """Show one exchange, what it waits for, and what is wrong."""
    job = gateway.find(exchange)
    emit(as_json, job, tell_job(job))


@command.command("retry", help="help.gateway_retry")
@click.argument("exchange")
@socket_options
def retry(gateway: GatewaySocket, exchange: str, as_json: bool) -> None:
    """Go on with an exchange that is held or pauses."""
    job = gateway.find(exchange)
    told = gateway.post(f"/v1/jobs/{job['side']}/{job['exchange']}/retry")
    emit(as_json, told, say("gateway.goes_on", stage=tell_stage(told["stage"])))


@command.command("correct", help="help.gateway_correct")
@click.argument("exchange")
@option("--reason", required=True, help="option.correction_reason")
@option("--text", default="", help="option.comment")
@socket_options
def correct(gateway: GatewaySocket, exchange: str, reason: str, text: str, as_json: bool) -> None:
    """Prepare the records anew and deliver them as a correction."""
    job = gateway.find(exchange)
    order = {"reason": reason, "text": text}
    told = gateway.post(f"/v1/jobs/provide/{job['exchange']}/correct", order)
    emit(as_json, told, say("gateway.correcting", number=told["correction"]))


@command.command("destroy", help="help.gateway_destroy")
@click.argument("exchange")
@option("--yes", is_flag=True, help="option.yes")
@socket_options
def destroy(gateway: GatewaySocket, exchange: str, yes: bool, as_json: bool) -> None:
    """Erase what was received now, and attest that on the ledger."""
    job = gateway.find(exchange)
    question = say("gateway.destroy_question", **job)
    if not yes and not confirm(question):
        raise Interrupted("not-destroyed", job["exchange"])
    told = gateway.post(f"/v1/jobs/acquire/{job['exchange']}/destroy")
    emit(as_json, told, say("gateway.destroying"))


@command.command("subjects", help="help.gateway_subjects")
@click.argument("exchange")
@socket_options
def subjects(gateway: GatewaySocket, exchange: str, as_json: bool) -> None:
    """Show whom a request is about; the blinds stand in the JSON only."""
    job = gateway.find(exchange)
    told = gateway.get(f"/v1/jobs/acquire/{job['exchange']}/subjects")
    emit(as_json, told, "\n".join(printable(each["id"]) for each in told["subjects"]))


@command.command("status-message", help="help.gateway_status_message")
@click.argument("exchange")
@option("--output", "-o", type=FILE, required=True, help="option.crs_output")
@socket_options
def status_message(gateway: GatewaySocket, exchange: str, output: Path, as_json: bool) -> None:
    """Write what the requester says of a message of the reporting standard."""
    job = gateway.find(exchange)
    told = gateway.get(f"/v1/jobs/{job['side']}/{job['exchange']}/status-message")
    write_secret(output, base64.b64decode(told["document"], validate=True))
    number = told["correction"]
    text = say("gateway.status_written", number=number, path=str(output))
    emit(as_json, {"correction": number, "file": str(output)}, text)


def tell_side(side: str) -> str:
    """The side of an exchange in a word."""
    return catalogue(language()).get(f"job_side.{side}", printable(side))


def tell_stage(stage: str) -> str:
    """A stage in a word; one of a newer gateway than this program stays as it is."""
    return catalogue(language()).get(f"job_word.{stage}", printable(stage))


def tell_status(status: str) -> str:
    """What the ledger says of an exchange, in a word."""
    lang: Language = "zh" if language() == "zh" else "en"
    known = rule_words(lang)["statuses"]
    return str(known.get(status, printable(status)))


def _stage_and_status(job: dict[str, Any]) -> str:
    """The stage; of an exchange that is over, how it ended."""
    stage = tell_stage(job["stage"])
    is_over = job["stage"] == "closed" and job["status"]
    return f"{stage}{say('word.colon')}{tell_status(job['status'])}" if is_over else stage


def tell_job(job: dict[str, Any]) -> str:
    """One exchange for people, a line for each thing that there is to say."""
    facts = {
        "exchange": job["exchange"],
        "side": tell_side(job["side"]),
        "partner": job["partner"],
        "dataset": job["dataset"],
        "purpose": job["purpose"],
        "stage": tell_stage(job["stage"]),
        "status": tell_status(job["status"]),
        "records": job["record_count"],
        "size": None if job["size_bytes"] is None else f"{job['size_bytes']:,} B",
        "correction": job["correction"] or None,
        "codes": ", ".join(tell_code(str(code)) for code in job["codes"]),
        "attempts": job["attempts"] or None,
        "wakes": _time(job["wake_ms"]),
    }
    lines = [
        f"{say(f'column.{name}')}{say('word.colon')}{printable(str(value))}"
        for name, value in facts.items()
        if value not in (None, "")
    ]
    meaning = catalogue(language()).get(f"job_stage.{job['stage']}", "")
    lines += [f"  {meaning}"] if meaning else []
    if job["fault"]:
        head = f"{printable(job['title'])} [{printable(job['fault'])}]"
        lines += [click.style(head, fg="red")]
        lines += [f"  {printable(text)}" for text in (job["detail"], job["advice"]) if text]
    elif job["detail"]:
        lines.append(f"  {printable(job['detail'])}")
    return "\n".join(lines)


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z" if time_ms else ""
