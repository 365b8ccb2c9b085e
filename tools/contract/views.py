"""What the commands say, as a document for programs and as text for people."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from contracts.decision import explain
from contracts.drafts.cases import CaseResult
from contracts.drafts.difference import Comparison, TextChange
from contracts.drafts.whatif import Change
from contracts.words import decision_word
from tools.contract.cases import TableResult
from tools.contract.whatif import Outlook
from tools.output import format_table
from tools.words import language, say


def show_tables(tables: Iterable[TableResult]) -> tuple[dict[str, Any], str]:
    """Counts, and every case that fails with expected, found and the reasons."""
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    passed = failed = 0
    for table in tables:
        for result in table.results:
            rows.append({"file": str(table.path), **_case_document(result)})
            if not result.differences:
                passed += 1
                continue
            failed += 1
            lines.append(f"{table.path}: {result.case.expected.name}")
            lines += (
                "  " + say("contract.case_difference", **asdict(each))
                for each in result.differences
            )
            lines += (f"    {line}" for line in explain(result.decision, language()).split("\n"))
    lines.append(say("contract.cases", passed=passed, failed=failed))
    return {"passed": passed, "failed": failed, "cases": rows}, "\n".join(lines)


def _case_document(result: CaseResult) -> dict[str, Any]:
    decision = result.decision
    return {
        "name": result.case.expected.name,
        "passed": not result.differences,
        "decision": decision.verdict.value,
        "policies": list(decision.policies),
        "errors": list(decision.errors),
        "differences": [asdict(each) for each in result.differences],
    }


def show_outlook(outlook: Outlook, *, since: int, trust: bool) -> tuple[dict[str, Any], str]:
    """The decisions that would change, and counts by pair and purpose."""
    tally = outlook.tally
    document = {
        "since": since,
        "last_height": outlook.last_height,
        "verified": not trust,
        "requests": tally.requests,
        "changed": tally.changed,
        "other_reasons": tally.reasons,
        "by_pair": _counts(tally.pairs),
        "by_purpose": _counts(tally.purposes),
        "changes": [asdict(change) for change in outlook.changes],
        "not_listed": tally.changed - len(outlook.changes),
        "follow_on_effects": False,
        "seconds": round(outlook.seconds, 3),
        "requests_per_s": outlook.requests_per_s,
    }
    parts = []
    if outlook.changes:
        parts.append(_change_table(outlook.changes))
    if document["not_listed"]:
        parts.append(say("contract.not_listed", count=document["not_listed"]))
    for key, counts in (("pair", tally.pairs), ("purpose", tally.purposes)):
        if counts:
            parts.append(_count_table(key, counts))
    parts.append(say("contract.outlook", **document))
    parts.append(say("contract.recorded_state"))
    if trust:
        parts.append(say("contract.trusted"))
    return document, "\n\n".join(parts)


def _counts(counts: Counter[tuple[str, str, str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "old": old, "new": new, "count": count}
        for (name, old, new), count in sorted(counts.items())
    ]


def _count_table(key: str, counts: Counter[tuple[str, str, str]]) -> str:
    head = [say(f"column.{key}"), say("column.decision"), say("column.count")]
    rows = [
        [name, _arrow(old, new), f"{count:,}"] for (name, old, new), count in sorted(counts.items())
    ]
    return format_table(head, rows)


def _change_table(changes: Iterable[Change]) -> str:
    names = ("height", "exchange", "pair", "dataset", "purpose", "decision", "contracts")
    rows = []
    for change in changes:
        policies = f"{_list(change.old_policies)} → {_list(change.new_policies)}"
        if change.old == change.new:
            policies = f"{change.old_duties} → {change.new_duties}"
        rows.append(
            [
                str(change.height),
                change.exchange[:16],
                f"{change.requester} → {change.provider}",
                change.dataset,
                change.purpose,
                _arrow(change.old, change.new),
                policies,
            ]
        )
    return format_table([say(f"column.{name}") for name in names], rows)


def _arrow(old: str, new: str) -> str:
    words = [decision_word(verdict, language()) for verdict in (old, new)]
    return " → ".join(words) if old != new else f"{words[0]} ({say('contract.duties')})"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "-"


def show_comparison(old: str, new: str, compared: Comparison) -> str:
    """Both sets, then each policy that differs as a unified diff."""
    lines = []
    for mark, name, at in (("---", old, 0), ("+++", new, 1)):
        lines.append(
            f"{mark} {name}  "
            + say(
                "contract.set",
                version=compared.versions[at],
                hash=compared.hashes[at],
                engine=compared.engines[at],
            )
        )
    changes: list[TextChange] = [*compared.policies]
    if compared.schema is not None:
        changes.append(compared.schema)
    for change in changes:
        lines += ["", f"{say(f'contract.{change.how}')} {change.id}", *change.lines]
    lines.append("")
    if compared.comments:
        lines.append(say("contract.comments"))
    counts: Counter[str] = Counter(change.how for change in compared.policies)
    names = ("added", "removed", "changed")
    lines.append(say("contract.differences", **{name: counts[name] for name in names}))
    return "\n".join(lines)
