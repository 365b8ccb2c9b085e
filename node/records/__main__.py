"""`python -m node.records`: clean one file; prints progress and the quality report as JSON lines.

The last line is `{"report": …, "digest": …, "words": …}` with the rules' titles in both languages,
or `{"refused": {"code": …, "detail": …, …}}` with exit code 1. Lines before it tell the progress:
`{"done_bytes": …, "size_bytes": …, "rows": …}`.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from contracts.words import LANGUAGES
from node.records.errors import RecordsError
from node.records.pipeline import FORMATS, Options, Pipeline
from node.records.report import Report, hash_report
from node.records.shipped import DATASETS, read_code_lists, read_schema
from node.records.words import catalogue

PIECE_BYTES = 1 << 20


def main() -> int:
    """Clean the file that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m node.records", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--encoding", choices=("utf-8", "gb18030"), default="utf-8")
    parser.add_argument("--amounts", choices=("fen", "yuan"), default="fen")
    parser.add_argument("--fields", default="", help="permitted fields, with commas; empty: all")
    parser.add_argument("--output", type=Path, help="where the canonical records go")
    arguments = parser.parse_args()
    options = Options(
        format=arguments.format,
        encoding=arguments.encoding,
        amounts=arguments.amounts,
        fields=frozenset(filter(None, arguments.fields.split(","))),
    )
    try:
        schema = read_schema(arguments.dataset)
        pipeline = Pipeline(arguments.dataset, schema, read_code_lists(schema), options=options)
        report = clean_file(arguments.file, pipeline, arguments.output, _tell)
    except RecordsError as error:
        return _refuse(error.code, error.detail)
    except OSError as error:
        return _refuse("file-unreadable", str(error.filename))
    told = sorted({row.rule for row in report.rules})
    words = {rule: {name: catalogue(name)["rules"][rule] for name in LANGUAGES} for rule in told}
    document = msgspec.to_builtins(report)
    _tell({"report": document, "digest": hash_report(report).hex(), "words": words})
    return 0


def clean_file(
    source: Path, pipeline: Pipeline, output: Path | None, tell: Callable[[object], None]
) -> Report:
    """Run a pipeline over a file; `output` appears when everything is in it, or not at all."""
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(source.open("rb"))
        partial = None if output is None else output.with_name(output.name + ".partial")
        sink = None
        if partial is not None:
            stack.callback(partial.unlink, missing_ok=True)
            sink = stack.enter_context(_create(partial))
        size = os.fstat(data.fileno()).st_size
        done = 0
        while piece := data.read(PIECE_BYTES):
            lines = pipeline.feed(piece)
            if sink is not None:
                sink.write(lines)
            done += len(piece)
            tell({"done_bytes": done, "size_bytes": size, "rows": pipeline.rows})
        lines, report = pipeline.finish()
        if sink is not None and partial is not None and output is not None:
            sink.write(lines)
            sink.close()
            partial.replace(output)
    return report


def _create(path: Path) -> BinaryIO:
    """Records are for their owner's eyes."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _refuse(code: str, detail: str) -> int:
    words = {
        f"{part}_{name}": catalogue(name)["refusals"][code][part]
        for name in LANGUAGES
        for part in ("title", "advice")
    }
    _tell({"refused": {"code": code, "detail": detail, **words}})
    return 1


def _tell(document: object) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=True) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
