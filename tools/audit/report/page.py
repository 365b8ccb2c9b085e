"""A report as one HTML page, or as a PDF of it.

The page needs no other file, script or font. In several languages it holds the whole report in
each; two buttons that are plain HTML choose which one is seen and printed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from tools.audit.period import format_moment
from tools.audit.report.findings import Findings
from tools.audit.report.oversight import oversight_sections
from tools.audit.report.sections import Section, exchange_sections
from tools.audit.report.speech import Speech
from tools.exits import ToolError
from tools.output import printable
from tools.words import Language

WHOLE_CHARS_MAX = 24
TONGUES = {"zh": ("zh-CN", "中文"), "en": ("en", "English")}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """The report in one language."""

    id: str
    lang: str
    button: str
    title: str
    facts: Sequence[str]
    contents: str
    sections: Sequence[Section]


def render_page(found: Findings, languages: Sequence[Language]) -> str:
    """The page; the first language is the one that is seen first."""
    versions = [_make(found, language) for language in languages]
    template = _environment().from_string(_resource("page.html"))
    return template.render(versions=versions, style=Markup(_resource("page.css")))  # noqa: S704 - our own file


def load_pdf() -> Callable[[str], bytes]:
    """What makes a PDF of a page in one language. Raises `ToolError` where it does not work."""
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:
        # The Python part may be there, and the system's libraries not.
        raise ToolError("extra-pdf-missing", str(error)) from None

    def render(page: str) -> bytes:
        data: bytes = HTML(string=page).write_pdf()
        return data

    return render


def _make(found: Findings, language: Language) -> _Version:
    say = Speech(language, found)
    ground, (first, last) = found.ground, found.days
    facts = [
        say("about_network", name=printable(ground.name)),
        say("about_period", first=first, last=last),
        say("about_ground", height=ground.height, at=format_moment(ground.until_ms)),
    ]
    if ground.begins is not None:
        begins = ground.begins
        at = format_moment(begins.time_ms)
        facts.append(say("about_begins", height=begins.height, at=at))
    if found.pair:
        facts.append(say("about_pair", pair=" ↔ ".join(map(say.name, found.pair))))
    lang, button = TONGUES[language]
    return _Version(
        id=language,
        lang=lang,
        button=button,
        title=say("title"),
        facts=facts,
        contents=say("contents"),
        sections=(*exchange_sections(found, say), *oversight_sections(found, say)),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["svg"] = Markup
    environment.filters["coded"] = _mark_code
    environment.filters["whole"] = _keep_whole
    environment.tests["picture"] = lambda block: hasattr(block, "svg")
    environment.tests["sheet"] = lambda block: hasattr(block, "rows")
    return environment


def _mark_code(text: str) -> Markup:
    """A sentence in which what stands between back quotes is code."""
    parts = [escape(part) for part in text.split("`")]
    return Markup().join(
        Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts)
    )


def _keep_whole(text: str, chars: int = 0) -> Markup:
    """A cell in which dates and ids are not broken at their hyphens, nor words of some `chars`.

    What stands between back quotes is code.
    """
    if "`" in text:
        return _mark_code(text)
    words = (
        Markup('<span class="whole">{}</span>').format(word)
        if len(word) <= (WHOLE_CHARS_MAX if "-" in word else chars)
        else escape(word)
        for word in text.split(" ")
    )
    return Markup(" ").join(words)


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")
