"""`tally bench payload`: one large payload through two gateways, and what each process needs.

Four nodes and the gateways of two agencies run as processes on this machine. One offers the other
made-up registrations with long texts; it ends when the receipt is final and the records lie in the
receiver's folder. Peaks of memory are those that the system keeps of each process (`VmHWM`), the
processor time is that of all processes of a kind together.
"""

import csv
import os
import time
from pathlib import Path
from typing import Any

from tools.exits import InvalidAnswer
from tools.founding import read_source
from tools.gateway.local import LocalGateways, vote_in
from tools.gateway.story import OFFERED
from tools.localnet import Localnet, create_network, shipped_policy_set
from tools.output import Bar
from tools.sample.records import MAKERS, Dice

DATASET = "registration"
MB = 1_000_000
WAIT_S = 50
# As long as the schema lets them be: what is measured is bytes, not rows.
LONG = {"name": 120, "address": 200, "representative": 60}
FILLER = "虚构"


async def measure_payload(folder: Path, *, megabytes: int, bar: Bar) -> dict[str, Any]:
    """Figures of one exchange of about so many MB. Raises `ToolError`."""
    create_network(folder, source=read_source(), nodes=4, policy_set=shipped_policy_set())
    network = Localnet(folder)
    gateways = LocalGateways(network)
    requester, provider, *_ = network.members
    try:
        network.start()
        network.wait_ready()
        await vote_in(network, gateways.make((requester, provider)))
        records = gateways.directory(provider) / "records"
        _write_records(records, megabytes * MB, bar)
        gateways.start()
        gateways.wait_ready()
        started_s = time.monotonic()
        job = _offer(gateways, requester, provider)
        took_s = time.monotonic() - started_s
        received = gateways.directory(requester) / "received" / f"{job['exchange']}.0"
        plain_bytes = (received / "records.jsonl").stat().st_size
        nodes = [network.pid(member) for member in network.members]
        pids = {
            "nodes": nodes,
            **_gateway_pids("provider", gateways.pid(provider)),
            **_gateway_pids("requester", gateways.pid(requester)),
        }
        peaks = {name: max(map(_peak_mb, each)) for name, each in pids.items()}
        cpu_s = {name: round(sum(map(_cpu_s, each)), 1) for name, each in pids.items()}
    finally:
        gateways.stop()
        network.stop()
    return {
        "records": job["record_count"],
        "plain_mb": round(plain_bytes / MB),
        "sealed_mb": round(job["size_bytes"] / MB),
        "seconds": round(took_s, 1),
        "mb_per_s": round(plain_bytes / MB / took_s, 1),
        "peak_mb": peaks,
        "cpu_s": cpu_s,
    }


def _write_records(folder: Path, size_bytes: int, bar: Bar) -> None:
    """Rows that differ, until there are so many bytes of them."""
    dice = Dice("payload")
    folder.mkdir(exist_ok=True)
    with (folder / f"{DATASET}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(MAKERS[DATASET](dice, 1)))
        writer.writeheader()
        number, row_bytes = 0, 0
        while number * row_bytes < size_bytes:
            number += 1
            row = MAKERS[DATASET](dice, number)
            long = {name: f"{row[name]}{FILLER * size}"[:size] for name, size in LONG.items()}
            writer.writerow({**row, **long})
            if number == 1:
                file.flush()
                row_bytes = file.tell()
            bar(number * row_bytes, size_bytes)


def _offer(gateways: LocalGateways, requester: str, provider: str) -> dict[str, Any]:
    """The requester's job, when it has the records."""
    fields = list(MAKERS[DATASET](Dice("fields"), 1))
    wanted = {**OFFERED, "dataset": DATASET, "fields": fields, "recipient": requester}
    answer = gateways.socket(provider).post("/v1/offers", wanted)
    exchange = answer["exchange"]
    if answer["decision"] != "permit":
        raise InvalidAnswer("exchange-not-permitted", str(answer)[:200])
    # Who offers does not stay there: the other side may be quick.
    _wait(gateways, provider, f"provide/{exchange}", "offered", "learn", "settled")
    return _wait(gateways, requester, f"acquire/{exchange}", "kept")


def _wait(gateways: LocalGateways, member: str, job_path: str, *stages: str) -> dict[str, Any]:
    """The job in one of the stages. Raises `InvalidAnswer` where it is held instead."""
    query = "".join(f"&stage={stage}" for stage in (*stages, "held", "closed"))
    route = f"/v1/jobs/{job_path}?wait={WAIT_S}{query}"
    while (job := gateways.socket(member).get(route))["stage"] not in stages:
        if job["stage"] in ("held", "closed"):
            raise InvalidAnswer("exchange-not-received", str(job)[:200])
    return job


def _gateway_pids(name: str, pid: int) -> dict[str, list[int]]:
    """A gateway's, and those of its processes that read, seal and open."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {f"{name}_gateway": [pid], f"{name}_worker": [int(child) for child in children]}


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.split("\n") if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) * 1_024 / MB, 1)


def _cpu_s(pid: int) -> float:
    # Behind the name, which may hold spaces: utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
