"""`tally audit report`: the evaluation and supervision report of a period, from a verified copy."""

from pathlib import Path

import click

from tools.audit.period import make_period, period_options
from tools.audit.report.document import make_document
from tools.audit.report.gathering import gather
from tools.audit.report.page import load_pdf, render_page
from tools.contract.past import open_past
from tools.exits import InvalidUsage
from tools.mirror import check_writable, event_map, new_file
from tools.options import WordCommand, common, jobs_option, option
from tools.output import emit, progress
from tools.words import LANGUAGES, Language, language, say

HTML, PDF = ".html", ".pdf"


@click.command("report", cls=WordCommand, help="help.audit_report")
@click.argument("where")
@period_options
@option("--pair", nargs=2, metavar="MEMBER MEMBER", help="option.report_pair")
@option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="option.report_out",
)
@option("--use-index", is_flag=True, help="option.report_index")
@option("--genesis", type=click.Path(path_type=Path, dir_okay=False), help="option.genesis")
@jobs_option
@common
def report(
    where: str,
    first: str | None,
    last: str | None,
    pair: tuple[str, str] | None,
    out: Path,
    use_index: bool,
    genesis: Path | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Write the report."""
    period = make_period(first, last)
    if pair is not None and pair[0] == pair[1]:
        raise InvalidUsage("report-pair-same", pair[0])
    if out.suffix.lower() not in (HTML, PDF):
        raise InvalidUsage("report-ending-unknown", out.name)
    check_writable(out)
    render_pdf = load_pdf() if out.suffix.lower() == PDF else None
    # The pool starts before the copy is open: it has no connection to inherit.
    with (
        event_map(jobs) as map_events,
        open_past(where, genesis, period) as past,
        progress("report.gathering") as bar,
    ):
        pairs = frozenset(pair or ())
        found = gather(past, period, pairs, map_events, bar, use_index=use_index)
    chosen = language()
    others: list[Language] = [each for each in LANGUAGES if each != chosen]
    if render_pdf is not None:
        data = render_pdf(render_page(found, (chosen,)))
    else:
        data = render_page(found, (chosen, *others)).encode()
    with new_file(out) as file:
        file.write(data)
    exceptions = sum(control.verdict == "exceptions" for control in found.controls)
    text = say("report.written", file=out, exceptions=exceptions, overdue=len(found.gaps))
    emit(as_json, {"file": str(out), **make_document(found)}, text)
