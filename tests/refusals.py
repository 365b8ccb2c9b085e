"""Refusals of a start for tests: provoked, and told in both languages."""

import re
from collections.abc import Callable

import pytest

from contracts.words import LANGUAGES, Description
from node.errors import ConfigFault, InvalidConfig, StartRefused
from node.words import Refusal, describe, tell_fault

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def told(error: Refusal) -> Description:
    """What is told in English; the Chinese text is whole too."""
    zh, en = (describe(error, language) for language in LANGUAGES)
    for text in (zh.title, zh.advice):
        assert CHINESE.search(text), text
    return en


def start_refused(call: Callable[[], object], code: str) -> Description:
    """What is told of a start that ends with `code`."""
    with pytest.raises(StartRefused) as caught:
        call()
    assert caught.value.code == code, str(caught.value)
    return told(caught.value)


def faults_of(call: Callable[[], object]) -> tuple[ConfigFault, ...]:
    """The faults of a configuration, each of which has words."""
    with pytest.raises(InvalidConfig) as caught:
        call()
    for fault in caught.value.faults:
        zh, en = (tell_fault(fault, language) for language in LANGUAGES)
        assert CHINESE.search(zh), zh
        assert zh != en
    assert caught.value.path in told(caught.value).detail
    return caught.value.faults


def tell_faults(faults: tuple[ConfigFault, ...]) -> list[str]:
    """Faults in English, each with its code."""
    return [f"{tell_fault(fault, 'en')} [{fault.code}]" for fault in faults]
