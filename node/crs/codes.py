"""Status codes: the code sets that are shipped, and who can decide which code.

A code set has a name and an edition (`oecd-crs-sm-2.0`); a code of another edition is unknown.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Literal

from contracts.words import Language

CODE_SETS = ("oecd-crs-sm-2.0", "oecd-crs-sm-3.0", "local-98", "tallystick-1")

Decider = Literal["message", "ledger", "package", "nobody"]

_RESERVED = (
    "OECD 指南保留备用，未定义规则；识别号规则由各国自定",
    "the guide of the OECD reserves it for future use, without a rule; each country has its own",
)
# What no program of ours decides, with the reason in zh and en.
_OUT_OF_REACH: dict[int, tuple[str, str]] = {
    50001: ("由传输系统判定", "the transmission system decides it"),
    50006: ("由病毒扫描程序判定", "a virus scanner decides it"),
    99999: ("由人判定", "a person decides it"),
    **dict.fromkeys((90000, 90001, 90002), _RESERVED),
}
_PACKAGE = frozenset({50002, 50003, 50004, 50013})
LEDGER = frozenset({50009, 50012, 80000, 80002, 80003, 80012, 80013, 80014})
FILE_CODES = range(50_000, 60_000)
# Errors of records for which a receiver may reject the whole file, of those that one message shows
# (common approach of the Status Message User Guide, part B).
GROUNDS = frozenset(
    {
        60007, 60008, 60009, 60010, 60011, 60012, 60014, 60015,
        80000, 80001, 80004, 80005, 80008, 80009, 80010, 80011,
    }
)  # fmt: skip


@cache
def read_code_set(name: str) -> dict[int, dict[Language, str]]:
    """Codes of a set that is shipped, each with its names; empty for an unknown set."""
    if name not in CODE_SETS:
        return {}
    document = json.loads((files("config") / "codes" / f"{name}.json").read_bytes())
    return {int(code): {"zh": zh, "en": en} for code, (zh, en) in document["codes"].items()}


def who_decides(code: int) -> Decider:
    """Who can tell a code of the OECD: one message, the history, the opened package, or nobody."""
    if code in _OUT_OF_REACH:
        return "nobody"
    if code in _PACKAGE:
        return "package"
    return "ledger" if code in LEDGER else "message"


def why_nobody(code: int, language: Language) -> str:
    """Why nothing here decides a code; empty where something does."""
    zh, en = _OUT_OF_REACH.get(code, ("", ""))
    return zh if language == "zh" else en
