"""Tables of the READMEs about what can be wrong, from the code, for `tests.test_docs`."""

import re
from typing import Literal

from contracts.drafts import words as drafts
from node.diagnosis.words import catalogue as findings_of_nodes
from node.sealing.words import catalogue as refusals_of_payloads
from node.words import catalogue as refusals_of_starts
from tests.tables_of_credit import Table
from tools.words import catalogue as tool_words


def findings(language: Literal["en", "zh"]) -> Table:
    """Causes that `tally doctor` names: of nodes and their files, and of the network."""
    zh, en = "代码|发现之处|含义|怎么办", "code|found by|finding|what to do"
    is_zh = language == "zh"
    node = "节点及其文件" if is_zh else "a node and its files"
    network = "询问与对比" if is_zh else "asking and comparing"
    rows: list[tuple[str, ...]] = [
        (f"`{code}`", node, entry["title"], entry["advice"])
        for code, entry in findings_of_nodes(language).items()
    ]
    words = tool_words(language)
    codes = [key.split(".")[1] for key in words if re.fullmatch(r"findings\..*\.title", key)]
    rows += [
        (f"`{code}`", network, words[f"findings.{code}.title"], words[f"findings.{code}.advice"])
        for code in codes
    ]
    return tuple((zh if is_zh else en).split("|")), rows


def start_refusals(language: Literal["en", "zh"]) -> Table:
    """Why a node or gateway does not start."""
    head = ("代码", "含义", "怎么办") if language == "zh" else ("code", "meaning", "what to do")
    found = refusals_of_starts(language)["starts"].items()
    return head, [(f"`{code}`", words["title"], words["advice"]) for code, words in found]


def config_faults(language: Literal["en", "zh"]) -> Table:
    """What is wrong with a line of a configuration."""
    head = ("代码", "含义") if language == "zh" else ("code", "meaning")
    found = refusals_of_starts(language)["faults"].items()
    return head, [(f"`{code}`", text.replace(f"_{language}}}", "}")) for code, text in found]


def policy_faults(language: Literal["en", "zh"]) -> Table:
    """What keeps a policy set from being enacted."""
    head = ("代码", "含义", "怎么办") if language == "zh" else ("code", "meaning", "what to do")
    found = drafts.catalogue(language)["faults"].items()
    return head, [(f"`{code}`", words["title"], words["advice"]) for code, words in found]


def sealing(language: Literal["en", "zh"]) -> Table:
    """Why a sealed payload is refused."""
    head = ("代码", "含义", "怎么办") if language == "zh" else ("code", "meaning", "what to do")
    found = refusals_of_payloads(language).items()
    return head, [(f"`{code}`", words["title"], words["advice"]) for code, words in found]
