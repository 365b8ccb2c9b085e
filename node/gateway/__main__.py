"""`python -m node.gateway --config gateway.toml`: run the gateway of an agency."""

import argparse
import asyncio
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import structlog

from contracts.words import LANGUAGES, Language
from node.config import Config
from node.custody.keys import KeyReader, file_of_secret
from node.daemon import configure_logging, run_loop
from node.errors import InvalidConfig, NodeError, StartRefused, TokenFailed, system_refused
from node.gateway.chain import Chain, client_tls
from node.gateway.config import GatewayConfig, read_gateway_config
from node.gateway.jobs import Failed
from node.gateway.service import Keys, Place, Service
from node.gateway.signing import Signing
from node.gateway.words import describe
from node.startup import lock_data_dir
from node.words import refuse, tell

LOG = structlog.get_logger("gateway")
PROGRAM = "tally gateway"
MB = 1_000_000


def read_keys(config: Config) -> Keys:
    """All keys of the gateway, each readable, whole and private. Raises `StartRefused`."""
    reader = KeyReader(config)
    officer = reader.open_signing_key("officer")
    newest = reader.read_decryption_key(config.path("keys", "decryption"))
    folder = config.file.parent
    older = [
        reader.read_decryption_key((folder / path).resolve())
        for path in config["keys", "decryption_before"]
    ]
    pem, was_sealed = reader.read_tls_key()
    return Keys(
        officer=officer,
        seeds=(newest, *older),
        certificate_file=str(config.path("keys", "tls_certificate")),
        key_file=file_of_secret(pem) if was_sealed else str(config.path("keys", "tls_key")),
    )


def read_place(config: Config) -> Place:
    """Where the gateway works."""
    data_dir = config.path("gateway", "data_dir")
    return Place(
        listen=config["gateway", "listen"],
        metrics=config["metrics", "listen"],
        data_dir=data_dir,
        socket=data_dir / config["gateway", "socket"],
        base=config.file.parent,
        drop=config.path("gateway", "drop") if config["gateway", "drop"] else None,
        outbox_days=config["gateway", "outbox_days"],
        in_flight_max=config["gateway", "in_flight_max"],
        processes=config["work", "processes"],
        stall_s=config["work", "stall_seconds"],
        memory_bytes_max=config["work", "memory_mb"] * MB,
    )


async def serve(config: GatewayConfig, keys: Keys, on_started: Callable[[str, str], None]) -> None:
    """Run until SIGTERM or SIGINT; raises what made a part fail."""
    settings = config.settings
    ca = settings.path("gateway", "node_ca") if settings["gateway", "node_ca"] else None
    member = settings["gateway", "member"]
    async with Chain(settings["gateway", "node"], member, tls=client_tls(ca)) as chain:
        signing = Signing(keys.officer, member, await chain.network(), chain)
        await signing.verify_roles()
        service = Service(
            chain=chain,
            signing=signing,
            keys=keys,
            place=read_place(settings),
            connectors=config.connectors,
            receiver=config.receiver,
            schedules=config.schedules,
            messages=config.messages,
        )
        task = asyncio.create_task(service.run(on_started))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            LOG.info("gateway stopped", height=signing.height)


def run(path: Path, language: Language = "en") -> int:
    """Start a gateway and return its exit code."""
    try:
        config = read_gateway_config(path)
    except InvalidConfig as error:
        return refuse(PROGRAM, error, language)
    settings = config.settings
    if config.messages and find_spec("lxml") is None:
        told = describe("crs-extra-missing", "[messages]: lxml", language)
        return tell(PROGRAM, told, language)
    configure_logging(settings)

    def on_started(address: str, figures: str) -> None:
        LOG.info(
            "gateway started", member=settings["gateway", "member"], listen=address, metrics=figures
        )

    data_dir = settings.path("gateway", "data_dir")
    try:
        # A crash must not leave keys in a file.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_data_dir(data_dir)
        run_loop(serve(config, read_keys(settings), on_started))
    except (NodeError, OSError, sqlite3.Error) as error:
        return refuse(PROGRAM, _refusal(error, data_dir), language)
    except Failed as error:
        # What its own node answered, or did not.
        return tell(PROGRAM, describe(error.code, error.detail, language), language)
    return 0


def _refusal(error: Exception, data_dir: Path) -> StartRefused:
    """What ends a gateway, as that which has words."""
    if isinstance(error, StartRefused):
        return error
    if isinstance(error, TokenFailed):
        return StartRefused("start-token-failed", setting="[keys] officer", reason=error)
    if isinstance(error, sqlite3.Error):
        return StartRefused("start-jobs-unwritable", path=data_dir, reason=error)
    return system_refused(error)


def main() -> int:
    """Entry point of `python -m node.gateway`."""
    parser = argparse.ArgumentParser(prog="python -m node.gateway", description="Run a gateway.")
    parser.add_argument("--config", type=Path, required=True, help="path of gateway.toml")
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="language of the texts")
    arguments = parser.parse_args()
    if not __debug__:
        return refuse(PROGRAM, StartRefused("start-optimized"), arguments.lang)
    return run(arguments.config, arguments.lang)


if __name__ == "__main__":
    sys.exit(main())
