"""`tally doctor`: what is wrong with a node or a network, and what to do."""

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from tools.doctor.compare import compare, count_quorum, list_validators
from tools.doctor.report import Finding, PeerView, Report, Severity, Visit, sort_findings
from tools.doctor.visit import Target, examine, visit_all
from tools.exits import ERROR, OK, UNREACHABLE, WARNING, InvalidUsage, NotFound
from tools.localnet import Localnet
from tools.options import LOCALNET, WordCommand, common, option
from tools.output import emit, format_table, run
from tools.words import say

_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}
_HEARD_MS = 15_000


@click.command(cls=WordCommand, help="help.doctor")
@option("--node", "urls", multiple=True, metavar="URL", help="option.node")
@option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="option.dir",
)
@option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="option.doctor_config",
)
@option("--network", is_flag=True, help="option.network")
@common
def command(
    urls: tuple[str, ...],
    directory: Path | None,
    config: Path | None,
    network: bool,
    as_json: bool,
) -> None:
    """Examine and say."""
    targets = _targets(urls, directory, has_config=config is not None)
    visits = run(visit_all(targets)) if targets else []
    files = sort_findings(examine(config)) if config is not None else ()
    found = compare(visits) if network else ()
    document = {
        "severity": _worst(visits, found, files).word,
        "nodes": [_node_document(visit) for visit in visits],
        "network": msgspec.to_builtins(found),
        "files": msgspec.to_builtins(files),
    }
    parts = [_show_files(config, files)] if config is not None else []
    if network:
        parts.append(_show_network(visits, found))
    else:
        parts += [_show_node(visit) for visit in visits]
    emit(as_json, document, "\n\n".join(parts))
    click.get_current_context().exit(_exit_code(visits, _worst(visits, found, files)))


def _targets(
    urls: Sequence[str], directory: Path | None, *, has_config: bool
) -> tuple[Target, ...]:
    if urls and directory is not None:
        raise InvalidUsage("usage-invalid", "--node, --dir")
    if urls:
        return tuple(Target(url=url.rstrip("/")) for url in urls)
    try:
        local = Localnet((directory or LOCALNET).resolve())
    except NotFound:
        if directory is None and has_config:
            return ()
        if directory is None:
            raise InvalidUsage("target-missing", "--node, --dir") from None
        raise
    if directory is None and has_config:
        return ()
    return tuple(
        Target(
            url=node.api,
            member=node.member,
            pid=local.pid(node.member),
            config=local.node_directory(node.member) / "node.toml",
        )
        for node in local.index.nodes
    )


def _findings(visit: Visit) -> tuple[Finding, ...]:
    said = () if visit.report is None else visit.report.findings
    return sort_findings([*visit.findings, *said])


def _worst(visits: Sequence[Visit], found: Sequence[Finding], files: Sequence[Finding]) -> Severity:
    """The worst finding; of a network as such where it was asked for."""
    single = [finding for visit in visits for finding in _findings(visit)]
    looked_at = [*(found or single), *files]
    return max((finding.weight for finding in looked_at), default=Severity.OK)


def _exit_code(visits: Sequence[Visit], worst: Severity) -> int:
    if visits and all(visit.report is None for visit in visits):
        return UNREACHABLE
    return {Severity.OK: OK, Severity.WARNING: WARNING, Severity.FAULT: ERROR}[worst]


def _node_document(visit: Visit) -> dict[str, object]:
    return {
        "member": visit.member,
        "url": visit.url,
        "answered": visit.report is not None,
        "findings": msgspec.to_builtins(_findings(visit)),
        "facts": None if visit.report is None else msgspec.to_builtins(visit.report.facts),
    }


# --- for people -------------------------------------------------------------------------------


def _coloured(severity: str) -> str:
    return click.style(say(f"doctor.{severity}"), fg=_COLOURS[severity])


def _show_finding(finding: Finding, *, with_members: bool = False) -> str:
    lines = [
        f"{_coloured(finding.severity)} {finding.title} [{finding.code}]",
        f"  {finding.detail}",
        f"  {finding.advice}",
    ]
    if with_members and finding.members:
        lines.append(say("doctor.found_by", members=", ".join(finding.members)))
    return "\n".join(lines)


def _show_files(config: Path | None, files: Sequence[Finding]) -> str:
    return "\n".join([say("doctor.files", config=config), *map(_show_finding, files)])


def _show_node(visit: Visit) -> str:
    findings = [_show_finding(finding) for finding in _findings(visit)]
    report = visit.report
    if report is None:
        return "\n".join([f"{visit.member} ({visit.url})", *findings])
    view = report.facts.view
    title = say(
        "doctor.node",
        member=visit.member,
        url=visit.url,
        height=report.facts.height,
        epoch=view.epoch,
        view=view.view,
        leader=view.leader,
    )
    return "\n".join([title, _show_peers(report), *findings])


def _show_peers(report: Report) -> str:
    """The validators as this node sees them."""
    peers = {peer.member: peer for peer in report.facts.peers}
    rows = []
    for member in report.facts.view.validators:
        peer = peers.get(member)
        if peer is not None:
            rows.append(_peer_row(peer))
        elif member == report.facts.member:
            facts = report.facts
            mine = [_coloured("ok"), say("doctor.itself"), "-", str(facts.height)]
            rows.append([member, *mine, facts.software.version])
    head = [say(f"column.{name}") for name in ("member", "state", "link", "seen", "tip", "version")]
    return format_table(head, rows)


def _peer_row(peer: PeerView) -> list[str]:
    is_heard = 0 <= peer.silent_ms < _HEARD_MS
    state = "ok" if is_heard and peer.is_connected else "warning" if is_heard else "fault"
    seconds = peer.silent_ms // 1000
    return [
        peer.member,
        _coloured(state),
        say("doctor.linked" if peer.is_connected else "doctor.unlinked"),
        say("doctor.ago", seconds=seconds) if seconds >= 0 else say("doctor.never"),
        str(peer.final_height),
        "-" if peer.software is None else peer.software.version,
    ]


def _show_network(visits: Sequence[Visit], found: Sequence[Finding]) -> str:
    """All nodes side by side, then what was found."""
    validators = list_validators(visits)
    reports = [visit.report for visit in visits if visit.report is not None]
    title = say(
        "doctor.network",
        network=reports[0].network[:16] if reports else "-",
        nodes=len(visits),
        answered=len(reports),
        quorum=count_quorum(len(validators)),
        validators=len(validators),
    )
    head = [
        say(f"column.{name}") for name in ("member", "state", "tip", "view", "heard", "version")
    ]
    rows = [_visit_row(visit) for visit in visits]
    findings = [_show_finding(finding, with_members=True) for finding in found]
    return "\n".join([title, format_table(head, rows), *findings])


def _visit_row(visit: Visit) -> list[str]:
    report = visit.report
    worst = max((finding.weight for finding in _findings(visit)), default=Severity.OK)
    if report is None:
        return [visit.member, _coloured("fault"), "-", "-", "-", "-"]
    facts = report.facts
    others = [peer for peer in facts.peers if peer.is_validator]
    heard = sum(0 <= peer.silent_ms < _HEARD_MS for peer in others)
    return [
        visit.member,
        _coloured(worst.word),
        str(facts.height),
        f"{facts.view.epoch}/{facts.view.view}",
        f"{heard}/{len(others)}",
        facts.software.version,
    ]
