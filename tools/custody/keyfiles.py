"""Key files: plain ones, keystores, and TLS keys in PEM; read strictly, written durably."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ledger.custody.decryption import FILE_PREFIX, format_seed, parse_seed
from ledger.custody.keystore import (
    INTERACTIVE,
    NONCE_BYTES,
    SALT_BYTES,
    Algorithm,
    Cost,
    Keystore,
    decode_keystore,
    decrypt_keystore,
    describe_secret,
    encrypt_keystore,
    is_keystore,
    p256_key,
)
from ledger.errors import InvalidKey, InvalidKeystore, WrongPassphrase
from ledger.keys import SecretKey, format_secret_key, parse_secret_key
from ledger.storage import sync_folder
from tools.custody.passphrase import Ways, read_passphrase
from tools.exits import InvalidInput, ToolError
from tools.output import note
from tools.words import say

KEY_FILE_BYTES_MAX = 8_192
ATTEMPTS_MAX = 3
_PEM = b"-----BEGIN "


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What a key file says without its pass phrase. `secret` is there where there is none."""

    path: Path
    kind: Literal["plain", "pem", "keystore"]
    algorithm: Algorithm
    public_key: str
    fingerprint: str
    mode: int
    secret: bytes | None
    keystore: Keystore | None

    @property
    def is_protected(self) -> bool:
        """Whether a pass phrase is needed to use it."""
        return self.keystore is not None


def read_key_file(path: Path, *, must_be_private: bool = True) -> KeyFile:
    """The key file at a path. Raises `InvalidInput`; no message quotes the content."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if must_be_private and mode & 0o077:
                raise InvalidInput("key-readable", str(path))
            data = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput("key-unreadable", f"{path}: {error.strerror}") from None
    if len(data) > KEY_FILE_BYTES_MAX:
        raise InvalidInput("key-invalid", f"{path}: > {KEY_FILE_BYTES_MAX} B")
    if is_keystore(data):
        try:
            keystore = decode_keystore(data)
        except InvalidKeystore as error:
            raise InvalidInput("keystore-damaged", f"{path}: {error}") from None
        return KeyFile(
            path=path,
            kind="keystore",
            algorithm=keystore.algorithm,
            public_key=keystore.public_key,
            fingerprint=keystore.fingerprint,
            mode=mode,
            secret=None,
            keystore=keystore,
        )
    kind: Literal["plain", "pem"] = "pem" if data.startswith(_PEM) else "plain"
    algorithm, secret = parse_pem(path, data) if kind == "pem" else _parse_plain(path, data)
    public_key, fingerprint = describe_secret(secret, algorithm)
    return KeyFile(
        path=path,
        kind=kind,
        algorithm=algorithm,
        public_key=public_key,
        fingerprint=fingerprint,
        mode=mode,
        secret=secret,
        keystore=None,
    )


def open_key_file(file: KeyFile, ways: Ways) -> bytes:
    """The 32 secret bytes. Somebody who is asked may mistype. Raises `InvalidInput`."""
    if file.keystore is None:
        assert file.secret is not None, "what is not encrypted was read"
        return file.secret
    label = f"{file.path} ({file.fingerprint})"
    for attempt in range(1, ATTEMPTS_MAX + 1):
        phrase = read_passphrase(ways, label)
        try:
            return decrypt_keystore(file.keystore, phrase)
        except WrongPassphrase as error:
            if not ways.asks or attempt == ATTEMPTS_MAX:
                raise InvalidInput("passphrase-wrong", f"{file.path}: {error}") from None
            note(say("custody.try_again"))
        except InvalidKeystore as error:
            raise InvalidInput("keystore-damaged", f"{file.path}: {error}") from None
        except MemoryError as error:
            raise ToolError("memory-short", str(error)) from None
    raise AssertionError("unreachable: the last attempt returns or raises")


def seal(
    secret: bytes, algorithm: Algorithm, passphrase: str, *, cost: Cost = INTERACTIVE
) -> bytes:
    """Content of a new keystore file."""
    try:
        return encrypt_keystore(
            secret,
            algorithm,
            passphrase,
            salt=os.urandom(SALT_BYTES),
            nonce=os.urandom(NONCE_BYTES),
            cost=cost,
        )
    except MemoryError as error:
        raise ToolError("memory-short", str(error)) from None


def format_plain(secret: bytes, algorithm: Algorithm) -> bytes:
    """Content of a key file without a pass phrase."""
    if algorithm == "ed25519":
        return format_secret_key(SecretKey(secret)).encode()
    if algorithm == "mlkem768-x25519":
        return format_seed(secret).encode()
    return p256_key(secret).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def check_free(path: Path) -> None:
    """Raises what writing a new file there would raise, before somebody types for nothing."""
    if path.exists() or path.is_symlink():
        raise InvalidInput("file-exists", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file with mode 0600: whole and durable under its name, or as before.

    Raises `InvalidInput` if there is a file and it is not to be replaced.
    """
    if not replace:
        check_free(path)
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        if replace:
            draft.replace(path)
        else:
            _place(draft, path)
    except FileExistsError:
        raise InvalidInput("file-exists", str(path)) from None
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _place(draft: Path, path: Path) -> None:
    """Give a file its name, unless somebody has it. Raises `FileExistsError`, `InvalidInput`."""
    try:
        # A link, unlike a rename, never takes the place of a file that came meanwhile.
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # No links on this file system, as on most memory sticks.
        check_free(path)
        draft.replace(path)


def _parse_plain(path: Path, data: bytes) -> tuple[Algorithm, bytes]:
    try:
        text = data.decode("ascii")
        if text.startswith(FILE_PREFIX):
            return "mlkem768-x25519", parse_seed(text)
        return "ed25519", parse_secret_key(text).seed
    except (InvalidKey, UnicodeDecodeError) as error:
        text = str(error) if isinstance(error, InvalidKey) else "not ASCII"
        raise InvalidInput("key-invalid", f"{path}: {text}") from None


def parse_pem(path: Path, data: bytes) -> tuple[Algorithm, bytes]:
    """Scalar of a P-256 key. Other keys, and PEM with a pass phrase, are not ours to keep."""
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("key-invalid", f"{path}: PEM, P-256")
    return "p256", key.private_numbers().private_value.to_bytes(32, "big")
