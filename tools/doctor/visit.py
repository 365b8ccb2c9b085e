"""Asks nodes for their diagnosis; where one does not answer, says why and looks at its files."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import msgspec

from tools.doctor.compare import place_anchors
from tools.doctor.report import (
    Entry,
    Finding,
    Severity,
    Visit,
    clean,
    decode_report,
    make_finding,
)
from tools.exits import InvalidInput
from tools.output import user_agent
from tools.words import language, tell_detail

ANSWER_S_MAX = 8.0
CONNECT_S_MAX = 4.0
ANSWER_BYTES_MAX = 4_194_304
OFFLINE_S_MAX = 60.0

_ENTRIES = msgspec.json.Decoder(Entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A node to ask: its API, and what is known of it on this machine.

    `member` is empty until the node says it; `pid` is None where the process is not ours to know,
    0 when it does not run.
    """

    url: str
    member: str = ""
    pid: int | None = None
    config: Path | None = None


async def visit_all(targets: Sequence[Target]) -> list[Visit]:
    """Visits in the order of the targets, with the anchors that show a fork."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX, sock_connect=CONNECT_S_MAX)
    headers = {"Accept-Language": language(), "User-Agent": user_agent()}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        visits = list(await asyncio.gather(*(_visit(session, target) for target in targets)))
        anchors = place_anchors(visits)
        wanted = sorted(set(anchors.values()))
        return list(await asyncio.gather(*(_anchor(session, each, wanted) for each in visits)))


async def _visit(session: aiohttp.ClientSession, target: Target) -> Visit:
    member = target.member or target.url
    if target.pid == 0:
        finding = make_finding("process-down", Severity.FAULT, member, member=member)
        return Visit(member=member, url=target.url, findings=(finding, *await _offline(target)))
    began_ms = time.time_ns() // 1_000_000
    try:
        data = await _get(session, f"{target.url}/v1/diagnosis")
        report = decode_report(data)
    except _NoAnswer as error:
        code = "process-stopped" if target.pid and _is_stopped(target.pid) else error.code
        finding = make_finding(
            code,
            Severity.FAULT,
            member,
            member=member,
            url=target.url,
            reason=tell_detail("", str(error)),
            pid=target.pid or "-",
        )
        return Visit(member=member, url=target.url, findings=(finding, *await _offline(target)))
    except (msgspec.DecodeError, RecursionError) as error:
        finding = make_finding(
            "not-a-node", Severity.FAULT, member, url=target.url, reason=tell_detail("", str(error))
        )
        return Visit(member=member, url=target.url, findings=(finding,))
    ended_ms = time.time_ns() // 1_000_000
    found: tuple[Finding, ...] = ()
    if target.member and report.facts.member != target.member:
        found = (
            make_finding(
                "other-member",
                Severity.FAULT,
                member,
                url=target.url,
                expected=target.member,
                found=report.facts.member,
            ),
        )
    return Visit(
        member=report.facts.member,
        url=target.url,
        report=report,
        findings=found,
        clock_ms=(began_ms + ended_ms) // 2,
        delay_ms=(ended_ms - began_ms + 1) // 2,
    )


async def _anchor(session: aiohttp.ClientSession, visit: Visit, wanted: Sequence[int]) -> Visit:
    """The visit with the entries of this node at the wanted places, as far as it has them."""
    if visit.report is None:
        return visit
    anchors: dict[int, Entry] = {}
    for index in wanted:
        if index <= visit.report.facts.header_index:
            # A node that fails between two questions has no anchor: nothing is compared then.
            with contextlib.suppress(_NoAnswer, msgspec.DecodeError):
                data = await _get(session, f"{visit.url}/v1/entries/{index}")
                anchors[index] = _ENTRIES.decode(data)
    return replace(visit, anchors=anchors)


class _NoAnswer(Exception):
    """Why there is no answer: `code` of a finding, and the system's own words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    try:
        async with session.get(url) as response:
            data = await response.content.read(ANSWER_BYTES_MAX)
            while len(data) < ANSWER_BYTES_MAX and (more := await response.content.read(65_536)):
                data += more
            if response.status != 200:
                raise _NoAnswer("not-a-node", f"HTTP {response.status}")
            return data
    except TimeoutError:
        raise _NoAnswer("no-answer", f"> {ANSWER_S_MAX:g} s") from None
    except (ssl.SSLError, aiohttp.ClientSSLError) as error:
        raise _NoAnswer("tls-failed", str(error)) from None
    except aiohttp.ClientConnectorDNSError as error:
        raise _NoAnswer("name-unknown", str(error)) from None
    except aiohttp.ClientConnectorError as error:
        raise _NoAnswer("connection-refused", str(error)) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _NoAnswer("connection-broken", str(error) or type(error).__name__) from None


def _is_stopped(pid: int) -> bool:
    """Whether the process is stopped (SIGSTOP), as the kernel says."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False
    return after_name.split()[0] in ("T", "t")


async def _offline(target: Target) -> list[Finding]:
    """What the files of a node say that does not run.

    Beside the event loop: other nodes' answers must not be late because of it.
    """
    if target.config is None or target.pid:
        return []
    return await asyncio.to_thread(examine, target.config)


def examine(config: Path) -> list[Finding]:
    """Findings of `python -m node.diagnosis` for a configuration file. Raises `InvalidInput`."""
    command = [sys.executable, "-m", "node.diagnosis", "--config", str(config)]
    try:
        done = subprocess.run(  # noqa: S603 - our own program, no shell
            [*command, "--lang", language()],
            capture_output=True,
            timeout=OFFLINE_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidInput("doctor-failed", f"{config}: > {OFFLINE_S_MAX:g} s") from None
    try:
        return msgspec.convert(clean(json.loads(done.stdout)["findings"]), list[Finding])
    except (ValueError, KeyError, msgspec.ValidationError):
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise InvalidInput("doctor-failed", f"{config}: {reason}") from None
