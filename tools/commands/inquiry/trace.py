"""`tally audit trace`: the whole story of one exchange."""

from pathlib import Path

import click

from tools.audit.index.picture import draw_trace
from tools.audit.index.trace import tell_story, trace, trace_document
from tools.commands.inquiry.opening import (
    Source,
    cover_document,
    cover_line,
    find_exchange,
    source_options,
)
from tools.options import WordCommand, option
from tools.output import emit


@click.command("trace", cls=WordCommand, help="help.audit_trace")
@click.argument("exchange")
@source_options
@option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="option.trace_svg")
def trace_exchange(source: Source, exchange: str, svg: Path | None, as_json: bool) -> None:
    """Tell who did what and when, what was decided and why, and what is still owed."""
    with source.open() as index:
        story = trace(index, find_exchange(index, exchange))
        document = {**cover_document(index), **trace_document(story)}
        text = f"{tell_story(story)}\n\n{cover_line(index)}"
    if svg is not None:
        svg.write_text(draw_trace(story), encoding="utf-8")
    emit(as_json, document, text)
