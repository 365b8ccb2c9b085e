"""Settings of `gateway.toml`: a table, as those of a node, and the connectors of its datasets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from node.config import (
    REQUIRED,
    Address,
    Config,
    Setting,
    address,
    choice,
    count,
    optional_text,
    parse_settings,
    read_document,
    row,
    text,
)
from node.errors import ConfigFault, InvalidConfig, InvalidValue
from node.gateway.agency.schedule import Schedule
from node.gateway.work.tasks import Messages, Plug

_TABLES = ("receiver", "datasets", "schedules", "messages")


def _paths(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise InvalidValue("paths-wanted")
    return tuple(value)


SETTINGS: tuple[Setting, ...] = (
    row("gateway", "member", text, REQUIRED, "本网关所属成员单位", "member id of this gateway"),
    row(
        "gateway", "node", text, "http://127.0.0.1:7202",
        "本单位节点的接口地址", "URL of the own node's API",
    ),
    row(
        "gateway", "node_ca", optional_text, "",
        "节点接口证书的 CA 文件", "CA file for the certificate of the node's API",
    ),
    row("gateway", "listen", address, REQUIRED, "其他网关访问的地址", "address for other gateways"),
    row("gateway", "data_dir", text, "gateway-data", "数据目录", "data directory"),
    row(
        "gateway", "socket", text, "gateway.sock",
        "本单位系统使用的套接字", "socket for the agency's own systems",
    ),
    row(
        "gateway", "drop", optional_text, "",
        "投放请求与提供的文件夹；留空则不用",
        "folder for files with requests and offers; empty: none",
    ),
    row(
        "gateway", "outbox_days", count(1, 365), 30,
        "发件箱保留天数", "days that a payload stays in the outbox",
    ),
    row(
        "gateway", "in_flight_max", count(1, 1_000), 32,
        "同时处理的交换数", "exchanges worked on at once",
    ),
    row("work", "processes", count(1, 64), 2, "工作进程数", "processes that read, seal and open"),
    row(
        "work", "stall_seconds", count(1, 86_400), 120,
        "无进展多少秒后终止", "seconds without progress until a process is ended",
    ),
    row(
        "work", "memory_mb", count(256, 1_048_576), 1_024,
        "每个进程的内存上限（MB）", "memory of a process at most (MB)",
    ),
    row(
        "keys", "officer", text, "keys/gateway.key",
        "服务经办人密钥：文件或 pkcs11: 地址", "key of the service officer: file or pkcs11: URI",
    ),
    row(
        "keys", "decryption", text, "keys/encryption.key",
        "解密密钥（最新的）", "decryption key, the newest",
    ),
    row(
        "keys", "decryption_before", _paths, (),
        "此前的解密密钥", "decryption keys before it",
    ),
    row("keys", "tls_certificate", text, "keys/gateway.crt", "TLS 证书", "TLS certificate"),
    row("keys", "tls_key", text, "keys/gateway-tls.key", "TLS 私钥", "TLS private key"),
    row(
        "keys", "passphrase_file", optional_text, "",
        "密钥库口令文件，权限 0600", "file with the pass phrase of keystores, mode 0600",
    ),
    row(
        "keys", "credential", optional_text, "",
        "存放密钥库口令的 systemd 凭据名称", "systemd credential with the pass phrase of keystores",
    ),
    row(
        "keys", "pin_file", optional_text, "",
        "令牌 PIN 文件，权限 0600", "file with a token's PIN",
    ),
    row(
        "keys", "pin_credential", optional_text, "",
        "存放令牌 PIN 的 systemd 凭据名称", "systemd credential with the PIN of a token",
    ),
    row(
        "metrics", "listen", address, Address("127.0.0.1", 0),
        "指标监听地址", "address of the metrics",
    ),
    row(
        "logging", "level", choice("debug", "info", "warning", "error"), "info",
        "日志级别", "log level",
    ),
    row("logging", "format", choice("json", "console"), "json", "日志格式", "log format"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Checked settings, and plug-ins by dataset. A dataset without one is not provided here.

    `messages` are settings of datasets whose payloads are messages of the reporting standard.
    """

    settings: Config
    connectors: dict[str, Plug]
    receiver: Plug
    schedules: dict[str, Schedule]
    messages: dict[str, Messages]


def read_gateway_config(file: Path) -> GatewayConfig:
    """Settings of a TOML file. Raises `InvalidConfig` with every fault."""
    document, lines = read_document(file)
    tables = {name: document.pop(name, {}) for name in _TABLES}
    values, faults = parse_settings(document, lines, SETTINGS)
    connectors = _convert(tables["datasets"], dict[str, Plug], "datasets", faults)
    schedules = _convert(tables["schedules"], dict[str, Schedule], "schedules", faults)
    receiver = _convert(tables["receiver"] or {"name": "folder"}, Plug, "receiver", faults)
    messages = _convert(tables["messages"], dict[str, Messages], "messages", faults)
    if faults:
        raise InvalidConfig(str(file), tuple(faults))
    return GatewayConfig(
        settings=Config(file.resolve(), values),
        connectors=connectors,
        receiver=receiver,
        schedules=schedules,
        messages=messages,
    )


def _convert(table: Mapping[str, Any], shape: Any, name: str, faults: list[ConfigFault]) -> Any:
    try:
        return msgspec.convert(table, shape)
    except msgspec.ValidationError as error:
        values = {"reason": error}
        faults.append(ConfigFault(code="table-malformed", setting=f"[{name}]", values=values))
        return {}
