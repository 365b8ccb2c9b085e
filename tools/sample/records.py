"""Records of nobody: regions that do not exist, births in 1900, names that say test, bank 00000000.

Check digits are right, so the records pass every rule of their dataset.
"""

import random
from collections.abc import Callable
from functools import cache

from stdnum.cn import ric, uscc
from stdnum.iso7064 import mod_11_10, mod_97_10

Record = dict[str, str | int]

_TAXES = ("vat", "corporate-income", "individual-income", "stamp", "property")
_CODES = "0123456789ABCDEFGHJKLMNPQRTUWXY"


class Dice:
    """Numbers from a seed. Only `random()` is drawn from: its sequence is promised to stay."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - no secret; must be repeatable

    def below(self, count: int) -> int:
        """A number from 0 to below `count`."""
        return int(self._random() * count)

    def pick(self, choices: tuple[str, ...]) -> str:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def date(self, first_year: int, years: int) -> str:
        """A date that every month has."""
        return f"{first_year + self.below(years)}-{1 + self.below(12):02}-{1 + self.below(28):02}"


@cache
def _uscc(number: int) -> str:
    # No region begins with 99.
    stem = f"91990000TEST{number:05}".translate(str.maketrans("S", "X"))
    return stem + uscc.calc_check_digit(stem)


def _resident_id(dice: Dice) -> str:
    # The order of births begins with 900; nobody born in 1900 signs a return today.
    stem = f"1101011900{1 + dice.below(12):02}{1 + dice.below(28):02}9{dice.below(100):02}"
    return stem + ric.calc_check_digit(stem + "0")


def _company(number: int) -> str:
    return f"测试企业{number:05}有限公司"


def registration(dice: Dice, number: int) -> Record:
    """A taxpayer's registration."""
    taxpayer = number % 100_000
    return {
        "uscc": _uscc(taxpayer),
        "name": f"{_company(taxpayer)}（第{number // 100_000 + 1}次登记）",
        "type": dice.pick(("150", "160", "170", "330", "410")),
        "industry": f"{1 + dice.below(97):02}{1 + dice.below(99):02}",
        "address": f"测试市虚构路{1 + dice.below(999)}号",
        "status": dice.pick(("normal", "normal", "normal", "suspended", "deregistered")),
        "registered-on": dice.date(1995, 30),
        "authority": "19900000000",
        "representative": f"测试人{number:06}",
        "representative-id": _resident_id(dice),
    }


def filing(dice: Dice, number: int) -> Record:
    """A return for one tax and period."""
    revenue = dice.below(1_000_000_00)
    due = revenue * 13 // 100
    return {
        "uscc": _uscc(dice.below(100_000)),
        "tax-type": dice.pick(_TAXES),
        "period": f"{2020 + dice.below(6)}-{1 + dice.below(12):02}",
        "filed-on": dice.date(2020, 6),
        "revenue-fen": revenue,
        "deduction-fen": dice.below(revenue + 1),
        "tax-due-fen": due,
        "tax-paid-fen": due - number % 7 % (due + 1),
        "overdue-fen": number % 7 % (due + 1),
    }


def incentive(dice: Dice, number: int) -> Record:
    """A relief granted."""
    del number
    return {
        "uscc": _uscc(dice.below(100_000)),
        "incentive-code": f"00{dice.below(10**8):08}",
        "tax-type": dice.pick(_TAXES),
        "period": f"{2020 + dice.below(6)}-Q{1 + dice.below(4)}",
        "relief-fen": dice.below(50_000_000),
        "refund-fen": dice.below(50_000_000),
        "qualification": dice.pick(("none", "small-low-profit", "high-tech", "software")),
    }


def invoice(dice: Dice, number: int) -> Record:
    """An invoice; real numbers begin with the year."""
    amount = dice.below(100_000_00)
    return {
        "number": f"00{number:018}",
        "issued-on": dice.date(2020, 6),
        "seller-uscc": _uscc(dice.below(100_000)),
        "buyer-uscc": _uscc(dice.below(100_000)),
        "goods-code": f"{dice.below(10**9):019}",
        "amount-fen": amount,
        "tax-fen": amount * 13 // 100,
        "status": dice.pick(("normal", "normal", "normal", "reversed", "void")),
        "buyer-phone": f"000-{dice.below(10**8):08}",
    }


def account(dice: Dice, number: int) -> Record:
    """An account at a bank whose code is eight zeros."""
    bban = f"{0:08}{number:010}"
    digits = mod_97_10.calc_check_digits(bban + "DE")
    stem = f"0000TESTBANK{dice.below(9) + 1:06}"
    return {
        "account-number": f"DE{digits}{bban}",
        "institution": stem + mod_97_10.calc_check_digits(stem),
        "holder-name": f"Test Holder {number:06}",
        "holder-tin": _german_tin(dice),
        "residence": "DE",
        "birth-date": f"1900-{1 + dice.below(12):02}-{1 + dice.below(28):02}",
        "currency": dice.pick(("CNY", "EUR", "USD", "HKD")),
        "balance-fen": dice.below(1_000_000_00),
        "interest-fen": dice.below(10_000_00),
        "dividend-fen": dice.below(10_000_00),
    }


def _german_tin(dice: Dice) -> str:
    """Ten digits of which exactly one stands twice, never side by side in threes."""
    digits = [str(1 + dice.below(9))]
    others = [digit for digit in "0123456789" if digit != digits[0]]
    while len(digits) < 9:
        digits.append(others.pop(dice.below(len(others))))
    digits.append(digits[dice.below(8)])
    stem = "".join(digits)
    return stem + mod_11_10.calc_check_digit(stem)


MAKERS: dict[str, Callable[[Dice, int], Record]] = {
    "registration": registration,
    "filing": filing,
    "incentive": incentive,
    "invoice": invoice,
    "account": account,
}
