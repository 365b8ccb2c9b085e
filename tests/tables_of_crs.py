"""Tables of the READMEs about messages of the reporting standard, from the code."""

from typing import Literal

from node.crs.codes import read_code_set, who_decides, why_nobody
from node.crs.words import catalogue
from tests.tables_of_credit import Table

DECIDERS = {
    "message": ("单个报文（`tally crs check`）", "one message (`tally crs check`)"),
    "ledger": ("账本上的历史", "the history on the ledger"),
    "package": (
        "打开数据包时（`tally crs unpackage`）",
        "opening a package (`tally crs unpackage`)",
    ),
    "nobody": ("尚不判定", "not decided here"),
}
# Of one message, as far as it goes, besides the ledger.
ALSO_BY_MESSAGE = frozenset({50012, 80000})
# By the ledger too, across the parts of a message.
ALSO_BY_LEDGER = frozenset({80004, 80005, 80010, 80011})


def codes(language: Literal["en", "zh"]) -> Table:
    """Every code of the newest edition, and who decides it."""
    head = "代码|含义|由谁判定" if language == "zh" else "code|meaning|decided by"
    at = 0 if language == "zh" else 1
    rows = []
    for code, names in read_code_set("oecd-crs-sm-3.0").items():
        decider = who_decides(code)
        said = [DECIDERS[decider][at]]
        if code in ALSO_BY_MESSAGE:
            said.append(DECIDERS["message"][at])
        if code in ALSO_BY_LEDGER:
            said.append(DECIDERS["ledger"][at])
        if decider == "nobody":
            said.append(why_nobody(code, language))
        rows.append((f"{code}", names[language], ("；" if at == 0 else "; ").join(said)))
    return tuple(head.split("|")), rows


def refusals(language: Literal["en", "zh"]) -> Table:
    """Why a message, schema, key or package is refused as a whole."""
    head = "代码|含义|怎么办" if language == "zh" else "code|meaning|what to do"
    rows = [
        (f"`{code}`", entry["title"], entry["advice"])
        for code, entry in catalogue(language)["refusals"].items()
    ]
    return tuple(head.split("|")), rows
