"""What steps need to know of datasets whose payloads are messages of the reporting standard.

Which these are, members vote on: the code list `payload-forms` has the dataset as code and the form
of its payloads, `crs`, as both names. So both sides know it from the ledger.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from contracts.exchange.references import jurisdictions_of
from ledger.exchange.references import Reference, ShareReferenced
from node.gateway.chain import Chain
from node.gateway.jobs import Failed, Form, Job, Named

PAYLOAD_FORMS = "payload-forms"


async def find_form(chain: Chain, lists: Iterable[Mapping[str, Any]], dataset: str) -> Form:
    """The form of a dataset's payloads by the code lists on the ledger. Raises `Failed`."""
    listed = next((each for each in lists if each["id"] == PAYLOAD_FORMS), None)
    codes = () if listed is None else listed["codes"]
    found = next((each for each in codes if each["code"] == dataset), None)
    if found is None or await _is_ended(chain):
        return ""
    if found["name_en"] != "crs":
        raise Failed("payload-form-unknown", f"{dataset}: {found['name_en']}", retry=False)
    return "crs"


async def _is_ended(chain: Chain) -> bool:
    sunsets = await chain.get("/v1/sunsets", dict[str, Any])
    target = f"code-list/{PAYLOAD_FORMS}"
    return any(each["target"] == target and each["ended"] for each in sunsets["items"])


async def find_jurisdiction(chain: Chain, member: str) -> str:
    """The country (ISO 3166) that messages for or from a member name. Raises `Failed`."""
    return jurisdictions_of((await chain.read_member(member))["region"])[-1]


async def is_whole(chain: Chain, job: Job) -> bool:
    """Whether all fields of the dataset may go on: a message cannot be sent without some."""
    datasets = await chain.cached_pages("/v1/datasets")
    found = next((each for each in datasets if each["id"] == job.dataset), None)
    if found is None:
        raise Failed("dataset-unknown", job.dataset, retry=False)
    return {field["id"] for field in found["fields"]} <= set(job.fields)


def read_batch(path: Path, exchange: bytes, named: Named | None) -> ShareReferenced | None:
    """What is to be named next of a message, after what is named of it; None: that was all."""
    done = 0 if named is None else named.parts
    try:
        with path.open("rb") as file:
            first = file.readline()
            if first and named is not None and named.message != _read(first)["message"]:
                done = 0
            file.seek(0)
            line = next(islice(file, done, None), b"")
    except FileNotFoundError:
        raise Failed("references-lost", path.name, retry=False) from None
    return _body(exchange, _read(line)) if line else None


def _read(line: bytes) -> dict[str, Any]:
    return dict(json.loads(line))


def _body(exchange: bytes, batch: dict[str, Any]) -> ShareReferenced:
    return ShareReferenced(
        exchange=exchange,
        key_id=bytes.fromhex(batch["key_id"]),
        message=bytes.fromhex(batch["message"]),
        period=batch["period"],
        receiving=batch["receiving"],
        references=tuple(
            Reference(
                document=bytes.fromhex(each["document"]),
                indicator=each["indicator"],
                corrected=bytes.fromhex(each["corrected"]),
            )
            for each in batch["references"]
        ),
    )
