"""What status codes of rejections mean: as members have registered them, else as shipped."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from contracts.lookup import find_code_list
from ledger.state import StateReader
from tools.words.codes import shipped_names

# Code set and code, and its names in zh and en.
Names: TypeAlias = Mapping[tuple[str, str], tuple[str, str]]


def find_code_names(state: StateReader, codes: Iterable[tuple[str, str]]) -> Names:
    """Names of those of the codes that have one in their set, in the state of a log."""
    found = {}
    for code_set, code in sorted(set(codes)):
        listed = find_code_list(state, code_set)
        if listed is None:
            known = shipped_names(code_set)
        else:
            known = {each.code: (each.name_zh, each.name_en) for each in listed.codes}
        if code in known:
            found[code_set, code] = known[code]
    return found
