"""Nodes side by side: what no single one of them can see."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec

from tools.doctor.report import Finding, Report, Severity, Visit, make_finding, sort_findings

SILENT_MS = 15_000
HEIGHTS_APART = 8
VIEWS_APART = 3
STALLED_MS = 10_000
# What nodes say of each other is judged here, from all sides.
_SUPERSEDED = ("peer-", "quorum-missing", "healthy", "version-differs", "engine-differs")

Reports = dict[str, Report]
Rule = Callable[[Sequence[Visit], Reports], Iterator[Finding]]


def compare(visits: Sequence[Visit]) -> tuple[Finding, ...]:
    """Findings about the network and those of its nodes, each once, worst first. Never empty."""
    reports = {visit.member: visit.report for visit in visits if visit.report is not None}
    found = [finding for rule in RULES for finding in rule(visits, reports)]
    found += _merge(visits)
    if all(finding.weight is Severity.OK for finding in found):
        height = max((report.facts.height for report in reports.values()), default=0)
        found.insert(
            0, make_finding("network-healthy", Severity.OK, nodes=len(reports), height=height)
        )
    return sort_findings(found)


def list_validators(visits: Sequence[Visit]) -> tuple[str, ...]:
    """Members of the validators, as the node in the newest epoch knows them; else all visited."""
    reports = [visit.report for visit in visits if visit.report is not None]
    if not reports:
        return tuple(visit.member for visit in visits)
    newest = max(reports, key=lambda report: report.facts.view.epoch)
    return newest.facts.view.validators


def count_quorum(validators: int) -> int:
    """Votes that decide among so many validators (CONSENSUS 1.0)."""
    return validators - (validators - 1) // 3


def place_anchors(visits: Sequence[Visit]) -> dict[str, int]:
    """Where to look for a fork: member, and the entry of it that must equal its neighbour's.

    Of two neighbours by height, the higher one must have the lower one's tip.
    """
    ordered = _by_height(visits)
    return {
        higher.facts.member: lower.facts.header_index
        for lower, higher in pairwise(ordered)
        if 0 < lower.facts.height < higher.facts.height
    }


def _by_height(visits: Sequence[Visit]) -> list[Report]:
    reports = [visit.report for visit in visits if visit.report is not None]
    return sorted(reports, key=lambda report: report.facts.height)


def _names(members: Iterable[str]) -> str:
    return ", ".join(members)


def _merge(visits: Sequence[Visit]) -> list[Finding]:
    """What is wrong with single nodes; what several have alike is said once."""
    merged: dict[tuple[str, str, str], list[tuple[str, Finding]]] = {}
    for visit in visits:
        said = () if visit.report is None else visit.report.findings
        for finding in (*visit.findings, *said):
            is_said = visit.report is not None and finding.code.startswith(_SUPERSEDED)
            if not is_said and finding.weight is not Severity.OK:
                key = finding.code, finding.severity, finding.advice
                merged.setdefault(key, []).append((visit.member, finding))
    return [
        msgspec.structs.replace(
            same[0][1],
            detail=" ".join(dict.fromkeys(finding.detail for _, finding in same)),
            members=tuple(member for member, _ in same),
        )
        for same in merged.values()
    ]


# --- one network, one history -----------------------------------------------------------------


def check_networks(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """Nodes of different networks do not speak with each other."""
    del visits
    of: dict[str, list[str]] = {}
    for member, report in reports.items():
        of.setdefault(report.network, []).append(member)
    if len(of) > 1:
        text = "; ".join(f"{network[:16]}: {_names(members)}" for network, members in of.items())
        yield make_finding("networks-differ", Severity.FAULT, *reports, networks=text)


def check_fork(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """Two final blocks at one height."""
    del reports
    anchors = {visit.member: visit.anchors for visit in visits}
    for lower, higher in pairwise(_by_height(visits)):
        below, above = lower.facts, higher.facts
        if lower.network != higher.network or below.height == 0:
            continue
        if below.height == above.height:
            is_same = below.block_hash == above.block_hash
        else:
            index = below.header_index
            ours = anchors[below.member].get(index)
            theirs = anchors[above.member].get(index)
            is_same = ours is None or theirs is None or ours == theirs
        if not is_same:
            yield make_finding(
                "fork",
                Severity.FAULT,
                below.member,
                above.member,
                height=below.height,
                one=below.member,
                other=above.member,
            )


# --- who is there -----------------------------------------------------------------------------


def check_quorum(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """Too few validators answer, or they do not hear each other."""
    validators = list_validators(visits)
    quorum = count_quorum(len(validators))
    present = [member for member in validators if _votes(reports, member)]
    missing = [member for member in validators if member not in present]
    unknown = {member for member in missing if member not in {visit.member for visit in visits}}
    heard = [member for member in unknown if _is_heard_by_any(reports, member)]
    if len(present) + len(heard) < quorum:
        needed = quorum - len(present) - len(heard)
        lacking = [member for member in missing if member not in heard]
        yield make_finding(
            "no-quorum",
            Severity.FAULT,
            *present,
            present=len(present) + len(heard),
            validators=len(validators),
            quorum=quorum,
            needed=needed,
            missing=_names(lacking),
        )
        return
    groups = _groups(present, reports)
    if len(groups) > 1 and not unknown:
        text = " | ".join(_names(group) for group in groups)
        is_stuck = max(map(len, groups)) < quorum
        severity = Severity.FAULT if is_stuck else Severity.WARNING
        yield make_finding("partition", severity, *present, groups=text, quorum=quorum)


def check_links(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """One hears the other, but not the other way round."""
    del visits
    for member, report in reports.items():
        for peer in report.facts.peers:
            other = reports.get(peer.member)
            if other is None or not peer.is_validator:
                continue
            if _hears(reports, peer.member, member) and not _hears(reports, member, peer.member):
                yield make_finding(
                    "one-way",
                    Severity.WARNING,
                    member,
                    peer.member,
                    deaf=member,
                    unheard=peer.member,
                    address=_address(other, member),
                )


def _votes(reports: Reports, member: str) -> bool:
    report = reports.get(member)
    return report is not None and report.facts.standing == "validator"


def _hears(reports: Reports, member: str, peer: str) -> bool:
    report = reports.get(member)
    return report is not None and any(
        each.member == peer and 0 <= each.silent_ms < SILENT_MS for each in report.facts.peers
    )


def _is_heard_by_any(reports: Reports, member: str) -> bool:
    return any(_hears(reports, other, member) for other in reports)


def _address(report: Report, peer: str) -> str:
    return next((each.address for each in report.facts.peers if each.member == peer), "") or "?"


def _groups(members: Sequence[str], reports: Reports) -> list[list[str]]:
    """Members by who hears whom, both ways, directly or through others; largest first."""
    left, groups = list(members), []
    while left:
        group = [left.pop(0)]
        for member in group:
            near = [
                other
                for other in left
                if _hears(reports, member, other) and _hears(reports, other, member)
            ]
            group += near
            left = [other for other in left if other not in near]
        groups.append(group)
    return sorted(groups, key=len, reverse=True)


# --- where each one is ------------------------------------------------------------------------


def check_heights(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """Some are far behind others."""
    del visits
    heights = {member: report.facts.height for member, report in reports.items()}
    if not heights:
        return
    highest = max(heights.values())
    behind = {m: height for m, height in heights.items() if highest - height > HEIGHTS_APART}
    if behind:
        text = _names(f"{member} {height}" for member, height in behind.items())
        yield make_finding(
            "heights-differ", Severity.WARNING, *behind, highest=highest, behind=text
        )


def check_views(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """Nodes are in different epochs, or in views that are far apart."""
    del visits
    views = {member: report.facts.view for member, report in reports.items()}
    if not views:
        return
    text = _names(f"{member} {view.epoch}/{view.view}" for member, view in views.items())
    epochs = {view.epoch for view in views.values()}
    if len(epochs) > 1:
        yield make_finding("epochs-differ", Severity.WARNING, *views, views=text)
        return
    numbers = [view.view for view in views.values()]
    if max(numbers) - min(numbers) > VIEWS_APART:
        yield make_finding("views-differ", Severity.WARNING, *views, views=text)


def check_certificates(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """The network stands still, and nodes hold different newest certificates."""
    del visits
    if not any(report.facts.stalled_ms >= STALLED_MS for report in reports.values()):
        return
    held = {
        member: (report.facts.view.certified_view, report.facts.view.certified)
        for member, report in reports.items()
    }
    if len(set(held.values())) > 1:
        text = _names(f"{m} {kind or '-'} {view}" for m, (view, kind) in held.items())
        yield make_finding("certificates-split", Severity.WARNING, *held, certificates=text)


def check_software(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """Versions and contract engines, which must be one."""
    del visits
    runs = {member: report.facts.software for member, report in reports.items()}
    engines = {member: software.engine for member, software in runs.items()}
    versions = {member: software.version for member, software in runs.items()}
    for code, severity, found in (
        ("engines-differ", Severity.FAULT, engines),
        ("versions-differ", Severity.WARNING, versions),
    ):
        if len(set(found.values())) > 1:
            text = _names(f"{member} {name}" for member, name in found.items())
            yield make_finding(code, severity, *found, found=text)


def check_clocks(visits: Sequence[Visit], reports: Reports) -> Iterator[Finding]:
    """Clocks against the median of all; our own does not count."""
    del reports
    asked = [visit for visit in visits if visit.report is not None]
    offsets = {
        visit.member: visit.report.facts.wall_ms - visit.clock_ms
        for visit in asked
        if visit.report is not None
    }
    if len(offsets) < 3:
        return  # of two, none is the wrong one
    median = sorted(offsets.values())[len(offsets) // 2]
    for visit in asked:
        assert visit.report is not None, "kept above"
        apart_ms = offsets[visit.member] - median
        if abs(apart_ms) > visit.report.facts.precision_ms + visit.delay_ms:
            yield make_finding(
                "clock-differs",
                Severity.WARNING,
                visit.member,
                member=visit.member,
                offset_ms=apart_ms,
                precision_ms=visit.report.facts.precision_ms,
            )


RULES: tuple[Rule, ...] = (
    check_networks,
    check_fork,
    check_quorum,
    check_links,
    check_heights,
    check_views,
    check_certificates,
    check_software,
    check_clocks,
)
