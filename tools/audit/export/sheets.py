"""A table as CSV (RFC 4180) or as Parquet."""

import csv
import io
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import IO, Any

from ledger.export.cloudevents import format_time
from tools.audit.export.tables import Column, Table
from tools.exits import ToolError

GROUP_ROWS = 8_192
EXCEL_CHARS_MAX = 32_767  # of a cell; what is longer would spill into the next row


def write_csv(
    table: Table, rows: Iterator[tuple[Any, ...]], file: IO[bytes], *, for_excel: bool = False
) -> int:
    """Write a head and the rows in UTF-8. Returns how many rows.

    Excel knows UTF-8 by a byte-order mark, and times without zone and fractions; its cells are cut.
    """
    text = io.TextIOWrapper(file, encoding="utf-8-sig" if for_excel else "utf-8", newline="")
    tell = _excel_cell if for_excel else _cell
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(column.name for column in table.columns)
    count = 0
    for row in rows:
        count += 1
        cells = zip(table.columns, row, strict=True)
        writer.writerow(tell(column, value) for column, value in cells)
    text.detach()  # the file is not ours to close
    return count


def write_parquet(
    table: Table, rows: Iterator[tuple[Any, ...]], file: IO[bytes], facts: Mapping[str, str]
) -> int:
    """Write the rows; `facts` and the schema's name stand in the file's own data.

    Raises `ToolError` where the library is not installed. Returns how many rows.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ToolError("extra-analytics-missing", str(error.name)) from None
    types = {
        "integer": pa.int64(),
        "text": pa.string(),
        "yes-no": pa.bool_(),
        "time": pa.timestamp("ms", tz="UTC"),
        "texts": pa.list_(pa.string()),
    }
    metadata = {"tallystick.schema": table.schema, **facts}
    fields = [
        pa.field(column.name, types[column.type], metadata={"zh": column.zh, "en": column.en})
        for column in table.columns
    ]
    schema = pa.schema(fields, metadata=metadata)
    count = 0
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(rows, GROUP_ROWS)):
            columns = [
                pa.array(values, type=types[column.type])
                for column, values in zip(table.columns, zip(*group, strict=True), strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            count += len(group)
    return count


def _excel_cell(column: Column, value: Any) -> str:
    if column.type == "time" and value is not None:
        return format_time(value)[:19].replace("T", " ")
    cell = _cell(column, value)
    return cell if len(cell) <= EXCEL_CHARS_MAX else cell[: EXCEL_CHARS_MAX - 1] + "…"


def _cell(column: Column, value: Any) -> str:
    if value is None:
        return ""
    match column.type:
        case "time":
            return format_time(value)
        case "texts":
            return " ".join(value)
        case "yes-no":
            return "true" if value else "false"
    return str(value)
