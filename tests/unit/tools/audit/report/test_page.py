"""The page: both languages whole, nothing from outside, the same bytes; and a real browser."""

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from ledger.events import Event, parse_event
from tests import builders as make
from tests.exchanges import carried
from tests.registers import code_list
from tests.unit.contracts.drafts.pasts import write_copy
from tests.unit.ledger.builders import break_signature
from tests.unit.tools.audit.quarter import Log, rich, write
from tests.unit.tools.audit.report.test_gathering import gathered
from tests.unit.tools.test_epochs import node_of, tally
from tools.audit.period import make_period
from tools.audit.report import page as page_module
from tools.audit.report.document import make_document
from tools.audit.report.findings import Findings
from tools.audit.report.page import render_page
from tools.audit.report.sections import ROWS_MAX
from tools.audit.report.speech import NOTHING, Speech
from tools.cli import main
from tools.exits import ERROR, OK, UNVERIFIED
from tools.words import LANGUAGES, Language, catalogue

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
A4_PIXELS = (794, 1123)
VOID = {"meta", "link", "input", "br", "rect", "line"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("copy"))


def written(copy: Path, out: Path, *options: object, lang: str = "zh") -> str:
    arguments = ["audit", "report", copy, "--jobs", 1, "-o", out, "--lang", lang, *options]
    shown = CliRunner().invoke(main, [*map(str, arguments)])
    assert shown.exit_code == OK, shown.output
    return shown.stdout


class Outline(HTMLParser):
    """Tags that open and close as they should, ids, and words per language."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.headings: dict[str, list[str]] = {}
        self.pictures: dict[str, int] = {}
        self.rows: dict[str, int] = {}
        self._version = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "main":
            self._version = given["lang"] or ""
        for counted, name in ((self.pictures, "svg"), (self.rows, "tr")):
            if tag == name:
                counted[self._version] = counted.get(self._version, 0) + 1
        if given.get("id"):
            self.ids.append(given["id"] or "")
        if tag == "a":
            self.targets.append((given["href"] or "").removeprefix("#"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID, tag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.setdefault(self._version, []).append(data)


def test_both_languages_hold_the_whole_report(copy: Path, tmp_path: Path) -> None:
    written(copy, tmp_path / "a.html")
    outline = Outline((tmp_path / "a.html").read_text("utf-8"))
    chinese, english = (outline.headings[name] for name in ("zh-CN", "en"))
    assert len(chinese) == len(english) == 17
    assert outline.pictures["zh-CN"] == outline.pictures["en"] >= 10
    assert outline.rows["zh-CN"] == outline.rows["en"] > 60
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.targets) <= set(outline.ids)
    assert len(outline.targets) == 34


DRAWN = (
    "flows", "reciprocity", "decisions", "risk", "times", "timeliness", "quality", "satisfaction",
    "gaps", "incidents", "credit",
)  # fmt: skip
IN_TABLES = (
    "summary", "evaluation", "reciprocity", "decisions", "times", "quality", "gaps", "incidents",
    "access", "governance", "controls", "method",
)  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_has_its_pictures_and_tables(copy: Path, language: Language) -> None:
    text = render_page(gathered(copy), (language,))
    parts = dict(re.findall(rf'<section id="{language}-(\w+)">(.*?)</section>', text, re.DOTALL))
    assert [name for name, part in parts.items() if "<svg" in part] == list(DRAWN)
    assert {name for name, part in parts.items() if "<table" in part} >= set(IN_TABLES)
    assert len(parts) == len({*DRAWN, *IN_TABLES}) == 17
    assert text.count("<figure>") == text.count("<figcaption>") == text.count("<svg")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_that_was_asked_for_is_seen_first(
    copy: Path, tmp_path: Path, language: str
) -> None:
    written(copy, tmp_path / "a.html", lang=language)
    text = (tmp_path / "a.html").read_text("utf-8")
    (checked,) = re.findall(r'id="show-(\w+)" checked', text)
    assert checked == language
    assert catalogue(language)["report.title"] in text.split("</title>", maxsplit=1)[0]


def test_the_page_needs_nothing_from_outside(copy: Path, tmp_path: Path) -> None:
    written(copy, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text("utf-8")
    assert "<script" not in text
    assert not re.search(r"\bon[a-z]+=|javascript:", text)
    links = set(re.findall(r'(?:href|src)="([^"#]*)', text)) - {"", "data:,"}
    assert not links
    assert set(re.findall(r"https?://[^\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_the_same_copy_and_period_give_the_same_bytes(copy: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(copy, tmp_path / f"{name}.html", "--from", "2026-02-01")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    other = tmp_path / "c.html"
    written(copy, other, "--from", "2026-01-01")
    assert other.read_bytes() != (tmp_path / "a.html").read_bytes()


def test_a_node_is_reported_as_its_mirror_is(copy: Path, tmp_path: Path) -> None:
    with node_of(rich()) as url:
        from_node = tally("audit", "report", url, "--jobs", 1, "-o", tmp_path / "a.html")
    from_copy = tally("audit", "report", copy, "--jobs", 1, "-o", tmp_path / "b.html")
    assert {**from_node, "file": ""} == {**from_copy, "file": ""}
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_the_index_saves_the_signatures_and_the_report_says_so(copy: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(copy, tmp_path / "copy"))
    reports = [tmp_path / f"{name}.html" for name in ("without", "before", "behind", "with")]
    arguments = ("audit", "report", folder, "--jobs", 1, "-o")

    def signatures(out: Path, *options: str) -> object:
        return tally(*arguments, out, *options)["ground"]["signatures"]

    assert signatures(reports[0]) == "verified"
    assert signatures(reports[1], "--use-index") == "verified"  # there is none
    tally("audit", "index", folder)
    assert signatures(reports[2]) == "verified"
    assert signatures(reports[3], "--use-index") == "index"
    pages = [path.read_text("utf-8") for path in reports]
    assert pages[0] == pages[1] == pages[2]
    for language in LANGUAGES:
        words = catalogue(language)
        assert _plain(words["report.signatures_verified"]) in pages[0]
        assert _plain(words["report.signatures_index"]) in pages[3]
    assert len(set(pages[0].split("\n")) ^ set(pages[3].split("\n"))) == 4  # in both languages


def _plain(text: str) -> str:
    """The beginning of a sentence, up to what is marked as code."""
    return text.split("`", maxsplit=1)[0]


def test_an_index_of_less_saves_nothing_and_one_of_another_history_is_a_finding(
    tmp_path: Path,
) -> None:
    log, other = Log(), Log()
    log.at(1, make.request())
    folder = write_copy(log, tmp_path / "copy")
    tally("audit", "index", folder)
    log.at(2)
    write_copy(log, folder)
    arguments = ("audit", "report", folder, "--jobs", 1, "-o", tmp_path / "a.html", "--use-index")
    assert tally(*arguments)["ground"]["signatures"] == "verified"
    tally("audit", "index", folder)
    assert tally(*arguments)["ground"]["signatures"] == "index"
    for hour, events in ((1, [make.request()]), (3, [])):
        other.at(hour, *events)
    write_copy(other, folder)
    found = tally(*arguments, exit_code=UNVERIFIED)
    assert found["error"]["code"] == "index-other-history"


def test_a_forged_signature_is_found_where_no_index_vouches(tmp_path: Path) -> None:
    log = Log()
    log.at(1, parse_event(break_signature(make.request())))
    folder = write_copy(log, tmp_path / "copy")
    arguments = ("audit", "report", folder, "--jobs", 1, "-o", tmp_path / "a.html")
    for options in ((), ("--use-index",)):
        found = tally(*arguments, *options, exit_code=UNVERIFIED)
        assert found["error"]["code"] == "replay-diverged"


def test_the_document_says_what_the_findings_say(copy: Path, tmp_path: Path) -> None:
    found = tally("audit", "report", copy, "--jobs", 1, "-o", tmp_path / "a.html")
    assert found["schema"] == "report/1"
    assert found["total"]["counts"]["requested"] == 8
    assert found["total"]["spans"]["answer"]["median_ms"] == 5 * 3_600_000
    assert found["total"]["in_time_per_mille"] == 750
    assert [each["verdict"] for each in found["controls"]].count("exceptions") == 5
    whole = msgspec.json.decode(msgspec.json.encode(make_document(gathered(copy))))
    assert found == {"file": str(tmp_path / "a.html"), **whole}


def test_a_log_in_which_nothing_happened_has_a_page_too(tmp_path: Path) -> None:
    log = Log()
    log.at(1)
    write_copy(log, tmp_path / "copy")
    written(tmp_path / "copy", tmp_path / "a.html")
    outline = Outline((tmp_path / "a.html").read_text("utf-8"))
    assert len(outline.headings["en"]) == 17
    assert outline.pictures == {"zh-CN": 1, "en": 1}  # grades


def test_every_text_of_the_report_is_used() -> None:
    """A key that nobody asks for would stay in both catalogues for ever."""
    folder = Path(page_module.__file__).parent
    code = "\n".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    made = (
        "signatures_",
        "span_",
        "severity_",
        "incident_",
        "drill_",
        "because_",
        "control_",
        "verdict_",
        "means_",
    )
    of_command = {"written", "gathering"}
    for key in catalogue("en"):
        name = key.removeprefix("report.")
        if key.startswith("report.") and name not in of_command and not name.startswith(made):
            assert f'"{name}"' in code, key
        if name.startswith("means_"):
            assert f'"{name.removeprefix("means_")}"' in code, key


def test_the_head_names_the_days_of_the_period(copy: Path) -> None:
    found = gathered(copy, make_period("2026-02-01", "2026-02-28"))
    words = catalogue("en")["report.about_period"].format(first="2026-02-01", last="2026-02-28")
    assert words in render_page(found, ("en",))


def test_an_incident_is_drawn_to_its_remedy_and_to_its_end(copy: Path) -> None:
    """One was remedied and then closed, one is open."""
    text = render_page(gathered(copy), ("en",))
    (part,) = re.findall(r'<section id="en-incidents">(.*?)</section>', text, re.DOTALL)
    assert part.count("<rect") == 2 + 1


def test_rows_that_are_left_out_are_told(copy: Path) -> None:
    found = gathered(copy)
    many = replace(found, gaps=found.gaps * ROWS_MAX)
    words = catalogue("en")["report.more_gaps"].format(shown=ROWS_MAX, count=len(many.gaps))
    told = _plain(words)
    assert told in render_page(many, ("en",))
    assert told.partition(" ")[2] not in render_page(found, ("en",))


@pytest.mark.parametrize(
    ("span_ms", "unit", "count"),
    [
        (0, "seconds", "0"),
        (99, "seconds", "<0.1"),
        (100, "seconds", "0.1"),
        (59_900, "seconds", "59.9"),
        (2_000, "seconds", "2"),
        (60_000, "minutes", "1"),
        (3_600_000, "hours", "1"),
        (47 * 3_600_000 + 1_800_000, "hours", "47.5"),
        (48 * 3_600_000, "days", "2"),
    ],
)
def test_spans_of_time_have_their_best_unit(
    copy: Path, span_ms: int, unit: str, count: str
) -> None:
    found = gathered(copy)
    for language in LANGUAGES:
        say = Speech(language, found)
        assert say.duration(span_ms) == catalogue(language)[f"report.{unit}"].format(count=count)
        assert say.duration(span_ms, 0) == NOTHING


# --- codes in words ------------------------------------------------------------------------------


def rejected_by_set(folder: Path, code_set: str, code: int, *before: Event) -> Findings:
    """Findings of a log with one rejected delivery, some blocks after other events."""
    log = Log()
    log.at(1, *before)
    for hour in range(2, 9):
        log.at(hour)
    asked = make.request()
    log.at(20, asked)
    log.at(21, make.deliver(asked))
    log.at(22, make.reject(asked, code_set=code_set, codes=(code,)))
    return gathered(write_copy(log, folder))


@pytest.mark.parametrize(
    ("code_set", "code", "words"),
    [
        ("oecd-crs-sm-3.0", 50001, {"zh": "50001 下载失败", "en": "50001 Download failed"}),
        ("tallystick-1", 3, {"zh": "3 载荷无法打开", "en": "3 Payload cannot be opened"}),
        ("tallystick-1", 9, {"zh": "9（代码集中没有）", "en": "9 (not in its code set)"}),
    ],
)
def test_status_codes_of_rejections_have_words(
    tmp_path: Path, code_set: str, code: int, words: dict[Language, str]
) -> None:
    found = rejected_by_set(tmp_path, code_set, code)
    for language in LANGUAGES:
        text = render_page(found, (language,))
        assert text.count(words[language]) == 2, "in the picture and in the table"
        assert code_set in text
    named = make_document(found)["code_names"]
    assert list(named) == ([f"{code_set} {code}"] if code != 9 else [])


def test_a_code_list_of_the_members_has_its_own_words(tmp_path: Path) -> None:
    own = carried(code_list("3", id="tallystick-1"))
    found = rejected_by_set(tmp_path, "tallystick-1", 3, *own)
    names: dict[Language, str] = {"zh": "3 代码3", "en": "3 code 3"}
    for language, words in names.items():
        assert words in render_page(found, (language,))


def test_contracts_have_their_titles(copy: Path) -> None:
    found = gathered(copy)
    assert found.contracts.keys() <= found.contract_titles.keys()
    gone = replace(found, contract_titles={})
    titles: dict[Language, str] = {"zh": "税务机关之间可请求", "en": "Tax authorities may"}
    for language, title in titles.items():
        assert title in render_page(found, (language,))
        assert title not in render_page(gone, (language,))


def test_dates_ids_and_short_heads_are_not_broken(copy: Path) -> None:
    text = render_page(gathered(copy), ("zh",))
    for whole in ("2026-02", "2026-03-10", "cn-3302-tax", "更正", "发起的共享"):
        assert f'<span class="whole">{whole}</span>' in text, whole
    assert '<span class="whole">合计</span>' not in text  # a cell, which may be long


# --- hostile and long names -----------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>&amp;\u202e\x07"
LONG = "国家税务总局某某省某某市高新技术产业开发区税务局第二税务所（涉外税收管理分局）"


def renamed(name: str, folder: Path) -> Findings:
    """Findings of a network that has that name, as all its members have."""
    found = gathered(write(folder))
    members = {
        id_: msgspec.structs.replace(member, name_zh=name, name_en=name)
        for id_, member in found.members.items()
    }
    return replace(found, members=members, ground=replace(found.ground, name=name))


def test_names_of_members_stay_words(tmp_path: Path) -> None:
    text = render_page(renamed(HOSTILE, tmp_path), LANGUAGES)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not {"\u202e", "\x07"} & set(text)
    Outline(text)


# --- PDF ------------------------------------------------------------------------------------------


def test_a_pdf_is_made_in_one_language(copy: Path, tmp_path: Path) -> None:
    try:
        importlib.import_module("weasyprint")
    except OSError:
        pytest.skip("no Pango: apt-get install libpango-1.0-0 libpangoft2-1.0-0")
    for name in ("a", "b"):
        assert "5" in written(copy, tmp_path / f"{name}.pdf")
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data == (tmp_path / "b.pdf").read_bytes()


def test_a_missing_library_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the log is read, which may take long."""
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    arguments = ("audit", "report", tmp_path / "no-copy", "--jobs", 1, "-o", tmp_path / "a.PDF")
    found = tally(*arguments, exit_code=ERROR)
    assert found["error"]["code"] == "extra-pdf-missing"
    assert not (tmp_path / "a.pdf").exists()


# --- a real browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no browser: apt-get install chromium")
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def test_a_browser_shows_both_languages_without_a_fault(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(render_page(renamed(LONG, tmp_path / "copy"), ("zh", "en")), "utf-8")
    width, height = A4_PIXELS
    view = browser.new_page(viewport={"width": width, "height": height})
    faults: list[str] = []
    view.on("console", lambda message: faults.append(message.text))
    view.on("pageerror", lambda error: faults.append(str(error)))
    view.on("requestfailed", lambda request: faults.append(request.url))
    view.goto(path.as_uri())
    for shown, hidden in (("zh", "en"), ("en", "zh"), ("zh", "en")):
        view.click(f"label[for=show-{shown}]")
        assert view.is_visible(f"main.{shown} h1")
        assert not view.is_visible(f"main.{hidden} h1")
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        wide = "e => e.scrollWidth > e.clientWidth && e.clientWidth > 0"
        assert view.evaluate(f"[...document.querySelectorAll('.sheet')].filter({wide}).length") == 0
        assert view.evaluate(_TEXTS_OUTSIDE) == []
    view.emulate_media(media="print")
    assert not view.is_visible("label[for=show-zh]")
    assert not view.is_visible("main.en h1")
    pdf = view.pdf(format="A4")
    assert pdf.startswith(b"%PDF-")
    view.close()
    assert faults == []


# Words of a picture that reach over its edge.
_TEXTS_OUTSIDE = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1);
  }).map(text => text.textContent);
})"""


def test_the_buttons_work_with_the_keyboard(browser: Any, copy: Path, tmp_path: Path) -> None:
    written(copy, tmp_path / "a.html")
    view = browser.new_page()
    view.goto((tmp_path / "a.html").as_uri())
    view.focus("#show-zh")
    view.keyboard.press("ArrowRight")
    assert view.is_visible("main.en h1")
    assert not view.is_visible("main.zh h1")
    view.close()
