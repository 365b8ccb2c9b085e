"""Connector: files of CSV, JSON Lines or XML in a folder, which another system puts there.

With the format `message` it is one file, a message of the reporting standard, which goes as it is.

A file name that ends with `.part` or `.tmp`, or begins with a dot, is still being written and is
not seen; one that changes while it is read makes the ask fail, to be tried again. Links may lead
only to files in the same folder.
"""

import glob
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from node.connectors.errors import ConnectorFailed, InvalidOptions
from node.connectors.interface import SOURCE_FORMATS, Ask, Source
from node.connectors.options import (
    NAMES,
    PATH,
    REQUIRED,
    TEXT,
    choice,
    option,
    read_options,
)
from node.connectors.rows import (
    MONTHS,
    RowFilter,
    period_labels,
    period_of,
    select_lines,
    select_xml,
)

PIECE_BYTES = 1 << 18
FILES_MAX = 10_000

FOLDER_OPTIONS = (
    option("path", PATH, REQUIRED, "文件夹", "the folder"),
    option(
        "files",
        TEXT,
        REQUIRED,
        "文件名模式，可含 `{dataset}`、`{period}`、`{exchange}`、`{requester}` 与 `*`、`?`；"
        "按名称顺序读取",
        "pattern of file names, with `{dataset}`, `{period}`, `{exchange}`, `{requester}`, `*` and"
        " `?`; read in the order of names",
    ),
    option(
        "format",
        choice(*SOURCE_FORMATS),
        REQUIRED,
        "文件格式；`message` 为单个申报标准报文，原样发送",
        "format of the files; `message`: one message of the reporting standard, sent as it is",
    ),
    option("encoding", choice("utf-8", "gb18030"), "utf-8", "字符编码", "encoding"),
    option("amounts", choice("fen", "yuan"), "fen", "金额单位", "unit of amounts"),
    option(
        "period",
        choice(*MONTHS),
        "year",
        "`{period}` 的长度：`2026`、`2026-H1`、`2026-Q3`、`2026-07`",
        "length of `{period}`: `2026`, `2026-H1`, `2026-Q3`, `2026-07`",
    ),
    option(
        "missing",
        choice("refuse", "skip"),
        "refuse",
        "某一期没有文件时：拒绝，或跳过",
        "where a period has no file: refuse, or skip it",
    ),
    option(
        "subject_fields",
        NAMES,
        (),
        "含主体标识的字段；为空则只答复不限主体的请求",
        "fields with the id of the subject; none: only asks for all subjects are answered",
    ),
    option(
        "period_field",
        TEXT,
        "",
        "含日期或所属期的字段；期间之外的行不取",
        "field with the date or period; rows outside the period asked for are left out",
    ),
)

_PLACE = re.compile(r"\{(\w*)\}")
_PLACES = ("dataset", "period", "exchange", "requester")
_UNFINISHED = (".part", ".tmp")


class FolderConnector:
    """Options as in `FOLDER_OPTIONS`."""

    def __init__(self, options: Mapping[str, Any], base: Path) -> None:
        self._options = read_options(FOLDER_OPTIONS, options, base)
        self._root: Path = self._options["path"]
        self._files: str = self._options["files"]
        parts = PurePosixPath(self._files).parts
        foreign = set(_PLACE.findall(self._files)) - set(_PLACES)
        if foreign or self._files.startswith("/") or {"..", "**"} & set(parts):
            places = " ".join(f"{{{place}}}" for place in _PLACES)
            raise InvalidOptions("option-invalid", f"files: {places} * ?")
        self._is_message = self._options["format"] == "message"
        if self._is_message and (self._options["subject_fields"] or self._options["period_field"]):
            raise InvalidOptions("option-invalid", "format: message, subject_fields, period_field")

    def check(self) -> None:
        """Whether the folder can be listed."""
        try:
            with os.scandir(self._root) as entries:
                next(entries, None)
        except OSError as error:
            raise _unreachable(self._root, error) from None

    def read(self, ask: Ask) -> Source:
        """The rows of the ask in all files that the pattern names for it."""
        row_filter = RowFilter.of(
            ask, self._options["subject_fields"], self._options["period_field"]
        )
        self.check()
        paths = self._find(ask)
        if self._is_message:
            if len(paths) > 1:
                raise ConnectorFailed("files-many", "1", retry=False)
            return Source(format="message", pieces=self._read_file(paths[0]))
        files = (self._read_file(path) for path in paths)
        is_xml = self._options["format"] == "xml"
        encoding = self._options["encoding"]
        pieces = (
            select_xml(files, encoding=encoding, row_filter=row_filter)
            if is_xml
            else select_lines(
                files,
                is_csv=self._options["format"] == "csv",
                encoding=encoding,
                row_filter=row_filter,
            )
        )
        return Source(
            format="jsonl" if is_xml else self._options["format"],
            encoding="utf-8" if is_xml else encoding,
            amounts=self._options["amounts"],
            pieces=pieces,
        )

    def close(self) -> None:
        """Nothing stays open between two asks."""

    def _find(self, ask: Ask) -> list[Path]:
        places = {
            "dataset": ask.dataset,
            "exchange": ask.exchange.hex(),
            "requester": ask.requester,
        }
        labels = [""]
        if "{period}" in self._files:
            labels = list(period_labels(self._options["period"], *period_of(ask)))
        found: dict[Path, None] = {}
        for places["period"] in labels:
            pattern = _PLACE.sub(lambda match: glob.escape(places[match[1]]), self._files)
            matches = sorted(path for path in self._root.glob(pattern) if _is_finished(path))
            if not matches and self._options["missing"] == "refuse":
                raise ConnectorFailed("files-missing", pattern, retry=True)
            found.update(dict.fromkeys(matches))
        if not found:
            raise ConnectorFailed("files-missing", self._files, retry=True)
        if len(found) > FILES_MAX:
            raise ConnectorFailed("files-many", str(FILES_MAX), retry=False)
        return list(found)

    def _read_file(self, path: Path) -> Iterator[bytes]:
        name = str(path.relative_to(self._root))
        real = path.resolve()
        if not real.is_relative_to(self._root.resolve()):
            raise ConnectorFailed("file-outside", name, retry=False)
        try:
            # Not blocked for ever by a pipe that nobody writes to.
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    raise ConnectorFailed("file-outside", name, retry=False)
                while piece := file.read(PIECE_BYTES):
                    yield piece
                after = os.fstat(descriptor)
        except OSError as error:
            raise _unreachable(path, error) from None
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ConnectorFailed("file-changed", name, retry=True)


def _is_finished(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name.endswith(_UNFINISHED)
    return not hidden and not path.is_dir()


def _unreachable(path: Path, error: OSError) -> ConnectorFailed:
    return ConnectorFailed("files-unreachable", f"{path}: {error.strerror}", retry=True)
