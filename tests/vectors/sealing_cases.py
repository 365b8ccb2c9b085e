"""Frozen sealed payloads: `python -m tests.vectors.sealing_cases` adds what is missing.

Sealing is randomised, so what is frozen must open; a case in the file is never changed.
"""

import json
from pathlib import Path

from node.sealing.format import Context
from node.sealing.keys import DecryptionKey
from node.sealing.sealer import Sealer

FILE = Path(__file__).parent / "sealing" / "payloads.json"
KEY = DecryptionKey(bytes(range(32)))
CONTEXT = Context(
    network=b"\x5a" * 32,
    exchange=b"\xe1" * 32,
    requester="shanghai",
    provider="zhejiang",
    dataset="vat-invoices",
)
CHUNK_BYTES = 1_024
PLAINTEXTS = {
    "short": "符契".encode(),
    "empty": b"",
    "one-full-chunk": bytes(range(256)) * 4,
    "three-chunks": bytes(range(250)) * 10,
}


def seal_case(plaintext: bytes) -> dict[str, str]:
    """A payload with all that is needed to open it, in hex."""
    sealer = Sealer(KEY.public, CONTEXT, chunk_bytes=CHUNK_BYTES)
    sealer.receive(plaintext)
    sealed = sealer.header
    while (chunk := sealer.next_chunk()) is not None:
        sealed += chunk
    sealed += sealer.finish()
    return {
        "plaintext": plaintext.hex(),
        "blind": sealer.blind.hex(),
        "commitment": sealer.commitment.hex(),
        "sealed": sealed.hex(),
    }


def read_cases() -> dict[str, dict[str, str]]:
    """The cases in the file."""
    cases: dict[str, dict[str, str]] = json.loads(FILE.read_text("utf-8"))
    return cases


if __name__ == "__main__":
    frozen = read_cases() if FILE.exists() else {}
    made = {name: seal_case(PLAINTEXTS[name]) for name in PLAINTEXTS if name not in frozen}
    FILE.write_text(json.dumps(frozen | made, indent=1) + "\n", "utf-8")
