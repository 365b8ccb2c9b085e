"""Findings as one JSON document, which `tally audit report --json` prints: `report/1`.

Keys, their meaning and units stay within a version. Times end with `_ms` and are block times.
"""

from dataclasses import asdict
from typing import Any

from tools.audit.report.findings import Findings
from tools.audit.report.measures import (
    CLASSES_MS,
    Measures,
    distribute,
    mean_hundredths,
    share_per_mille,
)

SCHEMA = "report/1"


def make_document(found: Findings) -> dict[str, Any]:
    """Everything that the page shows, and what it leaves out for want of room."""
    return {
        "schema": SCHEMA,
        "ground": asdict(found.ground),
        "period": asdict(found.period),
        "pair": list(found.pair),
        "classes_ms": list(CLASSES_MS),
        "total": _measures(found.total),
        "pairs": [
            {"requester": requester, "provider": provider, **_measures(measures)}
            for (requester, provider), measures in found.pairs.items()
        ],
        "months": [
            {"month": month, **_measures(measures)} for month, measures in found.months.items()
        ],
        "flows": [
            {"from_region": source, "to_region": target, "received": count}
            for (source, target), count in found.flows.items()
        ],
        "risk": [
            {"from_score": least, **dict(sorted(counts.items()))}
            for least, counts in found.risk.items()
        ],
        "risk_reasons": found.risk_reasons,
        "contracts": found.contracts,
        "code_names": {
            " ".join(code): {"zh": zh, "en": en} for code, (zh, en) in found.code_names.items()
        },
        "not_applied": found.not_applied,
        "actions": found.actions,
        **{
            name: [asdict(each) for each in getattr(found, name)]
            for name in ("gaps", "incidents", "drills", "grades", "grade_changes", "access")
        },
        "controls": [{**asdict(control), "verdict": control.verdict} for control in found.controls],
    }


def _measures(measures: Measures) -> dict[str, Any]:
    counts = measures.counts
    return {
        "counts": dict(sorted(counts.items())),
        "codes": {" ".join(code): count for code, count in sorted(measures.codes.items())},
        "quality": {str(stars): count for stars, count in sorted(measures.quality.items())},
        "usefulness": {str(stars): count for stars, count in sorted(measures.usefulness.items())},
        "in_time_per_mille": share_per_mille(counts["in_time"], counts["in_time"] + counts["late"]),
        "rejected_per_mille": share_per_mille(counts["rejected"], counts["delivered"]),
        "quality_hundredths": mean_hundredths(measures.quality),
        "usefulness_hundredths": mean_hundredths(measures.usefulness),
        "spans": {name: asdict(distribute(each)) for name, each in measures.spans.items()},
    }
