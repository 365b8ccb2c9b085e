r"""Signed notes and verifier keys (c2sp.org/signed-note).

Format. A note is UTF-8 text without control characters other than newline:

    text                one or more lines, each ended by a newline
                        an empty line; the last one of the note separates text and signatures
    — NAME BASE64       one line for each signature: em dash, space, key name, space,
                        base64 of (4-byte key hash || signature), newline

A verifier key ("vkey") is `NAME+HASH+BASE64`: HASH is the key hash as 8 lower-case hex digits,
BASE64 holds (type byte || public key), and the key hash is

    SHA-256(NAME || 0x0a || type byte || public key)[:4]

    type  public key  signs                           signature
    0x01  Ed25519     the text                        64 bytes
    0x04  Ed25519     a cosignature/v1 of the text    8-byte time || 64 bytes
    0x06  ML-DSA-44   a subtree/v1 of the tree        8-byte time || 2,420 bytes

A key name is not empty and has no space and no plus. Base64 is that of RFC 4648 section 4 with
padding, and only its canonical form is read. Signatures of unknown keys are ignored.

Worked example (the one of the specification's reference implementation), checked by a test:

>>> key = VerifierKey.parse(
...     "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
... )
>>> note = SignedNote.parse(
...     "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXpp"
...     "zi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n".encode()
... )
>>> verify_note(note, key)
>>> note.text
b'This is an example message.\n'
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import Protocol

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidSignature as MldsaMismatch
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from ledger.errors import InvalidEncoding, InvalidKey, InvalidSignature

ED25519 = 0x01
COSIGNATURE_ED25519 = 0x04
COSIGNATURE_MLDSA44 = 0x06

# One ML-DSA-44 signature line is about 3.3 kB; 16 signatures is the least a reader must accept.
NOTE_BYTES_MAX = 1 << 20
SIGNATURES_MAX = 256
NAME_BYTES_MAX = 255
VKEY_BYTES_MAX = 4096

_KEY_HASH_BYTES = 4
_ED25519_BYTES = 32
_SIGNATURE_BYTES = 64
_KEY_BYTES = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_MLDSA44: 1312}
_DASH = "— ".encode()
_HEX = frozenset("0123456789abcdef")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


def encode_base64(data: bytes) -> str:
    """Base64 of RFC 4648 section 4, with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """The bytes whose one canonical base64 is `text`, or `InvalidEncoding`."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidEncoding("not base64") from error
    if encode_base64(data) != text:
        raise InvalidEncoding("base64 is not canonical")
    return data


def verify_name(name: str) -> None:
    """Check that `name` can name a key; raises `InvalidEncoding`."""
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidEncoding("a key name is UTF-8") from error
    if not 1 <= size_bytes <= NAME_BYTES_MAX:
        raise InvalidEncoding(f"a key name has 1 to {NAME_BYTES_MAX} bytes")
    if "+" in name or any(char < " " or char.isspace() for char in name):
        raise InvalidEncoding("a key name has no space, no control character and no plus")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A named public key. `kind` is the signature type byte, `raw` the public key."""

    name: str
    kind: int
    raw: bytes = field(repr=False)
    key_hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        verify_name(self.name)
        if len(self.raw) != _KEY_BYTES.get(self.kind):
            raise InvalidKey(f"no key of type {self.kind:#04x} has {len(self.raw)} bytes")
        # A point of small order would accept forged signatures.
        if self.kind != COSIGNATURE_MLDSA44 and not (
            nacl.bindings.crypto_core_ed25519_is_valid_point(self.raw)
        ):
            raise InvalidKey("not an Ed25519 public key")
        named = self.name.encode() + b"\n" + bytes((self.kind,)) + self.raw
        digest = hashlib.sha256(named).digest()
        object.__setattr__(self, "key_hash", digest[:_KEY_HASH_BYTES])

    def format(self) -> str:
        """The key as a vkey."""
        key = encode_base64(bytes((self.kind,)) + self.raw)
        return f"{self.name}+{self.key_hash.hex()}+{key}"

    @staticmethod
    def parse(text: str) -> "VerifierKey":
        """The key written as the vkey `text`, or `InvalidEncoding` or `InvalidKey`."""
        if len(text) > VKEY_BYTES_MAX:
            raise InvalidEncoding(f"a verifier key has at most {VKEY_BYTES_MAX} bytes")
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise InvalidEncoding("a verifier key is NAME+HASH+KEY")
        name, digits, encoded = parts
        if len(digits) != 2 * _KEY_HASH_BYTES or not _HEX.issuperset(digits):
            raise InvalidEncoding("the hash of a verifier key is 8 lower-case hex digits")
        typed = decode_base64(encoded)
        if not typed:
            raise InvalidEncoding("a verifier key has a type byte")
        key = VerifierKey(name=name, kind=typed[0], raw=typed[1:])
        if key.key_hash.hex() != digits:
            raise InvalidKey(f"the hash of {name} is {key.key_hash.hex()}, not {digits}")
        return key


class NoteSigner(Protocol):
    """Whatever signs notes under a name: a key, or a device that never gives it away."""

    @property
    def name(self) -> str:
        """The name on its lines."""

    @property
    def kind(self) -> int:
        """The type of its signatures."""

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A named Ed25519 private key: its 32-byte seed (RFC 8032 section 5.1.5)."""

    name: str
    kind: int
    seed: bytes = field(repr=False)
    verifier: VerifierKey = field(init=False)
    _secret: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in (ED25519, COSIGNATURE_ED25519) or len(self.seed) != _ED25519_BYTES:
            raise InvalidKey("a signing key is a 32-byte Ed25519 seed of type 0x01 or 0x04")
        public, secret = nacl.bindings.crypto_sign_seed_keypair(self.seed)
        verifier = VerifierKey(name=self.name, kind=self.kind, raw=public)
        object.__setattr__(self, "verifier", verifier)
        object.__setattr__(self, "_secret", secret)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`."""
        return nacl.bindings.crypto_sign(message, self._secret)[:_SIGNATURE_BYTES]


def verify_message(key: VerifierKey, message: bytes, signature: bytes) -> None:
    """Check a bare signature (without time) of `key`; raises `InvalidSignature`."""
    try:
        if key.kind == COSIGNATURE_MLDSA44:
            MLDSA44PublicKey.from_public_bytes(key.raw).verify(signature, message)
        elif len(signature) != _SIGNATURE_BYTES:
            raise InvalidSignature(f"a signature of {key.name} has {_SIGNATURE_BYTES} bytes")
        else:
            nacl.bindings.crypto_sign_open(signature + message, key.raw)
    except (nacl.exceptions.BadSignatureError, MldsaMismatch, ValueError) as error:
        raise InvalidSignature(f"the signature of {key.name} does not verify") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature line. `raw` is everything behind the key hash."""

    name: str
    key_hash: bytes
    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        verify_name(self.name)
        if len(self.key_hash) != _KEY_HASH_BYTES or not self.raw:
            raise InvalidEncoding("a signature is a 4-byte key hash and at least one byte")

    def format(self) -> bytes:
        """The line, with its newline."""
        encoded = encode_base64(self.key_hash + self.raw)
        return _DASH + f"{self.name} {encoded}\n".encode()

    @staticmethod
    def parse(line: bytes) -> "Signature":
        """The signature written as `line` (without newline), or `InvalidEncoding`."""
        parts = _decode_text(line).split(" ")
        if len(parts) != 3 or not line.startswith(_DASH):
            raise InvalidEncoding("a signature line is em dash, key name and base64")
        data = decode_base64(parts[2])
        return Signature(name=parts[1], key_hash=data[:_KEY_HASH_BYTES], raw=data[_KEY_HASH_BYTES:])


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedNote:
    """A text, final newline included, and its signatures in the order of their lines."""

    text: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        if not self.text.endswith(b"\n"):
            raise InvalidEncoding("the text of a note ends with a newline")
        _decode_text(self.text)
        if not 1 <= len(self.signatures) <= SIGNATURES_MAX:
            raise InvalidEncoding(f"a note has 1 to {SIGNATURES_MAX} signatures")

    def format(self) -> bytes:
        """Bytes of the note."""
        return b"".join((self.text, b"\n", *(item.format() for item in self.signatures)))

    @staticmethod
    def parse(data: bytes) -> "SignedNote":
        """The note whose bytes are `data`, or `InvalidEncoding`."""
        if len(data) > NOTE_BYTES_MAX:
            raise InvalidEncoding(f"a note has at most {NOTE_BYTES_MAX} bytes")
        # The newline of the last text line and the empty line.
        end = data.rfind(b"\n\n")
        if end < 0 or not data.endswith(b"\n"):
            raise InvalidEncoding("a note is a text, an empty line and signature lines")
        lines = data[end + 2 : -1].split(b"\n")
        if len(lines) > SIGNATURES_MAX:
            raise InvalidEncoding(f"a note has 1 to {SIGNATURES_MAX} signatures")
        return SignedNote(
            text=data[: end + 1], signatures=tuple(Signature.parse(line) for line in lines)
        )

    def find_signature(self, key: VerifierKey) -> Signature | None:
        """The line of `key`; two lines of one key are `InvalidSignature`."""
        found = [
            item
            for item in self.signatures
            if item.key_hash == key.key_hash and item.name == key.name
        ]
        if len(found) > 1:
            raise InvalidSignature(f"{len(found)} signatures of {key.name}")
        return found[0] if found else None


def sign_note(text: bytes, key: SigningKey) -> SignedNote:
    """`text` signed by one key of type 0x01."""
    if key.kind != ED25519:
        raise InvalidKey("a cosigning key signs checkpoints only")
    line = Signature(name=key.name, key_hash=key.verifier.key_hash, raw=key.sign(text))
    return SignedNote(text=text, signatures=(line,))


def verify_note(note: SignedNote, key: VerifierKey) -> None:
    """Check that `key`, of type 0x01, signed the text; raises `InvalidSignature`."""
    if key.kind != ED25519:
        raise InvalidKey("a cosigning key signs checkpoints only")
    line = note.find_signature(key)
    if line is None:
        raise InvalidSignature(f"no signature of {key.name}")
    verify_message(key, note.text, line.raw)


def _decode_text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise InvalidEncoding("a note is UTF-8") from error
    if _CONTROL.search(text):
        raise InvalidEncoding("a note has no control character other than newline")
    return text
