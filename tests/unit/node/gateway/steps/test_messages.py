"""Which datasets are of messages is known from the ledger, and what that asks of an exchange."""

from pathlib import Path

import msgspec
import pytest

from ledger.events import Event
from ledger.governance.actions import SetCodeList
from ledger.governance.registers import Code
from node.gateway.jobs import Failed
from node.gateway.steps.acquire import Acquirer
from node.gateway.steps.messages import PAYLOAD_FORMS, find_jurisdiction, is_whole
from node.gateway.steps.provide import read_rules
from tests.builders import ASKER, carried
from tests.exchanges import OPEN
from tests.registers import code_list, sunset
from tests.unit.node.gateway.house import House, live
from tests.unit.node.gateway.samples import make_job, make_payload


def forms(**named: str) -> tuple[Event, ...]:
    """The members say of what form the payloads of datasets are."""
    listed = code_list(id=PAYLOAD_FORMS).code_list
    codes = tuple(Code(code=code, name_zh=form, name_en=form) for code, form in named.items())
    action = SetCodeList(code_list=msgspec.structs.replace(listed, codes=codes))
    return carried(action, activate_height=0)


def test_the_ledger_says_which_datasets_are_of_messages(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        chain = made.service._chain
        assert (await read_rules(chain, "registration")).form == "crs"
        assert (await read_rules(chain, "account")).form == ""

    live(tmp_path, story, *forms(registration="crs"))


def test_without_a_list_all_payloads_are_records(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        assert (await read_rules(made.service._chain, "registration")).form == ""

    live(tmp_path, story)


def test_a_form_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        with pytest.raises(Failed) as caught:
            await read_rules(made.service._chain, "registration")
        assert (caught.value.code, caught.value.retry) == ("payload-form-unknown", False)
        assert caught.value.detail == "registration: carf"

    live(tmp_path, story, *forms(registration="carf"))


def test_a_list_that_has_ended_counts_no_more(tmp_path: Path) -> None:
    end = sunset(f"code-list/{PAYLOAD_FORMS}", "1970-01-02")
    ended = carried(end, activate_height=0, label="ends")

    async def story(made: House) -> None:
        assert (await read_rules(made.service._chain, "registration")).form == ""

    live(tmp_path, story, *forms(registration="crs"), *ended, OPEN)


def test_a_message_needs_every_field(tmp_path: Path) -> None:
    async def story(made: House) -> None:
        chain = made.service._chain
        datasets = await chain.cached_pages("/v1/datasets")
        [found] = [each for each in datasets if each["id"] == "registration"]
        every = tuple(field["id"] for field in found["fields"])
        assert len(every) > 1
        assert await is_whole(chain, make_job(fields=every))
        assert not await is_whole(chain, make_job(fields=every[1:]))
        with pytest.raises(Failed, match="dataset-unknown"):
            await is_whole(chain, make_job(dataset="none"))
        assert await find_jurisdiction(chain, ASKER) == "CN"

    live(tmp_path, story)


def test_a_message_that_has_more_than_may_be_sent_is_rejected(tmp_path: Path) -> None:
    job = make_job(side="acquire", stage="check", payload=make_payload(), fields=("uscc",))

    async def story(made: House) -> None:
        acquirer = Acquirer(made.service._parts, inbox=tmp_path)
        answered = (await acquirer.check(job))(job)
        assert (answered.stage, answered.codes) == ("answer", (99999,))
        assert answered.text == "message-fields-partial"

    live(tmp_path, story, *forms(registration="crs"))
