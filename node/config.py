"""The node's configuration file: one table of settings, strict, all faults named at once.

`SETTINGS` is the whole truth: the reader, the sample in `config/node.toml` and the documentation
are checked against it. Paths are relative to the file.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import ConfigFault, InvalidConfig, InvalidValue, Value

CONFIG_SIZE_BYTES_MAX = 1_048_576
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK or self.host.startswith("127.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One key: its parser (raises `InvalidValue`), default and meaning."""

    section: str
    key: str
    parse: Callable[[Any], Any]
    default: Any
    zh: str
    en: str


REQUIRED = object()


def text(value: Any) -> str:
    """A text that is not empty. Raises `InvalidValue`."""
    if not isinstance(value, str) or not value:
        raise InvalidValue("text-empty")
    return value


def optional_text(value: Any) -> str:
    """A text. Raises `InvalidValue`."""
    if not isinstance(value, str):
        raise InvalidValue("text-wanted")
    return value


def address(value: Any) -> Address:
    """An address, `host:port`. Raises `InvalidValue`."""
    host, _, port = text(value).rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise InvalidValue("address-malformed")
    return Address(host.strip("[]"), int(port))


def addresses(value: Any) -> dict[str, Address]:
    """Addresses by member. Raises `InvalidValue`."""
    if not isinstance(value, dict):
        raise InvalidValue("addresses-malformed")
    return {member: address(place) for member, place in value.items()}


def count(low: int, high: int) -> Callable[[Any], int]:
    """Parser of a whole number in a range."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InvalidValue("count-wanted", low=low, high=high)
        return value

    return parse


def choice(*names: str) -> Callable[[Any], str]:
    """Parser of one of some words."""

    def parse(value: Any) -> str:
        if value not in names:
            raise InvalidValue("choice-unknown", choices=", ".join(names))
        return str(value)

    return parse


def flag(value: Any) -> bool:
    """True or false. Raises `InvalidValue`."""
    if not isinstance(value, bool):
        raise InvalidValue("flag-wanted")
    return value


def row(
    section: str, key: str, parse: Callable[[Any], Any], default: Any, zh: str, en: str
) -> Setting:
    """One row of a table of settings."""
    return Setting(section=section, key=key, parse=parse, default=default, zh=zh, en=en)


SETTINGS: tuple[Setting, ...] = (
    row("node", "member", text, REQUIRED, "本节点所属成员单位", "member id of this node"),
    row("node", "genesis", text, REQUIRED, "创世文件", "genesis file"),
    row(
        "node",
        "genesis_signatures",
        optional_text,
        "",
        "各创始成员对创世文件的签名;默认与创世文件同目录",
        "signatures of the founders; by default beside the genesis file",
    ),
    row(
        "node",
        "replaces",
        flag,
        False,
        "本节点密钥经表决替换该成员原节点的密钥",
        "this node's keys replace, by vote, those of the member's former node",
    ),
    row("node", "data_dir", text, "data", "数据目录", "data directory"),
    row(
        "node",
        "storage",
        choice("auto", "leveldb", "lmdb"),
        "auto",
        "存储引擎",
        "storage engine",
    ),
    row(
        "keys",
        "consensus",
        text,
        "keys/consensus.key",
        "共识密钥：文件或 pkcs11: 地址",
        "consensus key: a file, or a pkcs11: URI",
    ),
    row(
        "keys",
        "cosigning",
        text,
        "keys/cosigning.key",
        "联署密钥：文件或 pkcs11: 地址",
        "cosigning key: a file, or a pkcs11: URI",
    ),
    row("keys", "log", text, "keys/log.key", "日志密钥文件", "log key file"),
    row("keys", "tls_key", text, "keys/tls.key.pem", "TLS 私钥", "TLS private key (PEM)"),
    row("keys", "tls_certificate", text, "keys/tls.cert.pem", "TLS 证书", "TLS certificate"),
    row(
        "keys",
        "passphrase_file",
        optional_text,
        "",
        "密钥库口令文件，权限 0600",
        "file with the pass phrase of keystores, mode 0600",
    ),
    row(
        "keys",
        "credential",
        optional_text,
        "",
        "存放密钥库口令的 systemd 凭据名称",
        "systemd credential with the pass phrase of keystores",
    ),
    row(
        "keys",
        "pin_file",
        optional_text,
        "",
        "令牌 PIN 文件，权限 0600",
        "file with a token's PIN",
    ),
    row(
        "keys",
        "pin_credential",
        optional_text,
        "",
        "存放令牌 PIN 的 systemd 凭据名称",
        "systemd credential with the PIN of a token",
    ),
    row("peers", "listen", address, REQUIRED, "节点间监听地址", "address for peers"),
    row("peers", "addresses", addresses, REQUIRED, "其他节点地址", "addresses of the peers"),
    row("api", "listen", address, REQUIRED, "接口监听地址", "address of the HTTP API"),
    row("api", "tls_certificate", optional_text, "", "接口 TLS 证书", "API TLS certificate"),
    row("api", "tls_key", optional_text, "", "接口 TLS 私钥", "API TLS private key"),
    row(
        "metrics",
        "listen",
        address,
        Address("127.0.0.1", 0),
        "指标监听地址",
        "address of the metrics",
    ),
    row(
        "limits",
        "pending_events_max",
        count(100, 1_000_000),
        20_000,
        "待定事件上限",
        "pending events at most",
    ),
    row(
        "limits",
        "pending_per_member_max",
        count(10, 1_000_000),
        10_000,
        "每成员待定事件上限",
        "pending events of one member at most",
    ),
    row(
        "limits",
        "events_per_second_per_member",
        count(1, 1_000_000),
        5_000,
        "每成员每秒事件数",
        "events per second of one member",
    ),
    row(
        "limits",
        "connections_max",
        count(8, 65_536),
        512,
        "接口连接数上限",
        "API connections at most",
    ),
    row(
        "access",
        "anchor_hours",
        count(1, 168),
        24,
        "每隔多少小时把访问日志的摘要记入账本",
        "hours after which the digest of the access log goes onto the ledger",
    ),
    row(
        "access",
        "anchor_lines",
        count(100, 1_000_000_000),
        1_000_000,
        "访问日志新增多少行后提前存证",
        "lines after which it goes there earlier",
    ),
    row(
        "access",
        "retention_days",
        count(1, 36_500),
        400,
        "访问日志保留天数",
        "days for which the access log is kept",
    ),
    row(
        "access",
        "size_mb_max",
        count(128, 1_000_000_000),
        10_240,
        "访问日志总大小上限（MB），超出则提前删除最旧的已存证文件",
        "size of the access log in MB; beyond it the oldest anchored files go earlier",
    ),
    row(
        "webhooks",
        "file",
        optional_text,
        "",
        "webhook 配置文件；留空则不推送",
        "file of webhooks; none: records are delivered nowhere",
    ),
    row(
        "logging",
        "level",
        choice("debug", "info", "warning", "error"),
        "info",
        "日志级别",
        "log level",
    ),
    row("logging", "format", choice("json", "console"), "json", "日志格式", "log format"),
)


class Config:
    """Checked settings: `config["api", "listen"]`; paths resolved by `path`."""

    def __init__(self, file: Path, values: Mapping[tuple[str, str], Any]) -> None:
        self.file = file
        self._values = dict(values)

    def __getitem__(self, key: tuple[str, str]) -> Any:
        return self._values[key]

    def path(self, section: str, key: str) -> Path:
        """A setting that is a path, relative to the file's folder."""
        return (self.file.parent / str(self._values[section, key])).resolve()


def read_config(file: Path) -> Config:
    """Settings of a TOML file. Raises `InvalidConfig` with every fault, its line and key."""
    document, lines = read_document(file)
    values, faults = parse_settings(document, lines, SETTINGS)
    if not faults:
        faults += _contradictions(values, lines)
    if faults:
        raise InvalidConfig(str(file), tuple(faults))
    return Config(file.resolve(), values)


def read_document(file: Path) -> tuple[dict[str, Any], dict[tuple[str, str], int]]:
    """A TOML file, and the line of each section and key. Raises `InvalidConfig`."""
    try:
        data = file.read_bytes()
        content = data.decode()
        document = tomllib.loads(content) if len(data) <= CONFIG_SIZE_BYTES_MAX else None
    except OSError as error:
        fault = ConfigFault(code="config-unreadable", values={"reason": error})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = ConfigFault(code="config-no-toml", values={"reason": error})
    else:
        if document is not None:
            return document, _line_numbers(content)
        fault = ConfigFault(code="config-too-large", values={"limit": CONFIG_SIZE_BYTES_MAX})
    raise InvalidConfig(str(file), (fault,))


def parse_settings(
    document: dict[str, Any],
    lines: Mapping[tuple[str, str], int],
    settings: Sequence[Setting],
) -> tuple[dict[tuple[str, str], Any], list[ConfigFault]]:
    """The values of a table of settings, and every fault; what is not in the table is one."""
    values, faults = _parse_values(document, lines, settings)
    return values, faults + _unknown_keys(document, lines, settings)


def _parse_values(
    document: dict[str, Any],
    lines: Mapping[tuple[str, str], int],
    settings: Sequence[Setting],
) -> tuple[dict[tuple[str, str], Any], list[ConfigFault]]:
    values: dict[tuple[str, str], Any] = {}
    faults: list[ConfigFault] = []
    for setting in settings:
        place = (setting.section, setting.key)
        section = document.get(setting.section, {})
        found = section.get(setting.key, setting.default) if isinstance(section, dict) else REQUIRED
        if found is REQUIRED:
            meaning: dict[str, Value] = {"meaning_zh": setting.zh, "meaning_en": setting.en}
            faults.append(_fault("setting-missing", {}, place, **meaning))
            continue
        if found is setting.default:
            values[place] = found
            continue
        try:
            values[place] = setting.parse(found)
        except InvalidValue as error:
            faults.append(_fault(error.code, lines, place, **error.values))
    return values, faults


def _unknown_keys(
    document: dict[str, Any],
    lines: Mapping[tuple[str, str], int],
    settings: Sequence[Setting],
) -> list[ConfigFault]:
    known = {(setting.section, setting.key) for setting in settings}
    sections = {setting.section for setting in settings}
    faults: list[ConfigFault] = []
    for section, table in document.items():
        if section not in sections or not isinstance(table, dict):
            faults.append(_fault("section-unknown", lines, (section, "")))
            continue
        faults += [
            _fault("setting-unknown", lines, (section, key))
            for key in table
            if (section, key) not in known
        ]
    return faults


def _contradictions(
    values: Mapping[tuple[str, str], Any], lines: Mapping[tuple[str, str], int]
) -> list[ConfigFault]:
    faults: list[ConfigFault] = []
    has_tls = bool(values["api", "tls_certificate"])
    if has_tls != bool(values["api", "tls_key"]):
        faults.append(ConfigFault(code="both-or-none", setting="[api] tls_certificate, tls_key"))
    for file, name in (("passphrase_file", "credential"), ("pin_file", "pin_credential")):
        line, credential = lines.get(("keys", name), 0), values["keys", name]
        if values["keys", file] and credential:
            faults.append(
                ConfigFault(code="one-or-none", line=line, setting=f"[keys] {file}, {name}")
            )
        if "/" in credential or credential.startswith("."):
            faults.append(_fault("path-unwanted", lines, ("keys", name)))
    if not has_tls and not values["api", "listen"].is_loopback:
        faults.append(_fault("tls-missing", lines, ("api", "listen")))
    return faults


def _fault(
    code: str, lines: Mapping[tuple[str, str], int], place: tuple[str, str], **values: Value
) -> ConfigFault:
    """A fault of a key; of a section where the key is empty."""
    setting = f"[{place[0]}] {place[1]}".rstrip()
    return ConfigFault(code=code, line=lines.get(place, 0), setting=setting, values=values)


def _line_numbers(text: str) -> dict[tuple[str, str], int]:
    """Line of each `[section]` (key "") and of each key, for messages only."""
    numbers: dict[tuple[str, str], int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped.startswith("[") and "]" in stripped:
            section, _, key = stripped[1 : stripped.index("]")].partition(".")
            numbers.setdefault((section, key), number)
        elif "=" in stripped and not stripped.startswith("#"):
            numbers.setdefault((section, stripped.partition("=")[0].strip().strip('"')), number)
    return numbers
