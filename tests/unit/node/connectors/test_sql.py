"""The SQL connector on SQLite and on a real PostgreSQL: bound, read-only, streamed, canonical."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.connectors.errors import ConnectorFailed, InvalidOptions
from node.records.errors import InvalidSource
from node.records.parsing import Limits
from tests.postgres import WHY, fresh_postgres, needs_postgres
from tests.unit.node.connectors.asks import (
    BUYER,
    OTHER,
    SELLER,
    ask,
    clean,
    invoice,
)
from tests.unit.node.connectors.service import private

sqlalchemy = pytest.importorskip("sqlalchemy", reason="the extra sql is not installed")

from node.connectors.sql import SqlConnector  # noqa: E402 - needs the library

COLUMNS = {
    "number": "no",
    "issued-on": "day",
    "seller-uscc": "seller",
    "buyer-uscc": "buyer",
    "amount-fen": "amount",
    "buyer-phone": "phone",
}
STATEMENT = """
-- Parameters in comments count too: \\:this one does not.
SELECT no AS "number", day AS "issued-on", seller AS "seller-uscc", buyer AS "buyer-uscc",
       amount AS "amount-fen", phone AS "buyer-phone", '50%' AS note
FROM invoices
WHERE day >= :period_from AND day <= :period_to AND day < :period_end
  AND (:everyone = 1 OR seller IN :subjects)
ORDER BY no
"""


@dataclass
class Database:
    """One to read, and a way to change it beside the connector."""

    url: str
    folder: Path

    def run(self, *statements: str, **values: Any) -> None:
        engine = sqlalchemy.create_engine(self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement), values or None)
        engine.dispose()

    def fill(self, *rows: tuple[int, str, str]) -> None:
        for number, seller, day in rows:
            self.run(
                "INSERT INTO invoices VALUES (:no, :day, :seller, :buyer, :amount, '000-1234567')",
                no=f"{number:020}",
                day=day,
                seller=seller,
                buyer=BUYER,
                amount=number * 100,
            )

    def connect(self, **options: Any) -> SqlConnector:
        private(self.folder / "url", self.url + "\n")
        return SqlConnector({"url_file": "url", **options}, self.folder)

    def of_table(self, **options: Any) -> SqlConnector:
        values = {
            "table": "invoices",
            "columns": COLUMNS,
            "period_column": "day",
            "subject_columns": ["seller"],
        }
        return self.connect(**{**values, **options})

    def of_statement(self, text: str = STATEMENT, **options: Any) -> SqlConnector:
        (self.folder / "ask.sql").write_text(text)
        return self.connect(statement_file="ask.sql", **options)


CREATE = (
    "CREATE TABLE invoices (no varchar(20), day date, seller varchar(18), buyer varchar(18),"
    " amount bigint, phone varchar(20))"
)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    if WHY:
        pytest.skip(WHY)
    with fresh_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path}/data.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
    found = Database(url, tmp_path)
    found.run("DROP TABLE IF EXISTS invoices", CREATE)
    return found


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path}/data.db", tmp_path)


def numbers(connector: SqlConnector, *subjects: str, **changed: Any) -> list[int]:
    records, _ = clean(connector.read(ask(*subjects, **changed)))
    connector.close()
    return sorted(int(record["number"]) for record in records)


def refusal(connector: SqlConnector, *subjects: str, **changed: Any) -> tuple[str, str, bool]:
    with pytest.raises(ConnectorFailed) as caught:
        clean(connector.read(ask(*subjects, **changed)))
    connector.close()
    return caught.value.code, caught.value.detail, caught.value.retry


@pytest.mark.parametrize("way", ["table", "statement"])
def test_rows_of_an_ask(database: Database, way: str) -> None:
    days = ("2025-12-31", "2026-01-01", "2026-12-31", "2027-01-01")
    database.fill(*((n, SELLER if n % 2 else OTHER, day) for n, day in enumerate(days)))
    connector = database.of_table() if way == "table" else database.of_statement()
    connector.check()
    assert numbers(connector) == [1, 2]
    assert numbers(connector, SELLER) == [1]
    assert numbers(connector, SELLER.lower(), OTHER) == [1, 2]
    assert numbers(connector, BUYER) == []
    assert numbers(connector, period_to="9999-12-31") == [1, 2, 3]
    records, report = clean(connector.read(ask(SELLER)))
    assert records == [{**invoice(1), "issued-on": "2026-01-01"}]
    told = {rule.rule for rule in report.rules}
    assert told == (set() if way == "table" else {"field-unpermitted", "field-unknown"})


def test_only_permitted_columns_are_selected(database: Database) -> None:
    database.fill((1, SELLER, "2026-07-03"))
    source = database.of_table().read(ask(fields=("amount-fen", "goods-code")))
    assert b"".join(source.pieces) == b'{"amount-fen":100}\n'
    error = refusal(database.of_table(), fields=("goods-code",))
    assert error == ("fields-unmapped", "invoice", False)


def test_a_subject_in_any_of_the_columns(database: Database) -> None:
    database.fill((1, SELLER, "2026-07-03"), (2, OTHER, "2026-07-03"))
    connector = database.of_table(subject_columns=["seller", "buyer"])
    assert numbers(connector, BUYER) == [1, 2]
    assert numbers(connector, OTHER) == [2]


def test_names_and_ids_are_never_part_of_a_statement(database: Database) -> None:
    database.fill((1, SELLER, "2026-07-03"))
    evil = "x') OR ('1'='1"
    for connector in (database.of_table(), database.of_statement()):
        assert numbers(connector, evil) == []
        assert numbers(connector, "'; DROP TABLE invoices; --") == []
        assert numbers(connector) == [1]
    odd = database.of_table(columns={**COLUMNS, "number": 'no" FROM invoices; --'})
    assert refusal(odd)[0] == "database-refused"
    odd = database.of_table(table='invoices"; DROP TABLE invoices; --')
    assert refusal(odd)[0] == "database-refused"
    assert numbers(database.of_table()) == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO invoices VALUES ('9', :period_from, 'a', 'b', 1, 'c')",
        "DELETE FROM invoices",
        "DROP TABLE invoices",
        "INSERT INTO invoices SELECT * FROM invoices RETURNING no",
        "SELECT 1; DROP TABLE invoices",
    ],
)
def test_nothing_is_ever_written(database: Database, statement: str) -> None:
    database.fill((1, SELLER, "2026-07-03"))
    code, _, retry = refusal(database.of_statement(statement))
    assert (code, retry) == ("database-refused", False)
    assert numbers(database.of_table()) == [1]


@needs_postgres
def test_a_function_cannot_write_either(postgres: str, tmp_path: Path) -> None:
    database = Database(postgres, tmp_path)
    database.run(
        "DROP TABLE IF EXISTS invoices",
        CREATE,
        "CREATE OR REPLACE FUNCTION spill() RETURNS int LANGUAGE sql AS"
        " $$ INSERT INTO invoices (no) VALUES ('1') RETURNING 1 $$",
    )
    connector = database.of_statement("SELECT spill()")
    assert refusal(connector) == ("database-refused", "25006", False)


def test_a_statement_that_cannot_be_is_told_by_the_databases_code(database: Database) -> None:
    database.fill((1, SELLER, "2026-07-03"))
    is_sqlite = database.url.startswith("sqlite")
    code, detail, retry = refusal(database.of_table(table="absent"))
    assert (code, retry) == ("database-refused", False)
    assert detail == ("SQLITE_ERROR" if is_sqlite else "42P01")
    if not is_sqlite:
        secret = database.of_statement("SELECT phone::int FROM invoices")
        assert refusal(secret) == ("database-refused", "22P02", False)


def test_a_statement_without_rows_is_no_answer(sqlite: Database) -> None:
    code, _, retry = refusal(sqlite.of_statement("PRAGMA foreign_keys = ON"))
    assert (code, retry) == ("database-refused", False)


def test_subjects_need_a_way_to_be_told_apart(database: Database) -> None:
    database.fill((1, SELLER, "2026-07-03"))
    everyone = "SELECT no AS number FROM invoices"
    some = "SELECT no AS number FROM invoices WHERE seller IN :subjects"
    wanted = ("subjects-unfiltered", "invoice", False)
    assert refusal(database.of_table(subject_columns=[]), SELLER) == wanted
    assert refusal(database.of_statement(everyone), SELLER) == wanted
    assert refusal(database.of_statement(some)) == ("subjects-required", "invoice", False)


def test_values_come_as_the_pipeline_reads_them(database: Database) -> None:
    if database.url.startswith("sqlite"):
        text = "SELECT 1 AS a, 1.5 AS b, 2.0 AS c, NULL AS d, 9007199254740993 AS e, '税' AS f"
        wanted = '{"a":1,"b":"1.5","c":2,"e":"9007199254740993","f":"税"}\n'
    else:
        text = (
            "SELECT 12.3400::numeric(18,4) AS a, 1200::numeric AS b, 'NaN'::numeric AS c,"
            " 0.1::float8 AS d, true AS e, '2026-07-03'::date AS f,"
            " '2026-07-03 00\\:00\\:00'::timestamp AS g, '08\\:30'::time AS h,"
            " '00000000-0000-0000-0000-000000000001'::uuid AS i, ARRAY[1.50, 2] AS j,"
            " 'a  '::char(3) AS k, 1e20::numeric AS l, '{\"x\"\\:[1,null]}'::jsonb AS m"
        )
        wanted = (
            '{"a":"12.34","b":"1200","c":"NaN","d":"0.1","e":true,"f":"2026-07-03",'
            '"g":"2026-07-03T00:00:00","h":"08:30:00",'
            '"i":"00000000-0000-0000-0000-000000000001","j":["1.5","2"],'
            '"k":"a  ","l":"100000000000000000000","m":{"x":[1,null]}}\n'
        )
    source = database.of_statement(text).read(ask())
    assert b"".join(source.pieces).decode() == wanted


def test_amounts_in_yuan(database: Database) -> None:
    number = "CAST('1234.5' AS numeric(18,4))"
    text = (
        f"SELECT '{'0' * 20}' AS number, '2026-07-03' AS \"issued-on\", {number} AS \"amount-fen\""
    )
    connector = database.of_statement(text, amounts="yuan")
    records, _ = clean(connector.read(ask()))
    assert records[0]["amount-fen"] == 123_450
    _, report = clean(database.of_statement(text).read(ask()))
    assert {rule.rule for rule in report.rules} == {"fen"}


def test_columns_that_no_record_can_hold(database: Database) -> None:
    is_sqlite = database.url.startswith("sqlite")
    for odd in ("CAST('x' AS blob)",) if is_sqlite else ("'x'::bytea", "'1 day'::interval"):
        assert refusal(database.of_statement(f"SELECT {odd} AS a")) == ("column-type", "a", False)
    with pytest.raises(InvalidSource) as caught:
        database.of_statement("SELECT 1 AS a, 2 AS a").read(ask())
    assert caught.value.code == "columns-repeated"


@needs_postgres
def test_a_statement_that_takes_too_long_or_breaks_off(postgres: str, tmp_path: Path) -> None:
    database = Database(postgres, tmp_path)
    slow = database.of_statement("SELECT pg_sleep(30)", timeout_s=1)
    assert refusal(slow) == ("database-unreachable", "57014", True)
    rows = database.of_statement("SELECT n AS number FROM generate_series(1, 1000000) AS s(n)")
    source = rows.read(ask())
    assert next(source.pieces)
    others = "pid <> pg_backend_pid() AND backend_type = 'client backend'"
    database.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    with pytest.raises(ConnectorFailed) as caught:
        list(source.pieces)
    assert (caught.value.code, caught.value.retry) == ("database-unreachable", True)


def test_a_database_that_is_not_there_may_come_back(sqlite: Database, tmp_path: Path) -> None:
    nowhere = Database(f"sqlite:///{tmp_path}/absent/data.db", tmp_path).of_table()
    for call in (nowhere.check, lambda: nowhere.read(ask())):
        with pytest.raises(ConnectorFailed) as caught:
            call()
        assert (caught.value.code, caught.value.retry) == ("database-unreachable", True)
    away = Database("postgresql://reader@127.0.0.1:1/x", tmp_path).of_table(timeout_s=2)
    with pytest.raises(ConnectorFailed) as caught:
        away.check()
    assert (caught.value.code, caught.value.retry) == ("database-unreachable", True)


def test_memory_does_not_grow_with_the_rows(database: Database) -> None:
    """Traced memory of Python; what the driver keeps is bounded by its cursor on the server."""
    many = (
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000)"
        " SELECT n AS number, 'x' AS status FROM s"
    )
    source = database.of_statement(many).read(ask())
    tracemalloc.start()
    try:
        rows = sum(piece.count(b"\n") for piece in source.pieces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert rows == 100_000
    assert peak < 4_000_000


def test_more_rows_than_a_source_may_have_end_it(database: Database) -> None:
    endless = (
        "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s) SELECT n AS number FROM s"
    )
    connector = database.of_statement(endless)
    with pytest.raises(InvalidSource) as caught:
        clean(connector.read(ask()), limits=Limits(rows_max=5_000))
    connector.close()
    assert caught.value.code == "rows-many"
    assert numbers(database.of_statement("SELECT 1 AS a")) == []


def test_a_source_that_was_left_does_not_end_the_next_one(database: Database) -> None:
    database.fill(*((n, SELLER, "2026-07-03") for n in range(3)))
    connector = database.of_table()
    left = connector.read(ask()).pieces
    next(left)
    source = connector.read(ask())
    del left
    assert len(clean(source)[0]) == 3


def test_rows_that_nobody_reads_to_the_end_are_let_go(database: Database) -> None:
    database.fill((1, SELLER, "2026-07-03"))
    connector = database.of_table()
    connector.read(ask())
    connector.close()
    connector.close()
    assert numbers(connector) == [1]


def test_what_cannot_be_meant(sqlite: Database, tmp_path: Path) -> None:
    (tmp_path / "latin.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    (tmp_path / "empty.sql").write_text(" \n")
    (tmp_path / "long.sql").write_text("SELECT 1 --" + "x" * 70_000)
    (tmp_path / "odd.sql").write_text("SELECT :id, :subject, :subjects")
    table = {"table": "invoices", "columns": COLUMNS}
    for code, options in (
        ("option-choice", {}),
        ("option-choice", {**table, "statement_file": "odd.sql"}),
        ("option-choice", {"statement_file": "empty.sql", "period_column": "day"}),
        ("option-missing", {"table": "invoices"}),
        ("option-file", {"statement_file": "absent.sql"}),
        ("option-file", {"statement_file": "latin.sql"}),
        ("option-file", {"statement_file": "empty.sql"}),
        ("option-file", {"statement_file": "long.sql"}),
        ("parameter-unknown", {"statement_file": "odd.sql"}),
    ):
        with pytest.raises(InvalidOptions) as caught:
            sqlite.connect(**options)
        assert caught.value.code == code, options
    assert caught.value.detail.startswith(":id :subject (:period_from ")
    for code, url in (
        ("option-file", "not a url"),
        ("option-file", "nosuch://host/db"),
        ("library-missing", "mysql+pymysql://host/db"),
    ):
        with pytest.raises(InvalidOptions) as caught:
            Database(url, tmp_path).connect(**table)
        assert caught.value.code == code, url
        assert url not in str(caught.value)


def test_a_database_must_have_a_way_to_be_read_only(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(__import__("node.connectors.sql").connectors.sql._READ_ONLY, "sqlite")
    with pytest.raises(InvalidOptions) as caught:
        sqlite.of_table()
    assert (caught.value.code, caught.value.detail) == ("database-unsupported", "sqlite")
    sqlite.run(CREATE)
    sqlite.fill((1, SELLER, "2026-07-03"))
    own = sqlite.of_statement(
        "DELETE FROM invoices RETURNING no AS number", read_only_statement="PRAGMA query_only = 1"
    )
    assert refusal(own) == ("database-refused", "SQLITE_READONLY", False)


def test_no_message_shows_an_id(sqlite: Database) -> None:
    with pytest.raises(ConnectorFailed) as caught:
        sqlite.of_table(table="absent").read(ask(SELLER))
    cause = caught.value.__context__
    assert "absent" in str(cause), "the database's own message, which a log may have"
    assert SELLER not in f"{cause}{caught.value}"
