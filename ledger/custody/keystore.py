r"""Keystore: a file that holds one secret key, encrypted under a pass phrase.

The file is JSON in exactly the layout below, indented by two, one line end after the last brace;
any other layout is refused, so every byte of a file counts. What stands before `sealed` can be read
without the pass phrase and cannot be altered without it.

| field         | value                                                                  |
|---------------|------------------------------------------------------------------------|
| `format`      | `tallystick-keystore-v1`                                               |
| `algorithm`   | `ed25519` (signs), `p256` (TLS), `mlkem768-x25519` (opens payloads)    |
| `public_key`  | `ed25519:` and 64 hex digits, `p256:` and 66 (compressed point), or    |
|               | `mlkem768-x25519:` and 2,432                                           |
| `fingerprint` | first 16 hex digits of SHA-256 of the public key's bytes               |
| `kdf`         | `argon2id` (RFC 9106, version 0x13, one lane, no secret, no data)      |
| `passes`      | 1 to 16                                                                |
| `memory_kib`  | 8 to 524,288                                                           |
| `salt`        | 16 bytes                                                               |
| `cipher`      | `aes-256-gcm`                                                          |
| `nonce`       | 12 bytes                                                               |
| `sealed`      | 48 bytes: the encrypted secret (32) and the tag (16)                   |
| `checksum`    | SHA-256 of the file before the line of `checksum`                      |

Bytes are lower-case hex. The secret is the Ed25519 seed, the P-256 scalar, big endian, or the seed
of `ledger.custody.decryption`. The bytes of an Ed25519 public key are those of `ledger.keys`, of a
P-256 key the compressed point, of an encryption key those of `ledger.custody.encryption`.

    key    = Argon2id(pass phrase in NFC and UTF-8, salt, passes, memory), 32 bytes
    sealed = AES-256-GCM(key, nonce, secret,
                         associated data = "tallystick/keystore/v1\0" || file before `sealed`)

The checksum has no key. It tells a damaged file from a wrong pass phrase, nothing else: who alters
a file on purpose can also correct its checksum, and then the tag fails, as for a wrong pass phrase.

Parameters are bounded when read, so that a hostile file costs at most half a GiB and some seconds.

Worked example, checked by a test: seed 00 01 .. 1f, pass phrase `correct horse battery`:

    {
      "format": "tallystick-keystore-v1",
      "algorithm": "ed25519",
      "public_key": "ed25519:03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
      "fingerprint": "cb39f0f6d246b033",
      "kdf": "argon2id",
      "passes": 3,
      "memory_kib": 131072,
      "salt": "000102030405060708090a0b0c0d0e0f",
      "cipher": "aes-256-gcm",
      "nonce": "000102030405060708090a0b",
      "sealed": "6b6b567fcaebba08c8f6bed29b58d51d4f263b09364e3543f1313f9e9e23e6438f4a1de3e00c2dbc777f8f1f424b1b2e",
      "checksum": "24c734b73eac4d38eaddaa454ec42fcc868d30625340a29b63ae58ee1c0180c9"
    }
"""  # noqa: E501 - a line of the file is as long as it is

import hashlib
import unicodedata
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Meta
from nacl import bindings

from ledger.codec import Value
from ledger.custody.decryption import derive_encryption_key
from ledger.custody.encryption import format_encryption_key
from ledger.errors import InvalidKey, InvalidKeystore, WrongPassphrase
from ledger.keys import SecretKey, format_public_key

FORMAT: Final = "tallystick-keystore-v1"
KEYSTORE_BYTES_MAX = 4_096
SECRET_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
PASSPHRASE_BYTES_MAX = 1_024
MEMORY_KIB_MAX = 524_288

_DOMAIN = b"tallystick/keystore/v1\0"
_P256_PREFIX = "p256:"

Algorithm = Literal["ed25519", "p256", "mlkem768-x25519"]
_Hex12 = Annotated[str, Meta(pattern=r"^[0-9a-f]{24}\Z")]
_Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Hex48 = Annotated[str, Meta(pattern=r"^[0-9a-f]{96}\Z")]
_PublicText = Annotated[
    str,
    Meta(
        pattern=r"^(ed25519:[0-9a-f]{64}|p256:0[23][0-9a-f]{64}|mlkem768-x25519:[0-9a-f]{2432})\Z"
    ),
]
_Fingerprint = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
_Passes = Annotated[int, Meta(ge=1, le=16)]
_MemoryKib = Annotated[int, Meta(ge=8, le=MEMORY_KIB_MAX)]


class Cost(Value, frozen=True, kw_only=True):
    """What one guess at a pass phrase costs: passes over so much memory."""

    passes: _Passes
    memory_kib: _MemoryKib


# About half a second on one core.
INTERACTIVE = Cost(passes=3, memory_kib=131_072)


class Keystore(Value, frozen=True, kw_only=True):
    """A keystore as its file has it; `sealed` is not opened yet."""

    format: Literal["tallystick-keystore-v1"]
    algorithm: Algorithm
    public_key: _PublicText
    fingerprint: _Fingerprint
    kdf: Literal["argon2id"]
    passes: _Passes
    memory_kib: _MemoryKib
    salt: _Hex16
    cipher: Literal["aes-256-gcm"]
    nonce: _Hex12
    sealed: _Hex48
    checksum: _Hex32


def is_keystore(data: bytes) -> bool:
    """Whether the content of a key file is meant to be a keystore, sound or not."""
    return data.startswith(b"{")


def encode_passphrase(text: str) -> bytes:
    """Bytes of a pass phrase, the same however it was typed. Raises `WrongPassphrase`."""
    try:
        data = unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError:
        raise WrongPassphrase("a pass phrase is text in UTF-8") from None
    if not 1 <= len(data) <= PASSPHRASE_BYTES_MAX:
        raise WrongPassphrase(f"a pass phrase has 1 to {PASSPHRASE_BYTES_MAX} bytes in UTF-8")
    return data


def encrypt_keystore(
    secret: bytes,
    algorithm: Algorithm,
    passphrase: str,
    *,
    salt: bytes,
    nonce: bytes,
    cost: Cost = INTERACTIVE,
) -> bytes:
    """Content of a keystore file. `salt` and `nonce` are fresh randomness.

    Raises `InvalidKey`, `WrongPassphrase`, `MemoryError`.
    """
    assert (len(salt), len(nonce)) == (SALT_BYTES, NONCE_BYTES)
    public_key, fingerprint = describe_secret(secret, algorithm)
    draft = Keystore(
        format=FORMAT,
        algorithm=algorithm,
        public_key=public_key,
        fingerprint=fingerprint,
        kdf="argon2id",
        passes=cost.passes,
        memory_kib=cost.memory_kib,
        salt=salt.hex(),
        cipher="aes-256-gcm",
        nonce=nonce.hex(),
        sealed="",
        checksum="",
    )
    key = _derive(draft, encode_passphrase(passphrase))
    sealed = AESGCM(key).encrypt(nonce, secret, _associated_data(draft))
    draft = msgspec.structs.replace(draft, sealed=sealed.hex())
    return _layout(msgspec.structs.replace(draft, checksum=_checksum(draft)))


def decode_keystore(data: bytes) -> Keystore:
    """The keystore in a file, whole and in bounds. Raises `InvalidKeystore`; needs no pass phrase.

    What it says is authenticated only by `decrypt_keystore`.
    """
    if len(data) > KEYSTORE_BYTES_MAX:
        raise InvalidKeystore(f"more than {KEYSTORE_BYTES_MAX} bytes")
    try:
        keystore = msgspec.json.decode(data, type=Keystore)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The reason may quote the content, and the content may be a secret in a wrong place.
        raise InvalidKeystore("not the JSON of a keystore, or a field out of bounds") from None
    if keystore.checksum != _checksum(keystore) or _layout(keystore) != data:
        raise InvalidKeystore("the checksum or the layout is not that of the content")
    return keystore


def decrypt_keystore(keystore: Keystore, passphrase: str) -> bytes:
    """The 32 secret bytes. Raises `WrongPassphrase`, `InvalidKeystore`, `MemoryError`."""
    key = _derive(keystore, encode_passphrase(passphrase))
    try:
        secret = AESGCM(key).decrypt(
            bytes.fromhex(keystore.nonce),
            bytes.fromhex(keystore.sealed),
            _associated_data(keystore),
        )
    except InvalidTag:
        raise WrongPassphrase("the pass phrase does not open this keystore") from None
    try:
        found = describe_secret(secret, keystore.algorithm)
    except InvalidKey:
        found = ("", "")
    if found != (keystore.public_key, keystore.fingerprint):
        raise InvalidKeystore("the secret inside is not that of the public key")
    return secret


def describe_secret(secret: bytes, algorithm: Algorithm) -> tuple[str, str]:
    """Text form of the public key of a secret, and its fingerprint. Raises `InvalidKey`."""
    if algorithm == "ed25519":
        public = SecretKey(secret).public
        text = format_public_key(public)
    elif algorithm == "mlkem768-x25519":
        public = derive_encryption_key(secret)
        text = format_encryption_key(public)
    else:
        point = p256_key(secret).public_key()
        public = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        text = _P256_PREFIX + public.hex()
    return text, hashlib.sha256(public).hexdigest()[:16]


def p256_key(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """The TLS key of a scalar. Raises `InvalidKey`."""
    try:
        if len(secret) != SECRET_BYTES:
            raise ValueError
        return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
    except ValueError:
        raise InvalidKey("not the scalar of a P-256 key") from None


def _derive(keystore: Keystore, passphrase: bytes) -> bytes:
    try:
        key: bytes = bindings.crypto_pwhash_alg(
            32,
            passphrase,
            bytes.fromhex(keystore.salt),
            keystore.passes,
            keystore.memory_kib * 1_024,
            bindings.crypto_pwhash_ALG_ARGON2ID13,
        )
    except RuntimeError:  # of libsodium, for all that can go wrong with parameters in bounds
        raise MemoryError(f"Argon2id needs {keystore.memory_kib // 1_024} MiB") from None
    return key


def _layout(keystore: Keystore) -> bytes:
    return msgspec.json.format(msgspec.json.encode(keystore), indent=2) + b"\n"


def _associated_data(keystore: Keystore) -> bytes:
    return _DOMAIN + _before(keystore, "sealed")


def _checksum(keystore: Keystore) -> str:
    return hashlib.sha256(_before(keystore, "checksum")).hexdigest()


def _before(keystore: Keystore, field: str) -> bytes:
    """The file up to the line of a field."""
    data = _layout(keystore)
    return data[: data.index(f'  "{field}"'.encode())]
