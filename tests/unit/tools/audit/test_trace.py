"""The story of an exchange as text, document and picture."""

import re
from pathlib import Path
from xml.parsers import expat

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from contracts.exchange.duties import GAPS
from contracts.words import kind_word
from ledger.events import Event, ShareRejected
from ledger.keys import fingerprint
from ledger.tlog.tiles import ENTRIES_LEVEL, TilePath
from tests.unit.contracts.drafts.pasts import (
    add_executed,
    records_of,
    signed,
    write_copy,
)
from tests.unit.ledger.builders import make_request, officer_secret
from tests.unit.tools.audit.logs import ASKER, FIRST, OWNER, THIRD, Story
from tests.unit.tools.test_epochs import code_of, tally
from tools.audit.index.picture import BOX_WIDTH, SMALL, _wrap
from tools.audit.index.trace import tell_body
from tools.audit.report.charts import text_width
from tools.cli import main
from tools.exits import ERROR, NOT_FOUND, OK, UNVERIFIED
from tools.words import LANGUAGES, select_language

ENGLISH = {
    "share.requested": "asks south for registration (uscc, name)",
    "share.delivered": "delivers 3 records, 100 bytes",
    "share.rejected": "50007 (tallystick-1) “<not> & valid”",
    "share.received": "REFUSED: on record, without effect (commitment-mismatch)",
    "share.used": "assessed",
    "share.consent_requested": "asks that east may use it for assessment",
    "share.consent_given": "agrees",
    "share.corrected": "2 records: wrong-amount",
    "share.correction_acknowledged": "has replaced what it held",
    "share.disputed": "contests: incomplete “一行不全”",
    "share.dispute_resolved": "accepted",
    "share.rated": "rates quality 4 of 5, usefulness 5 of 5",
    "share.destroyed": "crypto-erase",
    "incident.reported": "reports data-leak of severity high",
}


@pytest.fixture(scope="module")
def story() -> Story:
    return Story().live().wait(800)


@pytest.fixture(scope="module")
def folder(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_copy(story.chain, tmp_path_factory.mktemp("traced") / "copy")


def tell(folder: Path, exchange: str, *arguments: object, language: str = "en") -> str:
    given = ("audit", "trace", exchange, folder, "--jobs", 1, "--lang", language, *arguments)
    done = CliRunner().invoke(main, [*map(str, given)])
    assert done.exit_code == OK, done.output
    return done.stdout


def test_the_story_tells_everything_in_order(folder: Path, story: Story) -> None:
    text = tell(folder, story.exchange.hex())
    parts = text.split("\n\n")
    own = [event for event, _ in records_of(story.chain) if event.exchange == story.exchange]
    kinds = [event.kind for event in own]
    assert len(parts) == 1 + len(kinds) + 1 + 1 + 1  # head, incident, what is left, the index
    for kind, sentence in ENGLISH.items():
        assert any(kind_word(kind, "en") in part and sentence in part for part in parts), kind
    assert "Decision: Permit, by registration-release, routine-release, tax-request" in parts[1]
    assert "Duties: answer within 24 h, keep at most 365 days" in parts[1]
    assert f"{ASKER} (requester, approver, provider, " in parts[1]
    assert fingerprint(officer_secret(ASKER).public) in parts[1]
    places = [int(found) for found in re.findall(r"Z  #(\d+)  ", text)]
    assert places == sorted(places)
    assert len(places) == len(kinds) + 1


def test_the_story_ends_with_what_is_owed(folder: Path, story: Story) -> None:
    text = tell(folder, story.exchange.hex())
    assert "OVERDUE: a correction that was not acknowledged · east, since 2026-01-15" in text
    assert "OVERDUE: retention has passed without destruction · east, since 2027-01-01" in text
    assert f"{ASKER} has destroyed payload" in text
    assert f"{THIRD} holds payload" in text


def test_every_sentence_is_there_in_both_languages(story: Story) -> None:
    for language in LANGUAGES:
        select_language(["--lang", language])
        for event, _ in records_of(story.chain):
            assert len(tell_body(event, {})) > 2 or language == "zh"
    select_language(["--lang", "en"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_picture_is_one_valid_file(
    folder: Path, story: Story, tmp_path: Path, language: str
) -> None:
    path = tmp_path / "story.svg"
    tell(folder, story.exchange.hex(), "--svg", path, language=language)
    drawn = path.read_text("utf-8")
    words = read_svg(drawn)
    heads = {
        "en": ("Requester north", "Ledger", "Provider south", "Other holders", "Permit"),
        "zh": ("请求方 north", "账本", "提供方 south", "其他持有方", "准予"),
    }
    for head in heads[language]:
        assert head in words, head
    own = [event for event, _ in records_of(story.chain) if event.exchange == story.exchange]
    assert drawn.count("<g>") == 2 * (len(own) + 1) + 2  # an incident and two duties more
    for event in own:
        assert any(kind_word(event.kind, language) in word for word in words)
    gap = GAPS["retention-without-destruction"]
    assert any((gap.zh if language == "zh" else gap.en)[:10] in word for word in words)
    assert "&lt;not&gt; &amp; valid" in drawn


@given(st.text(st.sampled_from("ab W税务，（）- "), max_size=300), st.integers(1, 6))
def test_lines_of_a_box_fit_and_lose_nothing_but_the_end(words: str, lines_max: int) -> None:
    lines = _wrap(words, lines_max)
    assert len(lines) <= lines_max
    assert all(text_width(line, SMALL) <= BOX_WIDTH - 16 for line in lines)
    shown, whole = ("".join(text.split()) for text in ("".join(lines), words))
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))
    if lines and not lines[-1].endswith("…"):
        assert shown == whole


def test_no_line_begins_with_a_mark() -> None:
    for length in range(1, 60):
        lines = _wrap("税" * length + "，" + "务" * 30)
        assert not [line for line in lines if line.startswith("，")]


def test_codes_of_rejections_and_refusals_are_told_in_words(tmp_path: Path) -> None:
    story = Story(blocks=1)
    story.deliver(FIRST)
    body = ShareRejected(
        exchange=story.exchange, commitment=FIRST, code_set="oecd-crs-sm-3.0",
        codes=(50001, 12345), text="",
    )  # fmt: skip
    story.act(ASKER, body)
    story.act(ASKER, body, applied=False)
    folder = write_copy(story.chain, tmp_path / "copy")
    told = tell(folder, story.exchange.hex(), "--svg", tmp_path / "x.svg")
    assert "50001 Download failed, 12345 (oecd-crs-sm-3.0)" in told
    assert "without effect (exchange-state): Not possible in this state" in told
    assert "50001 Download failed," in " ".join(read_svg((tmp_path / "x.svg").read_text("utf-8")))
    chinese = tell(folder, story.exchange.hex(), language="zh")
    assert "50001 下载失败" in chinese
    assert "（exchange-state）：当前状态不允许此操作" in chinese


def read_svg(drawn: str) -> list[str]:
    """Texts of a picture that is well-formed, has no script, and names no other file."""
    parser = expat.ParserCreate()
    texts: list[str] = []
    names: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        names.append(name)
        for key, value in attributes.items():
            assert not key.startswith("on"), key
            assert "href" not in key, key
            assert "url(" not in value.replace("url(#tip)", "")
            assert "//" not in value.replace("http://www.w3.org/2000/svg", ""), value

    parser.StartElementHandler = start
    parser.CharacterDataHandler = texts.append
    parser.buffer_text = True
    parser.Parse(drawn, True)
    assert {"script", "image", "use", "foreignObject", "a"}.isdisjoint(names)
    assert names[0] == "svg"
    return [text.strip() for text in texts]


def test_a_document_has_the_bodies_and_outcomes(folder: Path, story: Story) -> None:
    told = tally("audit", "trace", story.exchange.hex()[:8], folder, "--jobs", 1)
    assert (told["exchange"], told["status"]) == (story.exchange.hex(), "destroyed")
    own = [(event, outcome) for event, outcome in records_of(story.chain)
           if event.exchange == story.exchange]  # fmt: skip
    shown = [each for each in told["events"] if each["kind"].startswith("share.")]
    for row, (event, outcome) in zip(shown, own, strict=True):
        assert row["event"] == event.digest.hex()
        assert row["outcome"]["code"] == outcome.code
        assert row["roles"] == ["requester", "approver", "provider"]
    assert shown[1]["body"]["commitment"] == FIRST.hex()
    assert [duty["member"] for duty in told["duties"]] == [THIRD, THIRD]
    assert all(duty["is_overdue"] for duty in told["duties"])
    assert told["matters"]["rating"] == {"quality": 4, "usefulness": 5}


def test_what_others_wrote_does_not_steer_the_terminal(tmp_path: Path) -> None:
    story = Story(blocks=1)
    story.deliver(FIRST)
    odd = ShareRejected(
        exchange=story.exchange, commitment=FIRST, code_set="tallystick-1", codes=(50007,),
        text="\x1b[31m\nred\x00\u202e",
    )  # fmt: skip
    story.act(ASKER, odd)
    folder = write_copy(story.chain, tmp_path / "copy")
    text = tell(folder, story.exchange.hex(), "--svg", tmp_path / "x.svg")
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "“?[31m red??”" in text
    read_svg((tmp_path / "x.svg").read_text("utf-8"))


def test_a_request_that_was_refused_has_a_story_too(tmp_path: Path) -> None:
    story = Story(blocks=1)
    refused = story.act(ASKER, make_request(provider="nobody"), applied=False)
    folder = write_copy(story.chain, tmp_path / "copy")
    text = tell(folder, refused.digest.hex(), "--svg", tmp_path / "x.svg")
    assert "not opened" in text
    assert "REFUSED" in text
    assert "Owed" not in text
    assert tally("audit", "trace", refused.digest.hex(), folder)["state"] is None


def test_what_is_not_due_yet_is_owed(tmp_path: Path) -> None:
    story = Story(blocks=1)
    folder = write_copy(story.chain, tmp_path / "copy")
    text = tell(folder, story.exchange.hex(), "--svg", tmp_path / "x.svg")
    assert f"Owed: a permit without a delivery · {OWNER}, until 2026-01-02" in text
    assert any("due 2026-01-02" in word for word in read_svg((tmp_path / "x.svg").read_text()))


def test_an_exchange_that_is_not_there(folder: Path) -> None:
    told = tally("audit", "trace", "0" * 64, folder, exit_code=NOT_FOUND)
    assert code_of(told) == "exchange-unknown"
    for wrong in ("abc", "g" * 12, "A" * 12, "0" * 65):
        told = tally("audit", "trace", wrong, folder, exit_code=ERROR)
        assert code_of(told) == "exchange-digits"


def test_digits_with_which_two_exchanges_begin(tmp_path: Path) -> None:
    """Made by trying: six digits are enough for an accident, and the command asks for more."""
    story = Story(blocks=1)
    seen: dict[str, Event] = {}
    pair: list[Event] = []
    for number in range(40_000):
        event = signed(story.chain, ASKER, make_request(), number)
        other = seen.setdefault(event.digest.hex()[:6], event)
        if other is not event:
            pair = [other, event]
            break
    assert pair, "among 40,000 digests two begin with the same six digits"
    add_executed(story.chain, pair)
    folder = write_copy(story.chain, tmp_path / "copy")
    digits = pair[0].digest.hex()[:6]
    told = tally("audit", "trace", digits, folder, "--jobs", 1, exit_code=ERROR)
    assert code_of(told) == "exchange-ambiguous"


def test_an_entry_that_was_changed_since_is_refused(story: Story, tmp_path: Path) -> None:
    """The index is whole, but the story is read from the copy itself."""
    folder = write_copy(story.chain, tmp_path / "copy")
    tally("audit", "index", folder, "--jobs", 1)
    path = folder / TilePath(level=ENTRIES_LEVEL, index=0, width=story.chain.range.size).format()
    data = path.read_bytes()
    at = data.index("一行不全".encode())
    for changed in (data[:at] + b"\xe4" + data[at:][1:].replace(b"\xb8", b"\xb9", 1), data[:-1]):
        path.write_bytes(changed)
        told = tally("audit", "trace", story.exchange.hex(), folder, exit_code=UNVERIFIED)
        assert code_of(told) == "replay-diverged"
    path.unlink()
    told = tally("audit", "trace", story.exchange.hex(), folder, exit_code=UNVERIFIED)
    assert code_of(told) == "replay-diverged"
