"""Summing up the pairs of a state in a process of its own, beside the interpreter lock of the node.

    stdin    parts, each a length u32 and MessagePack [[key, value], ...]
    stdout   for each part its accumulator (2,048 bytes, `ledger.state`)

The process ends with its input, so it never outlives the node, however that ends.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from ledger.lthash.digest import LANES_BYTES, sum_pairs

_PARTS = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])
_LENGTH_BYTES = 4


def encode_part(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A part of these pairs."""
    return msgspec.msgpack.encode(pairs)


def sum_part(part: bytes) -> bytes:
    """Accumulator of the pairs of a part."""
    return sum_pairs(_PARTS.decode(part))


class SummingProcess:
    """The other end: started when first needed, one part at a time."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def sum(self, part: bytes) -> bytes | None:
        """Accumulator of a part; None when there is no such process (any more)."""
        async with self._turn:
            try:
                if self._process is None:
                    self._process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-m",
                        "node.engine.summing",
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.PIPE,
                    )
                writer, reader = self._process.stdin, self._process.stdout
                assert writer is not None
                assert reader is not None
                writer.write(len(part).to_bytes(_LENGTH_BYTES, "big") + part)
                await writer.drain()
                return await reader.readexactly(LANES_BYTES)
            except (OSError, asyncio.IncompleteReadError):
                return None

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await process.wait()


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Sum up parts until there is no more input."""
    while head := source.read(_LENGTH_BYTES):
        sink.write(sum_part(source.read(int.from_bytes(head, "big"))))
        sink.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
