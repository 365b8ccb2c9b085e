"""Opens a sealed payload that arrives in pieces, and goes on after a break.

    opener = Opener(key, context, first HEADER_BYTES)
    for piece in pieces from opener.offset on:
        opener.receive(piece)
        while (plaintext := opener.next_chunk()) is not None:
            out.write(plaintext)
    out.write(opener.finish(commitment on the ledger))

What it gives is authentic, chunk by chunk and in order, but the payload is whole and the one on the
ledger only when `finish` has returned: until then the plaintext belongs in a temporary file.

After a lost connection: fetch from `opener.offset`. After a restart: make a new `Opener` from the
stored header, hand the chunks already written to `restore`, fetch from `offset`; `finish` checks
them too. A chunk that does not open is forgotten, `offset` is its start, and nothing else changed.
"""

from ledger.custody.encryption import format_fingerprint
from node.sealing.commitment import BLIND_BYTES, Commitment
from node.sealing.errors import InvalidPayload
from node.sealing.format import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    TAG_BYTES,
    ChunkCipher,
    Context,
    decode_header,
    hash_context,
)
from node.sealing.keys import DecryptionKey
from node.sealing.pieces import Pieces


class Opener:
    """One payload sealed to `key` for `context`. `blind` opens its commitment to an auditor."""

    def __init__(
        self,
        key: DecryptionKey,
        context: Context,
        header: bytes,
        *,
        size_bytes_max: int = PAYLOAD_BYTES_MAX,
    ) -> None:
        """Raises `InvalidPayload`: a wrong key or context is known before anything is fetched."""
        parsed = decode_header(header)
        if parsed.key_hash != key.hash:
            raise InvalidPayload(
                "sealed-key-wrong",
                expected=format_fingerprint(parsed.key_hash),
                used=format_fingerprint(key.hash),
            )
        if parsed.context_hash != hash_context(context):
            raise InvalidPayload("sealed-context-wrong", exchange=context.exchange.hex())
        secret = key.open(parsed.sealed_secrets, parsed.info(context))
        self.blind = secret[-BLIND_BYTES:]
        self.chunk_bytes = parsed.chunk_bytes
        self._cipher = ChunkCipher(secret[:-BLIND_BYTES], parsed, context)
        self._commitment = Commitment(self.blind)
        self._size_bytes_max = min(size_bytes_max, PAYLOAD_BYTES_MAX)
        self._sealed_bytes = parsed.chunk_bytes + TAG_BYTES
        self._index = 0
        self._pending = Pieces()

    @property
    def offset(self) -> int:
        """Position in the sealed payload of the next byte for `receive`."""
        return HEADER_BYTES + self._index * self._sealed_bytes + len(self._pending)

    def restore(self, plaintext: bytes | memoryview) -> None:
        """Take one whole chunk that was opened before a restart, in order, before `receive`."""
        assert len(plaintext) == self.chunk_bytes, "only whole chunks are restored"
        assert not self._pending, "restore comes first"
        self._verify_size(len(plaintext))
        self._commitment.update(plaintext)
        self._index += 1

    def receive(self, sealed: bytes) -> None:
        """Take the bytes at `offset` in."""
        self._pending.append(sealed)

    def next_chunk(self) -> bytes | None:
        """The next plaintext, or None until more is here. Raises `InvalidPayload`.

        Chunks are opened by `finish` until it is known that more bytes follow.
        """
        if len(self._pending) <= self._sealed_bytes:
            return None
        self._verify_size(self.chunk_bytes + 1)
        chunk = self._pending.peek(self._sealed_bytes)
        plaintext = self._cipher.open(self._index, chunk, is_last=False)
        if plaintext is None:
            is_last = self._opens(chunk, is_last=True)
            raise self._refusal("sealed-extended" if is_last else "sealed-chunk-damaged")
        self._commitment.update(plaintext)
        self._pending.drop(self._sealed_bytes)
        self._index += 1
        return plaintext

    def finish(self, commitment: bytes) -> bytes:
        """The last plaintext, when no byte follows and all is what the ledger says.

        Raises `InvalidPayload`.
        """
        assert len(self._pending) <= self._sealed_bytes, "chunks were not taken"
        if len(self._pending) < TAG_BYTES:
            raise self._refusal("sealed-truncated", size=str(self.offset))
        self._verify_size(len(self._pending) - TAG_BYTES)
        chunk = self._pending.peek(len(self._pending))
        plaintext = self._cipher.open(self._index, chunk, is_last=True)
        if plaintext is None and self._opens(chunk, is_last=False):
            raise self._refusal("sealed-truncated", size=str(self.offset))
        if plaintext is None or (not plaintext and self._index):
            raise self._refusal("sealed-chunk-damaged")
        whole = self._commitment.copy()
        whole.update(plaintext)
        if not whole.matches(commitment):
            raise InvalidPayload(
                "sealed-commitment-wrong",
                expected=commitment.hex(),
                found=whole.digest().hex(),
            )
        return plaintext

    def _opens(self, chunk: bytes | memoryview, *, is_last: bool) -> bool:
        return self._cipher.open(self._index, chunk, is_last=is_last) is not None

    def _verify_size(self, more_bytes: int) -> None:
        if self._index * self.chunk_bytes + more_bytes > self._size_bytes_max:
            raise self._refusal("sealed-too-large", limit=str(self._size_bytes_max))

    def _refusal(self, code: str, **values: str) -> InvalidPayload:
        """Forget the bytes of a chunk that did not open, so that it can be fetched again."""
        self._pending.clear()
        return InvalidPayload(code, chunk=str(self._index), offset=str(self.offset), **values)
