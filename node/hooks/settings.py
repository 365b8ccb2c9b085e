"""The file of webhooks, `[webhooks] file` of the configuration: strict, all faults named at once.

    [[hook]]
    id = "cases"                          # names the hook and its cursor
    url = "https://cases.example/hook"    # http:// only on this machine
    secret_file = "cases.secret"          # whsec_ and base64 of 24 to 64 bytes; mode 0600
    kinds = ["share.requested"]           # all of these are optional: which records
    member = "cn-3301-tax"                # signed by it, or of an exchange that it is a party of
    exchange = "0f..."                    # 64 hex digits
    pair = ["cn-3301-tax", "cn-3302-tax"] # requester and provider
    from_height = 1                       # where a new hook begins; without it: now
    ca_file = "ca.pem"                    # trust these authorities in place of the system's

Paths are relative to the file. A record is delivered if it fits every filter given.
"""

import base64
import binascii
import ssl
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from yarl import URL

from ledger.events import BODY_TYPES
from ledger.scalars import Identifier
from node.config import LOOPBACK
from node.errors import ConfigFault, InvalidConfig, InvalidValue

FILE_BYTES_MAX = 1_048_576
HOOKS_MAX = 64
SECRET_PREFIX = "whsec_"  # noqa: S105 - how such a secret begins, not one
SECRET_BYTES = range(24, 65)
KINDS = frozenset(kind for kind, _ in BODY_TYPES)

_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Height = Annotated[int, Meta(ge=1, le=2**62)]


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: Identifier
    url: Annotated[str, Meta(max_length=2_000)]
    secret_file: Annotated[str, Meta(min_length=1)]
    kinds: tuple[str, ...] = ()
    member: Identifier | None = None
    exchange: _Digest | None = None
    pair: tuple[Identifier, Identifier] | None = None
    from_height: _Height | None = None
    ca_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One webhook, ready to be used. `exchange` is empty and the others None for any."""

    id: str
    url: URL
    secret: bytes
    kinds: frozenset[str]
    member: str | None
    exchange: bytes
    pair: tuple[str, str] | None
    from_height: int | None
    tls: ssl.SSLContext | bool


def read_hooks(file: Path) -> tuple[Hook, ...]:
    """Hooks of a file. Raises `InvalidConfig` with every fault."""
    faults: list[ConfigFault] = []
    hooks: list[Hook] = []
    for number, table in enumerate(_read_tables(file), start=1):
        place = f"[[hook]] {number}"
        try:
            row = msgspec.convert(table, _Row)
            hooks.append(_hook(row, file.parent))
        except msgspec.ValidationError as error:
            values = {"reason": error}
            faults.append(ConfigFault(code="table-malformed", setting=place, values=values))
        except InvalidValue as error:
            faults.append(ConfigFault(code=error.code, setting=place, values=error.values))
    if len(frozenset(hook.id for hook in hooks)) != len(hooks):
        faults.append(ConfigFault(code="hooks-same-id"))
    if faults:
        raise InvalidConfig(str(file), tuple(faults))
    return tuple(hooks)


def _read_tables(file: Path) -> list[object]:
    try:
        data = file.read_bytes()
        document = tomllib.loads(data.decode()) if len(data) <= FILE_BYTES_MAX else {}
    except OSError as error:
        fault = ConfigFault(code="config-unreadable", values={"reason": error})
    except ValueError as error:  # TOML or UTF-8
        fault = ConfigFault(code="config-no-toml", values={"reason": error})
    else:
        tables = document.get("hook")
        if document.keys() == {"hook"} and isinstance(tables, list) and len(tables) <= HOOKS_MAX:
            return tables
        fault = ConfigFault(code="hooks-malformed", values={"limit": HOOKS_MAX})
    raise InvalidConfig(str(file), (fault,))


def _hook(row: _Row, folder: Path) -> Hook:
    """A checked hook. Raises `InvalidValue`."""
    unknown = sorted(set(row.kinds) - KINDS)
    if unknown:
        raise InvalidValue("hook-kinds", names=", ".join(unknown))
    return Hook(
        id=row.id,
        url=_url(row.url),
        secret=_secret(folder / row.secret_file),
        kinds=frozenset(row.kinds),
        member=row.member,
        exchange=bytes.fromhex(row.exchange or ""),
        pair=row.pair,
        from_height=row.from_height,
        tls=_tls(folder / row.ca_file) if row.ca_file else True,
    )


def _url(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        raise InvalidValue("hook-url") from None
    is_near = url.host is not None and url.host in LOOPBACK
    if not (url.scheme == "https" and url.host) and not (url.scheme == "http" and is_near):
        raise InvalidValue("hook-url")
    if url.user is not None or url.password is not None:
        raise InvalidValue("hook-url-password")
    return url


def _secret(path: Path) -> bytes:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue("hook-secret-unreadable", path=path, reason=error) from None
    if mode & 0o077:
        raise InvalidValue("hook-secret-open", path=path)
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        secret = b""
    if not text.startswith(SECRET_PREFIX) or len(secret) not in SECRET_BYTES:
        raise InvalidValue("hook-secret-malformed", path=path)
    return secret


def _tls(path: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(path))
    except OSError as error:  # as `ssl.SSLError` is
        raise InvalidValue("hook-ca", path=path, reason=error) from None
