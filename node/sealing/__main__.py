"""`python -m node.sealing`: how fast this machine seals and opens, on one core, as JSON.

The payload is made as it is needed and dropped as it is opened, so that memory shows what sealing
itself holds. Times are of the processor: other work on the machine does not count.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.sealing.format import CHUNK_BYTES, Context
from node.sealing.keys import generate_key
from node.sealing.opener import Opener
from node.sealing.sealer import Sealer

RAW_BLOCKS_MAX = 512
CONTEXT = Context(
    network=bytes(32),
    exchange=bytes(32),
    requester="requester",
    provider="provider",
    dataset="dataset",
)


def measure(megabytes: int) -> dict[str, int | float]:
    """Figures of one payload of `megabytes` (10^6 bytes), rounded up to whole chunks."""
    blocks = -(-megabytes * 10**6 // CHUNK_BYTES)
    block = os.urandom(CHUNK_BYTES)
    before_mb = _peak_mb()
    seal_s, open_s = _measure_payload(block, blocks)
    peak_mb = _peak_mb()
    raw_blocks = min(blocks, RAW_BLOCKS_MAX)
    raw_seal_s, raw_open_s = _measure_raw(block, raw_blocks)
    return {
        "payload_mb": blocks * CHUNK_BYTES // 10**6,
        "seal_mb_s": _rate(blocks, seal_s),
        "open_mb_s": _rate(blocks, open_s),
        "together_mb_s": _rate(blocks, seal_s + open_s),
        "raw_seal_mb_s": _rate(raw_blocks, raw_seal_s),
        "raw_open_mb_s": _rate(raw_blocks, raw_open_s),
        "raw_together_mb_s": _rate(raw_blocks, raw_seal_s + raw_open_s),
        "peak_memory_mb": peak_mb,
        "memory_growth_mb": round(peak_mb - before_mb, 1),
    }


def _measure_payload(block: bytes, blocks: int) -> tuple[float, float]:
    key = generate_key()
    started = time.process_time()
    sealer = Sealer(key.public, CONTEXT)
    seal_s = time.process_time() - started
    started = time.process_time()
    opener = Opener(key, CONTEXT, sealer.header)
    open_s = time.process_time() - started
    for number in range(1, blocks + 1):
        started = time.process_time()
        sealer.receive(block)
        chunk = sealer.next_chunk()
        sealed = (chunk or b"") + (sealer.finish() if number == blocks else b"")
        middle = time.process_time()
        opener.receive(sealed)
        while opener.next_chunk() is not None:
            pass
        open_s += time.process_time() - middle
        seal_s += middle - started
    started = time.process_time()
    opener.finish(sealer.commitment)
    return seal_s, open_s + time.process_time() - started


def _measure_raw(block: bytes, blocks: int) -> tuple[float, float]:
    """The cipher alone, the floor of what sealing can take."""
    cipher = AESGCM(AESGCM.generate_key(256))
    seal_s = open_s = 0.0
    for number in range(blocks):
        nonce = number.to_bytes(12, "big")
        started = time.process_time()
        sealed = cipher.encrypt(nonce, block, None)
        middle = time.process_time()
        cipher.decrypt(nonce, sealed, None)
        open_s += time.process_time() - middle
        seal_s += middle - started
    return seal_s, open_s


def _rate(blocks: int, seconds: float) -> int:
    return round(blocks * CHUNK_BYTES / 10**6 / max(seconds, 1e-6))


def _peak_mb() -> float:
    """Peak memory of this process alone; `ru_maxrss` would count what started it."""
    status = Path("/proc/self/status").read_text("ascii")
    line = next(line for line in status.split("\n") if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) * 1_024 / 10**6, 1)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m node.sealing", description=__doc__)
    parser.add_argument("--megabytes", type=int, required=True, help="size of the payload")
    arguments = parser.parse_args()
    sys.stdout.write(json.dumps(measure(max(1, arguments.megabytes))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
