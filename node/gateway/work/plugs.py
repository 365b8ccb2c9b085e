"""`python -m node.gateway.work.plugs --config gateway.toml`: try connectors and the receiver.

Each is made and asked whether it can work, in a child as the gateway uses them; no key is needed.
So are schema and reference keys of messages.
Prints one JSON document: `{"plugs": [{"table", "name", "code", "title", "detail", "advice"}, …]}`;
an empty code means that all is well. Exit code 1 and `{"refused": {…}}` where the configuration has
faults.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import msgspec

from contracts.words import LANGUAGES, Language
from node.errors import InvalidConfig
from node.gateway.config import GatewayConfig, read_gateway_config
from node.gateway.jobs import Failed
from node.gateway.words import describe
from node.gateway.work.pool import Pool
from node.gateway.work.tasks import Done, Probe, Setup
from node.words import refuse_as_json

MB = 1_000_000


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one plug."""

    table: str
    name: str
    code: str = ""
    title: str = ""
    detail: str = ""
    advice: str = ""


async def try_plugs(config: GatewayConfig, language: Language) -> list[Told]:
    """What is wrong with each plug of a configuration, the receiver first."""
    settings = config.settings
    setup = Setup(
        network=bytes(32),
        member=settings["gateway", "member"],
        seeds=(),
        connectors=config.connectors,
        receiver=config.receiver,
        base=str(settings.file.parent),
        memory_bytes_max=settings["work", "memory_mb"] * MB,
        messages=config.messages,
    )
    pool = Pool(setup, size=1, stall_s=settings["work", "stall_seconds"])
    found = []
    try:
        plugs = [("receiver", config.receiver.name, Probe(dataset=""))]
        plugs += [
            (f"datasets.{dataset}", plug.name, Probe(dataset=dataset))
            for dataset, plug in config.connectors.items()
        ]
        plugs += [
            (f"messages.{dataset}", "crs", Probe(dataset=dataset, is_message=True))
            for dataset in config.messages
        ]
        for table, name, task in plugs:
            try:
                await pool.run(task, Done)
            except Failed as error:
                told = describe(error.code, error.detail, language)
                found.append(
                    Told(
                        table=table,
                        name=name,
                        code=error.code,
                        title=told.title,
                        detail=error.detail,
                        advice=told.advice,
                    )
                )
            else:
                found.append(Told(table=table, name=name))
    finally:
        await pool.close()
    return found


def main() -> int:
    """Try the plugs of the configuration that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m node.gateway.work.plugs", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    arguments = parser.parse_args()
    try:
        config = read_gateway_config(arguments.config)
    except InvalidConfig as error:
        return refuse_as_json(error, arguments.language)
    found = asyncio.run(try_plugs(config, arguments.language))
    sys.stdout.write(msgspec.json.encode({"plugs": found}).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
