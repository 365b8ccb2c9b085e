"""Children of a gateway with a plug-in of the test, and sealed payloads for them."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from node.gateway.jobs import Failed
from node.gateway.work.check import check
from node.gateway.work.pool import Pool
from node.gateway.work.prepare import payload_context
from node.gateway.work.tasks import About, Check, Checked, Plug, Prepare, Rules, Setup
from node.sealing.keys import DecryptionKey
from node.sealing.sealer import Sealer
from tests.builders import ASKER, NETWORK, OWNER, hash32

OWN_SEED, PARTNER_SEED = hash32("own seed"), hash32("partner seed")
OWN, PARTNER = DecryptionKey(OWN_SEED), DecryptionKey(PARTNER_SEED)
FIELDS = ("uscc", "name")
ABOUT = About(
    exchange=hash32("exchange"),
    correction=0,
    requester=ASKER,
    provider=OWNER,
    dataset="registration",
    purpose="assessment",
    fields=FIELDS,
    period_from="2026-01-01",
    period_to="2026-03-31",
)
RULES = Rules(version=1)

# A plug-in as agencies write them: `does` says how it fails.
PLUGIN = '''
import os, stat, sys, time
from node.connectors.errors import ConnectorFailed
from node.connectors.interface import Source
from node.gateway.work.tasks import Done, frame

SECRET = "91110000600037341L"
KNOWN = SECRET.encode()

def is_pipe(number):
    try: return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError: return False

class Odd:
    def __init__(self, options, base):
        self.does = options["does"]
        self.rows = options.get("rows", 0)
        self.encoding = options.get("encoding", "utf-8")
    def check(self): pass
    def close(self): pass
    def read(self, ask):
        if self.does == "exit": os._exit(7)
        if self.does == "leave": sys.exit(3)
        if self.does == "lie":
            for other in filter(is_pipe, range(3, 32)): os.write(other, frame(Done()))
        if self.does in ("hang", "lie"): time.sleep(600)
        if self.does == "eat": bytearray(8_000_000_000)
        if self.does == "raise": raise KeyError(SECRET)
        if self.does == "refuse": raise ConnectorFailed("portal-closed", "until 8", retry=False)
        return Source(format="jsonl", encoding=self.encoding, pieces=self.pieces())
    def pieces(self):
        if self.does == "print":
            print("x" * 100_000, flush=True)
            os.write(1, bytes(100_000))
        if self.does == "raise-late": raise ValueError(SECRET)
        if self.does == "exit-late": os._exit(7)
        if self.does == "slow":
            for _ in range(8):
                time.sleep(0.5)
                yield b""
        if self.does == "forbidden":
            yield b'{"uscc": "%b", "name": "abc", "representative": "bcd", "x": 1}\\n' % KNOWN
        if self.does == "bytes": yield "not bytes"
        for start in range(0, self.rows, 1_000):
            yield b"".join(
                b'{"uscc": "91110000600037341L", "name": "%08d %b"}\\n' % (n, b"n" * 60)
                for n in range(start, min(start + 1_000, self.rows))
            )
    def receive(self, delivery):
        if self.does == "raise": raise KeyError(next(iter(delivery.pieces)))
        for piece in delivery.pieces:
            if self.does == "exit": os._exit(7)
            if self.does == "hang": time.sleep(600)
    def erase(self, exchange):
        if self.does == "raise": raise KeyError(SECRET)
'''  # fmt: skip


def install(folder: Path) -> None:
    """A package with the plug-in `odd`, as pip leaves it; children find it by `PYTHONPATH`."""
    (folder / "odd_plugin.py").write_text(PLUGIN)
    info = folder / "odd_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-plugin\nVersion: 1.0\n")
    points = "\n".join(
        f"[tallystick.{kind}]\nodd = odd_plugin:Odd" for kind in ("connectors", "receivers")
    )
    (info / "entry_points.txt").write_text(points)


def make_setup(base: Path, **changed: Any) -> Setup:
    """Of the owner, with the plug-in for registrations."""
    setup = Setup(
        network=NETWORK,
        member=OWNER,
        seeds=(OWN_SEED,),
        connectors={"registration": Plug(name="odd", options={"does": "rows", "rows": 3})},
        receiver=Plug(name="odd", options={"does": "take"}),
        base=str(base),
        memory_bytes_max=1_000_000_000,
    )
    return msgspec.structs.replace(setup, **changed)


def odd(**options: Any) -> dict[str, Any]:
    """A change of the setup: what the connector does."""
    return {"connectors": {"registration": Plug(name="odd", options=options)}}


def make_prepare(path: Path, **changed: Any) -> Prepare:
    """Everything there is, sealed to the partner."""
    task = Prepare(
        about=ABOUT,
        rules=RULES,
        subjects=(),
        question=b"",
        recipient=PARTNER.public,
        path=str(path),
    )
    return msgspec.structs.replace(task, **changed)


def with_pool(
    base: Path,
    story: Callable[[Pool], Awaitable[None]],
    *,
    size: int = 1,
    stall_s: float = 60,
    **changed: Any,
) -> None:
    """Run a story with real children; none is left afterwards."""

    async def main() -> None:
        pool = Pool(make_setup(base, **changed), size=size, stall_s=stall_s)
        try:
            async with asyncio.timeout(120):
                await story(pool)
        finally:
            await pool.close()
            assert not pool._all

    asyncio.run(main())


async def refusal(work: Awaitable[object]) -> Failed:
    try:
        await work
    except Failed as error:
        return error
    raise AssertionError("it did not fail")


def lines(*rows: Mapping[str, Any]) -> bytes:
    """Rows as a sealed payload holds them."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def seal(path: Path, plaintext: bytes, *, about: About = ABOUT, key: DecryptionKey = OWN) -> bytes:
    """A payload in a file; returns its commitment."""
    sealer = Sealer(key.public, payload_context(NETWORK, about), chunk_bytes=65_536)
    data = bytearray(sealer.header)
    for at in range(0, len(plaintext), 65_536):
        sealer.receive(plaintext[at : at + 65_536])
        while (chunk := sealer.next_chunk()) is not None:
            data += chunk
    path.write_bytes(data + sealer.finish())
    return sealer.commitment


def verdict(path: Path, commitment: bytes, records: int, **changed: Any) -> Checked:
    """What the requester would put on the ledger about a file."""
    task = Check(
        about=changed.pop("about", ABOUT),
        rules=changed.pop("rules", RULES),
        commitment=commitment,
        record_count=records,
        path=str(path),
    )
    seeds = changed.pop("keys", (OWN,))
    setup = make_setup(path.parent, member=ASKER, **changed)
    return check(setup, seeds, task, lambda _: None)


def environment(site: Path) -> str:
    """`PYTHONPATH` with a folder of plug-ins in front."""
    before = os.environ.get("PYTHONPATH", "")
    return f"{site}:{before}" if before else str(site)
