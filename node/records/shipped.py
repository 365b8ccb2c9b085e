"""Schemas and code lists that come with the software, from `config/datasets` and `config/codes`."""

import json
from functools import cache
from importlib.resources import files

from contracts.registers.schema import Shape
from node.records.errors import InvalidSchema
from node.records.schema import decode_schema

DATASETS = ("registration", "filing", "incentive", "invoice", "account")


@cache
def read_schema(dataset: str) -> Shape:
    """The schema of a dataset that is shipped. Raises `InvalidSchema` for any other name."""
    if dataset not in DATASETS:
        raise InvalidSchema("dataset-unknown", dataset)
    return decode_schema((files("config") / "datasets" / f"{dataset}.json").read_bytes())


@cache
def read_codes(name: str) -> dict[str, tuple[str, ...]]:
    """The codes of a list that is shipped, each with its names, of which there may be none."""
    document = json.loads((files("config") / "codes" / f"{name}.json").read_bytes())
    codes = document["codes"]
    if isinstance(codes, list):
        return dict.fromkeys(codes, ())
    return {code: tuple(names) for code, names in codes.items()}


def read_code_lists(schema: Shape) -> dict[str, dict[str, tuple[str, ...]]]:
    """The shipped code lists that the fields of a record name."""
    names = sorted({shape.code_list for shape in schema.properties.values()} - {""})
    return {name: read_codes(name) for name in names}
