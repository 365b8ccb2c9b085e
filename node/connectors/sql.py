"""Connector: a database, read through SQLAlchemy, in a session that is made read-only.

Either a table or view, of which the permitted columns are selected, or a statement in a file. Its
text is never put together from an ask; what an ask says is bound to these parameters:

    :period_from :period_to   first and last day      :period_end   the day after the last
    :subjects                 ids, as in `WHERE id IN :subjects`
    :everyone                 1 for asks without subjects, else 0

Names of its columns are those of fields: `SELECT seller_id AS "seller-uscc"`. An account of the
database that may read no more than it must is still the better lock.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    Engine,
    Executable,
    NullPool,
    Result,
    bindparam,
    column,
    create_engine,
    make_url,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from contracts.registers.schema import INTEGER_MAX
from node.connectors.errors import ConnectorFailed, InvalidOptions
from node.connectors.interface import Ask, Source
from node.connectors.options import (
    NAMES,
    PATH,
    REQUIRED,
    TABLE,
    TEXT,
    choice,
    count,
    option,
    read_options,
    read_secret,
)
from node.connectors.rows import day_after, period_of
from node.records.errors import InvalidSource
from node.records.normalise import canonical_identifier

STATEMENT_BYTES_MAX = 65_536
ROWS_AT_ONCE = 1_000
PARAMETERS = ("period_from", "period_to", "period_end", "subjects", "everyone")

SQL_OPTIONS = (
    option(
        "url_file",
        PATH,
        REQUIRED,
        "数据库网址文件（一行，SQLAlchemy 形式），如 `postgresql://读取账户:密码@主机/库`",
        "file with the URL of the database (one line, as of SQLAlchemy), as"
        " `postgresql://reader:password@host/name`",
    ),
    option(
        "table",
        TEXT,
        "",
        "表或视图，可带模式：`tax.invoices`；与 `statement_file` 二选一",
        "table or view, with its schema perhaps: `tax.invoices`; or else `statement_file`",
    ),
    option(
        "columns",
        TABLE,
        {},
        "用表时必填：各字段对应的列",
        "with a table, required: the column of each field",
    ),
    option(
        "period_column",
        TEXT,
        "",
        "用表时：筛选期间的日期列；为空则不筛选",
        "with a table: column of dates to tell the period by; none: not told apart",
    ),
    option(
        "subject_columns",
        NAMES,
        (),
        "用表时：含主体标识的列；为空则只答复不限主体的请求",
        "with a table: columns with the id of the subject; none: only asks for all subjects are"
        " answered",
    ),
    option(
        "statement_file",
        PATH,
        None,
        "语句文件，参数 " + " ".join(f"`:{name}`" for name in PARAMETERS),
        "file with a statement, of parameters " + " ".join(f"`:{name}`" for name in PARAMETERS),
    ),
    option("amounts", choice("fen", "yuan"), "fen", "金额单位", "unit of amounts"),
    option(
        "timeout_s",
        count(1, 3_600),
        60,
        "连接及一条语句最长时间（PostgreSQL、SQLite）",
        "longest time for a connection and for a statement (PostgreSQL, SQLite)",
    ),
    option(
        "read_only_statement",
        TEXT,
        "",
        "使会话只读的语句；PostgreSQL 与 SQLite 无须填写",
        "statement that makes the session read-only; not needed for PostgreSQL and SQLite",
    ),
)

_READ_ONLY = {
    "postgresql": "SET TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}
_OF_TABLE = ("columns", "period_column", "subject_columns")

# What passes by itself: classes of SQLSTATE, beginnings of the names that SQLite has for errors.
_PASSING_STATES = frozenset({"08", "40", "53", "55", "57", "58"})
_PASSING_NAMES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN")


class SqlConnector:
    """Options as in `SQL_OPTIONS`."""

    def __init__(self, options: Mapping[str, Any], base: Path) -> None:
        self._options = read_options(SQL_OPTIONS, options, base)
        if bool(self._options["table"]) == bool(self._options["statement_file"]):
            raise InvalidOptions("option-choice", "table, statement_file")
        self._statement: str | None = None
        self._used: frozenset[str] = frozenset()
        if self._options["statement_file"]:
            if foreign := [name for name in _OF_TABLE if name in options]:
                raise InvalidOptions("option-choice", f"statement_file, {', '.join(foreign)}")
            self._statement, self._used = _read_statement(self._options["statement_file"])
        elif not self._options["columns"]:
            raise InvalidOptions("option-missing", "columns")
        self._engine = _make_engine(self._options)
        name = self._engine.dialect.name
        self._read_only: str = self._options["read_only_statement"] or _READ_ONLY.get(name, "")
        if not self._read_only:
            raise InvalidOptions("database-unsupported", name)
        self._open: Connection | None = None
        self._result: Result[Any] | None = None

    def check(self) -> None:
        """Whether a session can be opened."""
        self._connect()
        self.close()

    def read(self, ask: Ask) -> Source:
        """The rows of the ask, as JSON Lines, while the database sends them."""
        statement, values = self._ask_statement(ask) if self._statement else self._ask_table(ask)
        connection = self._connect()
        try:
            self._result = result = connection.execute(statement, values)
            names = list(result.keys())
        except SQLAlchemyError as error:
            self.close()
            raise _failed(error) from None
        if len(set(names)) != len(names):
            self.close()
            raise InvalidSource("columns-repeated", "")
        pieces = self._pieces(result, names)
        return Source(format="jsonl", amounts=self._options["amounts"], pieces=pieces)

    def close(self) -> None:
        """End the session, and a statement that still runs."""
        if self._result is not None:
            result, self._result = self._result, None
            try:
                result.close()
            except SQLAlchemyError:
                pass  # the session is broken, and ends below
        if self._open is not None:
            connection, self._open = self._open, None
            # Without a word to a server that may not listen any more.
            connection.invalidate()
            connection.close()

    def _connect(self) -> Connection:
        self.close()
        try:
            connection = self._engine.connect()
            self._open = connection
            connection.exec_driver_sql(self._read_only)
            if self._engine.dialect.name == "postgresql":
                limit = text("SELECT set_config('statement_timeout', :limit, true)")
                connection.execute(limit, {"limit": f"{self._options['timeout_s']}s"})
        except SQLAlchemyError as error:
            self.close()
            raise _failed(error) from None
        return connection.execution_options(stream_results=True, max_row_buffer=ROWS_AT_ONCE)

    def _ask_table(self, ask: Ask) -> tuple[Executable, dict[str, Any]]:
        columns: dict[str, str] = self._options["columns"]
        period, subject_columns = self._options["period_column"], self._options["subject_columns"]
        schema, _, name = self._options["table"].rpartition(".")
        named = {*columns.values(), *subject_columns, *filter(None, (period,))}
        # Columns of the table come out with its name: SQLite takes an unknown one without it for
        # a text.
        source = table(name, *map(column, sorted(named)), schema=schema or None)
        wanted = [source.c[columns[name]].label(name) for name in ask.fields if name in columns]
        if not wanted:
            raise ConnectorFailed("fields-unmapped", ask.dataset, retry=False)
        statement = select(*wanted)
        if period:
            # Half open, so that a column of times has its last day whole.
            statement = statement.where(
                source.c[period] >= bindparam("period_from"),
                source.c[period] < bindparam("period_end"),
            )
        if ask.subjects:
            if not subject_columns:
                raise ConnectorFailed("subjects-unfiltered", ask.dataset, retry=False)
            subjects: BindParameter[str] = bindparam("subjects", expanding=True)
            statement = statement.where(
                or_(*(source.c[name].in_(subjects) for name in subject_columns))
            )
        return statement, _values(ask)

    def _ask_statement(self, ask: Ask) -> tuple[Executable, dict[str, Any]]:
        if ask.subjects and "subjects" not in self._used:
            raise ConnectorFailed("subjects-unfiltered", ask.dataset, retry=False)
        if not ask.subjects and "subjects" in self._used and "everyone" not in self._used:
            raise ConnectorFailed("subjects-required", ask.dataset, retry=False)
        statement = text(self._statement or "")
        if "subjects" in self._used:
            statement = statement.bindparams(bindparam("subjects", expanding=True))
        return statement, {name: _values(ask)[name] for name in self._used}

    def _pieces(self, result: Result[Any], names: list[str]) -> Iterator[bytes]:
        encode = msgspec.json.Encoder().encode
        try:
            for rows in result.partitions(ROWS_AT_ONCE):
                yield b"".join(encode(_record(names, row)) + b"\n" for row in rows)
        except SQLAlchemyError as error:
            raise _failed(error) from None
        finally:
            if self._result is result:
                self.close()


def _read_statement(path: Path) -> tuple[str, frozenset[str]]:
    """Text of a statement and the parameters that it uses. Raises `InvalidOptions`."""
    try:
        with path.open("rb") as file:
            data = file.read(STATEMENT_BYTES_MAX + 1)
        statement = data.decode().strip()
    except OSError as error:
        detail = f"statement_file: {path}: {error.strerror}"
        raise InvalidOptions("option-file", detail) from None
    except UnicodeDecodeError:
        raise InvalidOptions("option-file", f"statement_file: {path}: UTF-8") from None
    if not statement or len(data) > STATEMENT_BYTES_MAX:
        detail = f"statement_file: {path}: 1 … {STATEMENT_BYTES_MAX:,} B"
        raise InvalidOptions("option-file", detail)
    used = frozenset(text(statement).compile().params)
    if unknown := sorted(used - set(PARAMETERS)):
        known = " ".join(f":{name}" for name in PARAMETERS)
        named = " ".join(f":{name}" for name in unknown)
        raise InvalidOptions("parameter-unknown", f"{named} ({known})")
    return statement, used


def _make_engine(values: Mapping[str, Any]) -> Engine:
    timeout_s = values["timeout_s"]
    try:
        url = make_url(read_secret(values["url_file"], "url_file").decode())
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        arguments = {
            "postgresql": {"connect_timeout": timeout_s, "keepalives_idle": timeout_s},
            "sqlite": {"timeout": timeout_s},
        }.get(url.get_backend_name(), {})
        # Parameters are ids of people: no message shows them.
        return create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=arguments)
    except (ArgumentError, ValueError):
        raise InvalidOptions("option-file", f"url_file: {values['url_file']}") from None
    except ModuleNotFoundError as error:
        raise InvalidOptions("library-missing", f"sql: {error.name}") from None


def _values(ask: Ask) -> dict[str, Any]:
    """What the parameters are bound to: texts, which a database compares with dates of its own."""
    return {
        "period_from": ask.period_from,
        "period_to": ask.period_to,
        "period_end": day_after(period_of(ask)[1]),
        # An empty list would be one of numbers to the database.
        "subjects": [canonical_identifier(subject.id) for subject in ask.subjects] or [""],
        "everyone": 0 if ask.subjects else 1,
    }


def _record(names: list[str], row: Iterable[Any]) -> dict[str, Any]:
    return {
        name: _value(name, value)
        for name, value in zip(names, row, strict=True)
        if value is not None
    }


def _value(name: str, value: Any) -> Any:
    """As the pipeline reads JSON: no fraction but in a text, no integer beyond 2^53."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= INTEGER_MAX else str(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= INTEGER_MAX else repr(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return str(value)
        # As short as it can be, so that an amount of numeric(18, 4) has two digits where it may.
        number = format(value, "f")
        return number.rstrip("0").rstrip(".") if "." in number else number
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [_value(name, item) for item in value]
    if isinstance(value, dict):
        return {str(key): _value(name, item) for key, item in value.items()}
    raise ConnectorFailed("column-type", name, retry=False)


def _failed(error: SQLAlchemyError) -> ConnectorFailed:
    """Told by the database's code, since its messages quote values."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    state = getattr(cause, "sqlstate", None)
    name = getattr(cause, "sqlite_errorname", None)
    detail = state or name or type(cause or error).__name__
    if state:
        is_passing = state[:2] in _PASSING_STATES
    elif name:
        is_passing = name.startswith(_PASSING_NAMES)
    else:
        is_passing = isinstance(error, OperationalError | InterfaceError)
    if is_passing:
        return ConnectorFailed("database-unreachable", detail, retry=True)
    return ConnectorFailed("database-refused", detail, retry=False)
