"""Secret keys that a node opens at its start: plain files and PEM, keystores, or on tokens.

One pass phrase opens all keystores of a node: from `[keys] passphrase_file`, or from the systemd
credential that `[keys] credential` names. A daemon asks nobody. No message quotes a secret.

The consensus and the cosigning key may be on a PKCS#11 token (`node.custody.token`), whose PIN
comes by `[keys] pin_file` or `pin_credential`.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ledger.custody.decryption import parse_seed
from ledger.custody.keystore import (
    PASSPHRASE_BYTES_MAX,
    Algorithm,
    decode_keystore,
    decrypt_keystore,
    is_keystore,
    p256_key,
)
from ledger.custody.token_uri import is_token_uri
from ledger.errors import InvalidKey, InvalidKeystore, WrongPassphrase
from ledger.keys import RawSigner, SecretKey, parse_secret_key
from node.config import Config
from node.errors import StartRefused

KEY_FILE_BYTES_MAX = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class _What:
    """A secret that opens others, by the settings that say where it is."""

    file: str
    credential: str


_PHRASE = _What(file="passphrase_file", credential="credential")
_PIN = _What(file="pin_file", credential="pin_credential")


class KeyReader:
    """The keys of one configuration; the pass phrase is read when the first keystore needs it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._phrase: str | None = None
        self._pin: str | None = None

    def open_signing_key(self, name: str) -> RawSigner:
        """What signs with the key of `[keys] name`, which may be on a token. Raises `StartRefused`.

        A token is logged in to once; its session lasts as long as the process.
        """
        value = self._config["keys", name]
        if not is_token_uri(value):
            return self.read_signing_key(name)
        from node.custody.token import open_token

        if self._pin is None:
            self._pin = _read_phrase(self._config, f"[keys] {name}", _PIN)
        return open_token(value, name, self._pin)

    def read_signing_key(self, name: str) -> SecretKey:
        """The key in the file of `[keys] name`. Raises `StartRefused`."""
        self._refuse_token(name)
        path, setting = self._config.path("keys", name), f"[keys] {name}"
        data = _read_private(path, setting)
        try:
            if is_keystore(data):
                return SecretKey(self._open(path, setting, data, "ed25519"))
            return parse_secret_key(data.decode("ascii", "replace"))
        except InvalidKey as error:
            raise _malformed(setting, path, error) from None

    def read_tls_key(self) -> tuple[bytes, bool]:
        """PEM of `[keys] tls_key`, and whether it was a keystore. Raises `StartRefused`."""
        self._refuse_token("tls_key")
        path = self._config.path("keys", "tls_key")
        data = _read_private(path, "[keys] tls_key")
        if not is_keystore(data):
            return data, False
        key = p256_key(self._open(path, "[keys] tls_key", data, "p256"))
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), True

    def read_decryption_key(self, path: Path) -> bytes:
        """Seed of the decryption key in a file. Raises `StartRefused`."""
        setting = "[keys] decryption"
        data = _read_private(path, setting)
        try:
            if is_keystore(data):
                return self._open(path, setting, data, "mlkem768-x25519")
            return parse_seed(data.decode("ascii", "replace"))
        except InvalidKey as error:
            raise _malformed(setting, path, error) from None

    def _refuse_token(self, name: str) -> None:
        if is_token_uri(self._config["keys", name]):
            raise StartRefused("start-key-on-token", setting=f"[keys] {name}")

    def _open(self, path: Path, setting: str, data: bytes, algorithm: Algorithm) -> bytes:
        try:
            keystore = decode_keystore(data)
            if keystore.algorithm != algorithm:
                raise StartRefused(
                    "start-key-algorithm",
                    setting=setting,
                    path=path,
                    found=keystore.algorithm,
                    expected=algorithm,
                )
            if self._phrase is None:
                self._phrase = _read_phrase(self._config, str(path), _PHRASE)
            return decrypt_keystore(keystore, self._phrase)
        except InvalidKeystore as error:
            raise StartRefused(
                "start-keystore-damaged", setting=setting, path=path, reason=error
            ) from None
        except WrongPassphrase:
            raise StartRefused("start-keystore-shut", setting=setting, path=path) from None
        except MemoryError as error:
            raise StartRefused(
                "start-keystore-memory", setting=setting, path=path, reason=error
            ) from None


def file_of_secret(data: bytes) -> str:
    """Path of a file in memory that only this process can open, for libraries that want a path.

    It is there until the process ends.
    """
    descriptor = os.memfd_create("tls-key")
    os.fchmod(descriptor, 0o600)
    os.write(descriptor, data)
    return f"/proc/self/fd/{descriptor}"


def _malformed(setting: str, path: Path, error: InvalidKey) -> StartRefused:
    return StartRefused("start-key-malformed", setting=setting, path=path, reason=error)


def _read_private(path: Path, setting: str) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(KEY_FILE_BYTES_MAX)
    except OSError as error:
        raise StartRefused(
            "start-key-unreadable", setting=setting, path=path, reason=error
        ) from None
    if mode & 0o077:
        raise StartRefused("start-key-open", setting=setting, path=path, mode=f"{mode:04o}")
    return data


def _read_phrase(config: Config, opened: str, what: _What) -> str:
    """The only line of the file or credential that the configuration names for `opened`."""
    name = config["keys", what.credential]
    if name:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise StartRefused(
                "start-secret-credential", opened=opened, credential=name, file=what.file
            )
        path = Path(folder) / name
    elif config["keys", what.file]:
        path = config.path("keys", what.file)
    else:
        raise StartRefused(
            "start-secret-unset", opened=opened, file=what.file, credential=what.credential
        )
    setting = f"[keys] {what.credential if name else what.file}"
    try:
        # Not blocked for ever by a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            data = file.read(PASSPHRASE_BYTES_MAX + 2) if stat.S_ISREG(mode) else b""
        phrase = data.removesuffix(b"\n").removesuffix(b"\r").decode()
    except OSError as error:
        raise StartRefused(
            "start-secret-unreadable", setting=setting, path=path, reason=error
        ) from None
    except UnicodeDecodeError:
        raise StartRefused("start-secret-encoding", setting=setting, path=path) from None
    # The folder of credentials is systemd's, and private to the service.
    if not name and mode & 0o077:
        raise StartRefused("start-secret-open", path=path)
    if not phrase or "\n" in phrase:
        raise StartRefused("start-secret-lines", setting=setting, path=path)
    return phrase
