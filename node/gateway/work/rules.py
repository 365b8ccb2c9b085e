"""The schema and code lists that records keep to: those voted for, or those shipped."""

from contracts.registers.schema import Shape
from node.gateway.jobs import Failed
from node.gateway.work.tasks import About, Rules
from node.records.schema import decode_schema
from node.records.shipped import read_code_lists, read_codes, read_schema
from node.records.validate import CodeLists


def permitted_fields(about: About) -> frozenset[str]:
    """Fields that may go on. Raises `Failed` where the contracts leave none.

    The pipeline takes no fields for all fields.
    """
    if not about.fields:
        raise Failed("fields-none", about.dataset, retry=False)
    return frozenset(about.fields)


def read_rules(dataset: str, rules: Rules) -> tuple[Shape, CodeLists]:
    """Raises `InvalidSchema` for a dataset without any schema."""
    if not rules.text:
        schema = read_schema(dataset)
        return schema, read_code_lists(schema)
    schema = decode_schema(rules.text.encode())
    named = sorted({shape.code_list for shape in schema.properties.values()} - {""})
    codes: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in named:
        voted = rules.codes.get(name)
        codes[name] = read_codes(name) if voted is None else dict.fromkeys(voted, ())
    return schema, codes
