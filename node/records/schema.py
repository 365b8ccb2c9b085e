"""Record schemas as bytes of a file; their dialect is `contracts.registers.schema`."""

from dataclasses import replace

from contracts.errors import InvalidSchema as NoSchema
from contracts.registers.schema import Shape, read_schema
from node.records.errors import InvalidSchema

SCHEMA_BYTES_MAX = 65_536


def decode_schema(data: bytes) -> Shape:
    """Read the schema of a dataset's records. Raises `InvalidSchema`."""
    if len(data) > SCHEMA_BYTES_MAX:
        raise InvalidSchema("schema-size", f"{len(data)} > {SCHEMA_BYTES_MAX}")
    try:
        return read_schema(data.decode())
    except UnicodeDecodeError:
        raise InvalidSchema("schema-unreadable", "") from None
    except NoSchema as error:
        raise InvalidSchema(error.code, error.detail) from None


def narrow(schema: Shape, permitted: frozenset[str]) -> Shape:
    """The same record with the permitted fields only; none of the others is asked for."""
    if unknown := sorted(permitted - schema.properties.keys()):
        raise InvalidSchema("field-undefined", ", ".join(unknown))
    kept = {name: shape for name, shape in schema.properties.items() if name in permitted}
    return replace(schema, properties=kept, required=schema.required & permitted)
