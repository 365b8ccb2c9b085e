r"""Sealed payloads: one file for one recipient and one exchange.

A payload is a header and chunks. Integers are big-endian.

    header = prefix (77) || sealed secrets (1200)
    prefix = "tsealed" (7) || format version 0x01 || suite 0x01 || chunk size in bytes (4)
             || SHA-256 of the recipient's encryption key (32) || SHA-256 of the context (32)
    info   = "tallystick/sealing/v1\0" || prefix || context
    sealed secrets = HPKE base mode, single shot, to the recipient's key, with this info, no
             associated data: enc (1120) || ciphertext of content key (32) || blind (32), tag (16)
    binding = SHA-256(info || sealed secrets)
    chunk i = AES-256-GCM(content key, nonce, associated data = binding, plaintext i)
    nonce   = i (11) || 0x01 for the last chunk, 0x00 for all others

Suite 0x01 is HPKE (RFC 9180) with KEM MLKEM768-X25519 (id 0x647a), HKDF-SHA-256 and AES-256-GCM;
the chunks are STREAM (Hoang, Reyhanitabar, Rogaway, Vizar, CRYPTO 2015) over AES-256-GCM under a
content key used for this payload only. So a chunk that was altered, moved, dropped, or taken from
another payload does not open, and a payload without its last chunk is seen to be cut off.

The context (`Context`, canonical bytes of `ledger.codec`) names network, exchange, requester,
provider and dataset. Its hash in the prefix serves the error message only: the whole context enters
`info`, and through `binding` every chunk, with all that the prefix says.

Every chunk but the last holds exactly `chunk size` bytes of plaintext, a power of two from 1 KiB to
4 MiB; the last holds 1 up to that many, or none if the payload is empty. Chunk i stands at
1277 + i * (chunk size + 16), so any chunk can be fetched by itself.

Nobody but the recipient opens the payload; who sealed it, HPKE does not say: the provider's signed
event on the ledger does, through the commitment (`node.sealing.commitment`). AES-GCM does not
commit to its key, so what opened is believed only when the commitment matches.

Worked example, checked by a test: the secret key's seed is 00 01 .. 1f, the payload the six bytes
of "符契"; the whole file is the case `short` in `tests/vectors/sealing/payloads.json`.

    prefix         747365616c6564010100000400adac14190f9e1a37a9985a2f64c1c48aebfacc
                   d07fb1dae873c33f2d1f1a45718d33d720de990ad33d81d538c7af2e19a0e35d
                   13be436f88f51721a3b151020b
    context        85a76e6574776f726bc4205a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a
                   5a5a5a5a5a5a5a5a5a5a5aa865786368616e6765c420e1e1e1e1e1e1e1e1e1e1
                   e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1a9726571756573746572
                   a87368616e67686169a870726f7669646572a87a68656a69616e67a764617461
                   736574ac7661742d696e766f69636573
    content key    d0cd0050817db42a43f77aeec0854f20320634b4c5fbf3115fd331d065cce972
    blind          e68e29d63fc35cdb2cd3885469012fb6c1fca2f30db5583d924754762e8241a6
    binding        521143750257f62f4dad898847c4b3c1e0a4c1a574b4aea4ba026f0e99ace81b
    nonce          000000000000000000000001
    chunk 0        77f3ddda0707b95b42cf49b5694963abf0608ae11b3c
    commitment     5d4c65be47a37b8c0baf14e4d8b8d0364aded01e0b3fa19a89c34040b3f31db1
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.codec import Codec, Value
from ledger.scalars import Hash32, Identifier
from node.sealing.errors import InvalidPayload

SUITE: Final = 0x01
CHUNK_BYTES: Final = 2**20
CHUNK_BYTES_MIN: Final = 2**10
CHUNK_BYTES_MAX: Final = 2**22
# Of plaintext. Far below what one AES-GCM key may encrypt (NIST SP 800-38D).
PAYLOAD_BYTES_MAX: Final = 2**36
TAG_BYTES: Final = 16
SECRETS_BYTES: Final = 64
SEALED_SECRETS_BYTES: Final = 1_120 + SECRETS_BYTES + TAG_BYTES
PREFIX_BYTES: Final = 77
HEADER_BYTES: Final = PREFIX_BYTES + SEALED_SECRETS_BYTES

_MAGIC = b"tsealed"
_VERSION = 0x01
_INFO_DOMAIN = b"tallystick/sealing/v1\0"


class Context(Value, frozen=True, kw_only=True):
    """What a payload is sealed for; both sides take it from the ledger."""

    network: Hash32
    exchange: Hash32
    requester: Identifier
    provider: Identifier
    dataset: Identifier


CONTEXTS: Final = Codec(Context, size_bytes_max=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first `HEADER_BYTES` of a payload; authenticated only when its secrets open."""

    chunk_bytes: int
    key_hash: bytes
    context_hash: bytes
    sealed_secrets: bytes = b""

    @property
    def prefix(self) -> bytes:
        """All before the sealed secrets."""
        numbers = bytes([_VERSION, SUITE]) + self.chunk_bytes.to_bytes(4, "big")
        return _MAGIC + numbers + self.key_hash + self.context_hash

    def encode(self) -> bytes:
        """The bytes that start a payload."""
        return self.prefix + self.sealed_secrets

    def info(self, context: Context) -> bytes:
        """What the secrets are sealed with."""
        return _INFO_DOMAIN + self.prefix + CONTEXTS.encode(context)


def decode_header(data: bytes) -> Header:
    """The header in exactly `HEADER_BYTES`. Raises `InvalidPayload`.

    To choose the key: what it says is authenticated only by an `Opener`.
    """
    if not data.startswith(_MAGIC):
        raise InvalidPayload("sealed-unknown")
    if len(data) != HEADER_BYTES:
        raise InvalidPayload("sealed-truncated", size=str(len(data)))
    if data[7] != _VERSION:
        raise InvalidPayload("sealed-version-unknown", version=str(data[7]))
    if data[8] != SUITE:
        raise InvalidPayload("sealed-suite-unknown", suite=str(data[8]))
    chunk_bytes = int.from_bytes(data[9:13], "big")
    verify_chunk_bytes(chunk_bytes)
    return Header(
        chunk_bytes=chunk_bytes,
        key_hash=data[13:45],
        context_hash=data[45:PREFIX_BYTES],
        sealed_secrets=data[PREFIX_BYTES:],
    )


def verify_chunk_bytes(chunk_bytes: int) -> None:
    """Check that chunks may have this size. Raises `InvalidPayload`."""
    is_power = chunk_bytes.bit_count() == 1
    if not (is_power and CHUNK_BYTES_MIN <= chunk_bytes <= CHUNK_BYTES_MAX):
        raise InvalidPayload("sealed-chunk-size-invalid", size=str(chunk_bytes))


def hash_context(context: Context) -> bytes:
    """SHA-256 of the canonical bytes."""
    return hashlib.sha256(CONTEXTS.encode(context)).digest()


class ChunkCipher:
    """Seals and opens single chunks of one payload, in any order."""

    __slots__ = ("_binding", "_cipher")

    def __init__(self, content_key: bytes, header: Header, context: Context) -> None:
        self._cipher = AESGCM(content_key)
        self._binding = hashlib.sha256(header.info(context) + header.sealed_secrets).digest()

    def seal(self, index: int, plaintext: bytes | memoryview, *, is_last: bool) -> bytes:
        """Chunk `index`."""
        return self._cipher.encrypt(_nonce(index, is_last=is_last), plaintext, self._binding)

    def open(self, index: int, chunk: bytes | memoryview, *, is_last: bool) -> bytes | None:
        """The plaintext of chunk `index`; None if it is not authentic at that place."""
        try:
            return self._cipher.decrypt(_nonce(index, is_last=is_last), chunk, self._binding)
        except InvalidTag:
            return None


def _nonce(index: int, *, is_last: bool) -> bytes:
    return index.to_bytes(11, "big") + bytes([is_last])
