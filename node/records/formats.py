"""Formats of single values: identifiers with check digits, codes, dates. Each check says yes or no.

Check digits of USCC (GB 32100) and resident ids (GB 11643) are computed here, since the library
takes four to ten times as long for them and every record has one; a test compares both. LEI, IBAN
and TIN are judged by python-stdnum. Regions are those of its list of GB/T 2260 codes, past ones
included. Values come in canonical form: upper case, no separators.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

from stdnum import iban, lei, numdb
from stdnum.exceptions import ValidationError

from node.records.shipped import read_codes

Check = Callable[[str], bool]

# Validity of a value that stands in many rows is remembered for this many values.
_REMEMBERED = 65_536

_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC = re.compile(rf"[0-9A-Z][0-9][0-9]{{6}}[{_USCC_ALPHABET}]{{10}}")
_USCC_VALUES = {character: value for value, character in enumerate(_USCC_ALPHABET)}
_USCC_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28, 1)
_RESIDENT = re.compile(r"[0-9]{17}[0-9X]")
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PERIOD = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2]|Q[1-4]|H[12]))?")
_TIN = re.compile(r"[0-9A-Z]{4,24}")
_ACCOUNT = re.compile(r"[0-9A-Z]{6,34}")
_IBAN_LIKE = re.compile(r"[A-Z]{2}[0-9]{2}[0-9A-Z]{10,30}")

# Modules of python-stdnum that know the TIN of a jurisdiction; a number must fit one of them.
TIN_MODULES: dict[str, tuple[str, ...]] = {
    "AT": ("at.tin",),
    "AU": ("au.tfn",),
    "BE": ("be.nn",),
    "BR": ("br.cpf",),
    "CA": ("ca.sin",),
    "CN": ("cn.ric", "cn.uscc"),
    "DE": ("de.idnr",),
    "DK": ("dk.cpr",),
    "ES": ("es.nif",),
    "FR": ("fr.nif",),
    "GB": ("gb.utr",),
    "IT": ("it.codicefiscale",),
    "JP": ("jp.cn",),
    "KR": ("kr.rrn", "kr.brn"),
    "NL": ("nl.bsn",),
    "PL": ("pl.pesel", "pl.nip"),
    "PT": ("pt.nif",),
    "SE": ("se.personnummer",),
    "SG": ("sg.uen",),
    "TH": ("th.pin",),
    "US": ("us.tin",),
    "ZA": ("za.tin", "za.idnr"),
}


def is_uscc(text: str) -> bool:
    """Whether a unified social credit code has its form and check digit."""
    if not _USCC.fullmatch(text):
        return False
    values = _USCC_VALUES
    # The first character may be a letter that the check digit has no value for.
    if text[0] not in values:
        return False
    return not sum(values[c] * w for c, w in zip(text, _USCC_WEIGHTS, strict=True)) % 31


def is_resident_id(text: str) -> bool:
    """Whether the number of an identity card has a known region, a date and its check digit."""
    if not _RESIDENT.fullmatch(text):
        return False
    total = sum(int(c) * w for c, w in zip(text, _RESIDENT_WEIGHTS, strict=False))
    if "10X98765432"[total % 11] != text[17]:
        return False
    return is_date(f"{text[6:10]}-{text[10:12]}-{text[12:14]}") and is_region(text[:6])


@lru_cache(_REMEMBERED)
def is_date(text: str) -> bool:
    """Whether a text is a calendar date of ISO 8601, `2026-07-31`."""
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_period(text: str) -> bool:
    """Whether a text is a year, half-year, quarter or month: `2026`, `2026-H1`, `2026-Q3`."""
    return _PERIOD.fullmatch(text) is not None


@lru_cache(_REMEMBERED)
def is_region(text: str) -> bool:
    """Whether six digits are or were the code of a place in GB/T 2260."""
    if len(text) != 6 or not (text.isascii() and text.isdigit()):
        return False
    found = numdb.get("cn/loc").info(text)
    return len(found) > 1 and bool(found[-1][1])


def is_country(text: str) -> bool:
    """Whether a text is a country code of ISO 3166-1, alpha-2."""
    return text in read_codes("iso-3166")


def is_currency(text: str) -> bool:
    """Whether a text is a currency code of ISO 4217."""
    return text in read_codes("iso-4217")


@lru_cache(_REMEMBERED)
def is_lei(text: str) -> bool:
    """Whether a legal entity identifier (ISO 17442) has its form and check digits."""
    return len(text) == 20 and lei.is_valid(text)


@lru_cache(_REMEMBERED)
def is_iban(text: str) -> bool:
    """Whether an international bank account number fits its country and its check digits."""
    return _IBAN_LIKE.fullmatch(text) is not None and iban.is_valid(text)


def is_account(text: str) -> bool:
    """Whether a text is an account number; one that looks like an IBAN must be one."""
    if _IBAN_LIKE.fullmatch(text):
        return is_iban(text)
    return _ACCOUNT.fullmatch(text) is not None


def is_tin(text: str, country: str = "") -> bool:
    """Whether a taxpayer's number fits its jurisdiction; without a rule, whether it can be one."""
    if not _TIN.fullmatch(text):
        return False
    return country not in TIN_MODULES or _fits_jurisdiction(text, country)


@lru_cache(_REMEMBERED)
def _fits_jurisdiction(text: str, country: str) -> bool:
    for name in TIN_MODULES[country]:
        try:
            _module(name).validate(text)
        except ValidationError:
            continue
        return True
    return False


@cache
def _module(name: str) -> Any:
    return import_module(f"stdnum.{name}")


CHECKS: dict[str, Check] = {
    "account": is_account,
    "country": is_country,
    "currency": is_currency,
    "date": is_date,
    "iban": is_iban,
    "lei": is_lei,
    "period": is_period,
    "region": is_region,
    "resident-id": is_resident_id,
    "tin": is_tin,
    "uscc": is_uscc,
}
