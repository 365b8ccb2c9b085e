"""Seals a plaintext that arrives in pieces.

    sealer = Sealer(recipient, context)
    out.write(sealer.header)
    for piece in pieces:
        sealer.receive(piece)
        while (chunk := sealer.next_chunk()) is not None:
            out.write(chunk)
    out.write(sealer.finish())
    # sealer.commitment goes to the ledger

It holds back one chunk, since only `finish` knows which is the last.
"""

import secrets

from ledger.custody.encryption import hash_encryption_key
from node.sealing.commitment import Commitment
from node.sealing.errors import InvalidPayload
from node.sealing.format import (
    CHUNK_BYTES,
    PAYLOAD_BYTES_MAX,
    SECRETS_BYTES,
    ChunkCipher,
    Context,
    Header,
    hash_context,
    verify_chunk_bytes,
)
from node.sealing.keys import seal_to
from node.sealing.pieces import Pieces


class Sealer:
    """One payload for one recipient. `header` is ready at once, `commitment` after `finish`."""

    def __init__(
        self,
        recipient: bytes,
        context: Context,
        *,
        chunk_bytes: int = CHUNK_BYTES,
        size_bytes_max: int = PAYLOAD_BYTES_MAX,
    ) -> None:
        """Raises `InvalidKey` for a recipient that nobody can seal to."""
        verify_chunk_bytes(chunk_bytes)
        opened = Header(
            chunk_bytes=chunk_bytes,
            key_hash=hash_encryption_key(recipient),
            context_hash=hash_context(context),
        )
        secret = secrets.token_bytes(SECRETS_BYTES)
        header = Header(
            chunk_bytes=chunk_bytes,
            key_hash=opened.key_hash,
            context_hash=opened.context_hash,
            sealed_secrets=seal_to(recipient, secret, opened.info(context)),
        )
        self.header = header.encode()
        self.blind = secret[32:]
        self._cipher = ChunkCipher(secret[:32], header, context)
        self._commitment = Commitment(self.blind)
        self._chunk_bytes = chunk_bytes
        self._size_bytes_max = min(size_bytes_max, PAYLOAD_BYTES_MAX)
        self._size_bytes = 0
        self._index = 0
        self._pending = Pieces()

    def receive(self, plaintext: bytes) -> None:
        """Take the next piece in. Raises `InvalidPayload` when the payload grows too large."""
        if self._size_bytes + len(plaintext) > self._size_bytes_max:
            raise InvalidPayload("sealed-too-large", limit=str(self._size_bytes_max))
        self._size_bytes += len(plaintext)
        self._pending.append(plaintext)

    def next_chunk(self) -> bytes | None:
        """The next sealed chunk, or None until more plaintext is here."""
        if len(self._pending) <= self._chunk_bytes:
            return None
        return self._seal(self._chunk_bytes, is_last=False)

    def finish(self) -> bytes:
        """The last chunk. Every earlier one has been taken with `next_chunk`."""
        assert len(self._pending) <= self._chunk_bytes, "chunks were not taken"
        return self._seal(len(self._pending), is_last=True)

    @property
    def commitment(self) -> bytes:
        """The commitment to what was sealed so far; to the payload after `finish`."""
        return self._commitment.digest()

    def _seal(self, size: int, *, is_last: bool) -> bytes:
        plaintext = self._pending.peek(size)
        self._commitment.update(plaintext)
        chunk = self._cipher.seal(self._index, plaintext, is_last=is_last)
        self._pending.drop(size)
        self._index += 1
        return chunk
