"""`tally audit witness`: cosign checkpoints of logs that only grow."""

import asyncio
import time
from pathlib import Path

import click

from ledger.errors import LedgerError
from ledger.tlog.note import ED25519, VerifierKey
from ledger.tlog.policy import Policy
from tools.audit.witnessing.witness import CosigningKey, Witness, judges_of
from tools.custody.passphrase import Ways, passphrase_options
from tools.custody.signer import open_signer
from tools.exits import InvalidInput, InvalidUsage
from tools.mirror import held
from tools.options import WordCommand, common, option
from tools.output import emit, run_until_stopped
from tools.words import say

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("witness", cls=WordCommand, help="help.audit_witness")
@option("--listen", required=True, help="option.witness_listen")
@option("--name", required=True, help="option.witness_name")
@option("--key", required=True, help="option.witness_key")
@option("--log", "logs", multiple=True, help="option.witness_log")
@option("--policy", "policies", multiple=True, type=_FILE, help="option.witness_policy")
@option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("witness"),
    show_default=True,
    help="option.witness_state",
)
@passphrase_options
@common
def witness(
    listen: str,
    name: str,
    key: str,
    logs: tuple[str, ...],
    policies: tuple[Path, ...],
    state: Path,
    ways: Ways,
    as_json: bool,
) -> None:
    """Answer until stopped."""
    judges = judges_of(tuple(map(_parse_log, logs)), tuple(map(_read_policy, policies)))
    if not judges:
        raise InvalidUsage("witness-logs", "--log, --policy")
    address = _parse_address(listen)
    try:
        cosigner = CosigningKey(name=name, signer=open_signer(key, ways))
    except LedgerError as error:
        raise InvalidInput("witness-name", f"{name}: {error}") from None
    # Two that answer from one state would cosign two histories.
    with held(state, is_folder=True):
        served = Witness(cosigner, judges, state, lambda: int(time.time()))
        run_until_stopped(_serve(served, cosigner, address, sorted(judges), as_json))


async def _serve(
    served: Witness,
    key: CosigningKey,
    address: tuple[str, int],
    origins: list[str],
    as_json: bool,
) -> None:
    from tools.audit.witnessing.served import listening

    try:
        async with listening(served, address) as url:
            document = {"url": url, "vkey": key.verifier.format(), "logs": origins}
            emit(
                as_json, document, say("audit.witness", **{**document, "logs": ", ".join(origins)})
            )
            await asyncio.Event().wait()
    except OSError as error:
        raise InvalidInput("listen-failed", f"{address[0]}:{address[1]}: {error}") from None


def _parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise InvalidInput("listen-invalid", text)
    return host.strip("[]"), int(port)


def _parse_log(text: str) -> VerifierKey:
    try:
        key = VerifierKey.parse(text)
    except LedgerError as error:
        raise InvalidInput("vkey-invalid", f"{text}: {error}") from None
    if key.kind != ED25519:
        raise InvalidInput("vkey-invalid", text)
    return key


def _read_policy(path: Path) -> Policy:
    try:
        return Policy.parse(path.read_bytes())
    except OSError as error:
        raise InvalidInput("file-unreadable", f"{path}: {error.strerror}") from None
    except LedgerError as error:
        raise InvalidInput("policy-invalid", f"{path}: {error}") from None
