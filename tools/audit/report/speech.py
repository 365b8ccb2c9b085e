"""How a report says numbers, times and ids in one language."""

from contracts.exchange.duties import GAPS
from contracts.risk.reasons import TABLE as RISK_REASONS
from contracts.words import decision_word, describe
from tools.audit.period import DAY_MS
from tools.audit.report.findings import Findings
from tools.audit.report.measures import HOUR_MS
from tools.output import printable
from tools.words import Language, catalogue

NOTHING = "–"
TENTH_MS, MINUTE_MS = 100, 60_000


class Speech:
    """Words of a report, with the names that the network has for its own things."""

    def __init__(self, language: Language, found: Findings) -> None:
        self.language = language
        self._found = found
        self._words = catalogue(language)

    def __call__(self, key: str, **values: object) -> str:
        """A text of the catalogue's part `report`."""
        return self._words[f"report.{key}"].format(**values)

    def name(self, member: str) -> str:
        """What a member is called, with its id."""
        name = self.short(member)
        return member if name == member else f"{name} ({member})"

    def short(self, member: str) -> str:
        """What a member is called."""
        known = self._found.members.get(member)
        if known is None:
            return member
        return printable(self._pick(known.name_zh, known.name_en))

    def decision(self, verdict: str) -> str:
        """Permit, review or deny."""
        return decision_word(verdict, self.language)

    def gap(self, gap: str) -> str:
        """What an overdue duty leaves open."""
        return self._pick(GAPS[gap].zh, GAPS[gap].en)

    def refusal(self, code: str) -> str:
        """What a code of a refusal means."""
        return f"{describe(code, self.language).title} ({code})"

    def contract(self, name: str) -> str:
        """The title of a contract that is in force at the end."""
        titles = self._found.contract_titles.get(name)
        return NOTHING if titles is None else printable(self._pick(*titles))

    def status_code(self, code_set: str, code: str) -> str:
        """A status code of a rejection with its name, if its set has it."""
        names = self._found.code_names.get((code_set, code))
        if names is None:
            return self("code_unnamed", code=code)
        return f"{code} {printable(self._pick(*names))}"

    def risk_reason(self, code: str) -> str:
        """Why a request is risky."""
        words = {reason.id: (reason.zh, reason.en) for reason in RISK_REASONS}
        return self._pick(*words.get(code, (code, code)))

    def _pick(self, zh: str, en: str) -> str:
        return zh if self.language == "zh" else en

    def action(self, tag: str) -> str:
        """What an action of governance is called."""
        return self._words[f"action.{tag.replace('.', '_')}"]

    def duration(self, span_ms: int, count: int = 1) -> str:
        """A span of time in its best unit; nothing where none was measured."""
        if not count:
            return NOTHING
        if 0 < span_ms < TENTH_MS:
            return self("seconds", count="<0.1")
        if span_ms < MINUTE_MS:
            return self("seconds", count=_tenths(span_ms, 1_000))
        if span_ms < HOUR_MS:
            return self("minutes", count=span_ms // MINUTE_MS)
        if span_ms < 2 * DAY_MS:
            return self("hours", count=_tenths(span_ms, HOUR_MS))
        return self("days", count=_tenths(span_ms, DAY_MS))

    def number(self, count: int) -> str:
        """A count, its thousands apart."""
        return f"{count:,}"

    def per_cent(self, per_mille: int | None) -> str:
        """A share of thousandths in per cent."""
        return NOTHING if per_mille is None else f"{per_mille // 10}.{per_mille % 10}%"

    def stars(self, hundredths: int) -> str:
        """A mean of ratings."""
        return f"{hundredths // 100}.{hundredths % 100:02}" if hundredths else NOTHING


def _tenths(span_ms: int, unit_ms: int) -> str:
    tenths = span_ms * 10 // unit_ms
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10}"
