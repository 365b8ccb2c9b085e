"""Record schemas and code lists: what their actions do to the state, and why they may not."""

from itertools import pairwise

from contracts.errors import InvalidSchema
from contracts.governance.faults import Fault, find_version_faults
from contracts.lookup import (
    find_code_list,
    find_dataset,
    is_ended,
    read_record_schema_version,
)
from contracts.registers.schema import Shape, read_schema
from ledger.governance.actions import SetCodeList, SetRecordSchema
from ledger.governance.registers import CODE_LISTS, RECORD_SCHEMAS
from ledger.registry import Dataset
from ledger.state import (
    Overlay,
    StateReader,
    code_list_key,
    record_schema_key,
    record_schema_version_key,
)


def set_record_schema(overlay: Overlay, action: SetRecordSchema) -> list[Fault]:
    """The next version for a dataset that is known; earlier ones stay."""
    schema = action.record_schema
    following = read_record_schema_version(overlay, schema.dataset) + 1
    faults = find_version_faults(schema.dataset, schema.version, following)
    dataset = find_dataset(overlay, schema.dataset)
    if dataset is None:
        faults.append(Fault(code="dataset-unknown", detail=schema.dataset))
    try:
        shape = read_schema(schema.text)
    except InvalidSchema as error:
        faults.append(Fault(code="record-schema-invalid", detail=str(error)))
    else:
        if dataset is not None:
            faults += _field_faults(dataset, shape)
        faults += _code_list_faults(overlay, shape)
    if not faults:
        key = record_schema_key(schema.dataset, schema.version)
        overlay.put(key, RECORD_SCHEMAS.encode(schema))
        newest = schema.version.to_bytes(2, "big")
        overlay.put(record_schema_version_key(schema.dataset), newest)
    return faults


def _field_faults(dataset: Dataset, shape: Shape) -> list[Fault]:
    """The properties are the fields of the dataset, all of them, each as sensitive as it is."""
    levels = {field.id: field.sensitivity for field in dataset.fields}
    faults = []
    for name, of in shape.properties.items():
        if name not in levels:
            faults.append(Fault(code="field-unknown", detail=f"{dataset.id} has no field {name}"))
        elif of.sensitivity != levels[name]:
            detail = f"{name}: {of.sensitivity}, in {dataset.id} it is {levels[name]}"
            faults.append(Fault(code="sensitivity-differs", detail=detail))
    missing = sorted(levels.keys() - shape.properties.keys())
    return [*faults, *(Fault(code="field-missing", detail=name) for name in missing)]


def _code_list_faults(state: StateReader, shape: Shape) -> list[Fault]:
    faults = []
    for name in sorted(frozenset(shape.code_lists())):
        if find_code_list(state, name) is None:
            faults.append(Fault(code="code-list-unknown", detail=name))
        elif is_ended(state, f"code-list/{name}"):
            faults.append(Fault(code="code-list-ended", detail=name))
    return faults


def set_code_list(overlay: Overlay, action: SetCodeList) -> list[Fault]:
    """A new list, or the next version of one; its codes are sorted and different."""
    listed = action.code_list
    before = find_code_list(overlay, listed.id)
    following = 1 if before is None else before.version + 1
    faults = find_version_faults(listed.id, listed.version, following)
    codes = [each.code for each in listed.codes]
    for left, right in pairwise(codes):
        if left >= right:
            faults.append(Fault(code="codes-unsorted", detail=f"{right} after {left}"))
            break
    if not faults:
        overlay.put(code_list_key(listed.id), CODE_LISTS.encode(listed))
    return faults
