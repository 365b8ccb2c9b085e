"""Gateways of a real network: made, voted in, run as processes, asked over their sockets."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.network import ASKER, OWNER, Net
from tools.custody.making import KeyMaker
from tools.gateway.local import vote_in
from tools.gateway.making import GatewayPlan, make_gateway
from tools.gateway.socket import UnixConnection
from tools.localnet import free_ports

START_S_MAX = 30
CALL_S_MAX = 40

FOLDER = {
    "name": "folder",
    "options": {
        "path": "records", "files": "{dataset}.csv", "format": "csv", "subject_fields": ["uscc"]
    },
}  # fmt: skip
RECEIVER = {"name": "folder", "options": {"path": "received"}}


class Gate:
    """One gateway: its folder, its process, its socket."""

    def __init__(self, directory: Path, member: str) -> None:
        self.directory = directory
        self.member = member
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, module: str = "node.gateway", **environment: str) -> None:
        """Start and wait until it says that it has started."""
        log = self.directory / "gateway.log"
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "--config", self.directory / "gateway.toml"],
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
            )
        self._wait_for(log, before, b"gateway started")

    def _wait_for(self, log: Path, before: int, words: bytes) -> None:
        assert self._process is not None
        descriptor = os.pidfd_open(self._process.pid)
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        try:
            for _ in range(START_S_MAX * 20):
                if words in log.read_bytes()[before:]:
                    return
                if poller.poll(50):
                    break
            # It may have ended right after it said so.
            if words in log.read_bytes()[before:]:
                return
        finally:
            os.close(descriptor)
        raise AssertionError(log.read_text()[before:])

    def wait_ended(self) -> int:
        assert self._process is not None
        return self._process.wait(timeout=START_S_MAX)

    def stop(self) -> None:
        """End it in order; it must say that it ended well."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            code = self._process.wait(timeout=START_S_MAX)
            self._process = None
            assert code == 0, (self.directory / "gateway.log").read_text()

    def kill(self) -> None:
        """SIGKILL; its workers end by themselves."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def call(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        connection = UnixConnection(self.directory / "gateway-data" / "gateway.sock", CALL_S_MAX)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def ask(self, owner: str, subjects: list[str], **changed: Any) -> dict[str, Any]:
        """Ask for registrations; the contracts permit at once."""
        wanted = {
            "provider": owner,
            "dataset": "registration",
            "purpose": "assessment",
            "legal_basis": "tcal-6",
            "fields": ["uscc", "name"],
            "period_from": "2026-01-01",
            "period_to": "2026-03-31",
            "urgency": "normal",
            "retention_days": 90,
            "case": "case",
            **changed,
        }
        code, answer = self.call("POST", "/v1/requests", {"request": wanted, "subjects": subjects})
        assert code == 200, answer
        return dict(answer)

    def job(self, side: str, exchange: str) -> dict[str, Any]:
        code, answer = self.call("GET", f"/v1/jobs/{side}/{exchange}")
        assert code == 200, answer
        return dict(answer)

    def wait(self, side: str, exchange: str, *stages: str) -> dict[str, Any]:
        """The job as soon as it is in one of the stages."""
        query = "&".join(f"stage={stage}" for stage in stages)
        code, job = self.call("GET", f"/v1/jobs/{side}/{exchange}?wait=30&{query}")
        assert code == 200, job
        assert job["stage"] in stages, (job, self.log())
        return dict(job)

    def received(self, exchange: str, correction: int = 0) -> list[dict[str, Any]]:
        path = self.directory / "received" / f"{exchange}.{correction}" / "records.jsonl"
        return [json.loads(line) for line in path.read_text().split("\n") if line]

    def metrics(self) -> str:
        """URL of the figures of the running gateway."""
        started = [line for line in self.log().split("\n") if "gateway started" in line]
        return f"http://{json.loads(started[-1])['metrics']}/metrics"

    def log(self) -> str:
        return (self.directory / "gateway.log").read_text()


@contextmanager
def gates(
    net: Net,
    folder: Path,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    datasets: Mapping[str, Any] | None = None,
    receiver: Mapping[str, Any] = RECEIVER,
) -> Iterator[tuple[Gate, Gate]]:
    """Gateways of the asker and the owner, voted in; started by the test."""
    made, applications = [], []
    for member, port in zip((ASKER, OWNER), free_ports(2), strict=True):
        directory = folder / member
        plan = GatewayPlan(
            member=member,
            node=net.local.node(member).api,
            listen=f"127.0.0.1:{port}",
            datasets=datasets if datasets is not None else {"registration": FOLDER},
            receiver=receiver,
            settings=settings or {},
        )
        applications.append(
            make_gateway(directory, plan, network=net.id, maker=KeyMaker(plain=True))
        )
        made.append(Gate(directory, member))
    asyncio.run(vote_in(net.local, applications))
    try:
        yield made[0], made[1]
    finally:
        for gate in made:
            gate.kill()
