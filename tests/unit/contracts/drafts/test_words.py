"""Every fault and every fact has words in both languages, with equal places."""

import re
from pathlib import Path

import contracts.drafts
from contracts.drafts.probe import probe_act, probe_context
from contracts.drafts.words import catalogue, fact_word, text
from tests.unit.contracts.test_words import flat

SOURCE = Path(contracts.drafts.__file__).parent
CODE = re.compile(r'(?:_about\(|yield )"([a-z]+-[a-z-]+)"')


def test_catalogues_have_equal_keys_and_places() -> None:
    zh, en = flat(catalogue("zh")), flat(catalogue("en"))
    assert zh.keys() == en.keys()
    for key in zh:
        assert zh[key]
        assert sorted(re.findall(r"\{\w+\}", zh[key])) == sorted(re.findall(r"\{\w+\}", en[key]))


def test_every_code_has_words_and_every_word_a_code() -> None:
    found = {
        code
        for name in ("check.py", "bounds.py")
        for code in CODE.findall((SOURCE / name).read_text("utf-8"))
    }
    assert found == catalogue("en")["faults"].keys()
    assert len(found) == 23


def test_every_fact_has_a_name() -> None:
    assert probe_context(probe_act()).keys() == catalogue("en")["facts"].keys()
    assert fact_word("brand-new", "zh") == "brand-new"


def test_values_are_text_not_templates() -> None:
    assert "{hash} · h" in text("policy-set", "en", version="{hash}", hash="h")
