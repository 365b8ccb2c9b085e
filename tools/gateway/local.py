"""Gateways of a network on this machine, made, voted in, started and stopped with its nodes.

DIR/gateways/MEMBER/        gateway.toml, application.json, keys/, gateway.log, gateway.pid
DIR/gateways/MEMBER/records     what the folder connector reads: DATASET.csv
DIR/gateways/MEMBER/received    what the folder receiver wrote
"""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ledger.genesis import Genesis, hash_genesis
from ledger.governance.actions import Action
from ledger.governance.proposals import GovernanceBalloted, GovernanceProposed
from ledger.keys import format_public_key
from tools.client import Client
from tools.custody.making import KeyMaker
from tools.custody.signer import open_signer
from tools.exits import FailedNode, RefusedEvent, Unreachable
from tools.gateway.making import (
    APPLICATION,
    CONFIG,
    SUBJECT_FIELDS,
    GatewayApplication,
    GatewayPlan,
    folder_connector,
    folder_receiver,
    make_gateway,
    read_application,
)
from tools.gateway.socket import GatewaySocket, socket_of
from tools.localnet import Localnet, free_ports
from tools.mirror import read_genesis
from tools.processes import Processes, Program
from tools.words import language

FOLDER = "gateways"
READY_S_MAX = 60.0
# Linux: 108 bytes with the zero at the end.
BALLOT_BLOCKS = 5_000
# Three actions each, of the eight that a proposal may have.
GATEWAYS_PER_PROPOSAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayState:
    """One gateway: `height` is 0 where it does not answer."""

    member: str
    pid: int
    height: int
    socket: str


class LocalGateways:
    """The gateways of a network; none where none was made."""

    def __init__(self, network: Localnet) -> None:
        self._network = network
        self._processes = Processes()

    @property
    def members(self) -> tuple[str, ...]:
        """Members that have a gateway, in the order of the nodes."""
        return tuple(
            member for member in self._network.members if (self.directory(member) / CONFIG).exists()
        )

    def directory(self, member: str) -> Path:
        """Folder of one gateway. Raises `NotFound` where the member has no node."""
        return self._network.directory / FOLDER / self._network.node(member).member

    def program(self, member: str) -> Program:
        """The gateway of a member as a program in its folder."""
        return Program(label=member, directory=self.directory(member), name="gateway")

    def socket(self, member: str) -> GatewaySocket:
        """The socket of a gateway."""
        return GatewaySocket(socket_of(self.directory(member) / CONFIG))

    def pid(self, member: str) -> int:
        """Process id of a running gateway, or 0."""
        return self._processes.pid(self.program(member))

    def make(self, members: Iterable[str]) -> list[GatewayApplication]:
        """Keys and configuration of those that have none; what all of them apply for."""
        members = list(members)
        network = hash_genesis(read_genesis(self._network.genesis_path))
        applications = []
        for member in members:
            directory = self.directory(member)
            if not (directory / CONFIG).exists():
                plan = GatewayPlan(
                    member=member,
                    node=self._network.node(member).api,
                    listen=f"127.0.0.1:{free_ports(1)[0]}",
                    datasets={name: folder_connector(name) for name in SUBJECT_FIELDS},
                    receiver=folder_receiver(),
                    settings={"work": {"processes": 1}},
                )
                # A sandbox: whoever tries it types no pass phrases.
                make_gateway(directory, plan, network=network, maker=KeyMaker(plain=True))
            applications.append(read_application(directory / APPLICATION, network))
        return applications

    def start(self, members: Iterable[str] | None = None) -> list[str]:
        """Start those that do not run yet; their nodes must be ready."""
        started = []
        for member in self.members if members is None else members:
            program = self.program(member)
            if not self._processes.pid(program):
                command = [sys.executable, "-m", "node.gateway", "--config", str(program.config)]
                command += ["--lang", language()]
                self._processes.spawn(program, command)
                started.append(member)
        return started

    def wait_ready(
        self,
        members: Iterable[str] | None = None,
        *,
        on_ready: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Return when all answer. Raises `FailedNode` if one ends or the time is over."""
        deadline_s = time.monotonic() + READY_S_MAX
        for member in self.members if members is None else members:
            program, ask = self.program(member), partial(_ask, self.socket(member))
            waited = self._processes.wait_answer(program, ask, deadline_s)
            if waited.result == "late":
                raise FailedNode("gateway-late", f"{member}: {waited.reason}")
            if waited.result == "ended":
                self._processes.forget(program)
                raise FailedNode("gateway-ended", f"{member}\n{program.log_tail()}")
            on_ready(member)

    def stop(self, members: Iterable[str] | None = None) -> list[str]:
        """Ask them to end and wait; returns those that had to be killed after 10 s."""
        wanted = self.members if members is None else members
        return self._processes.stop(map(self.program, wanted))

    def status(self) -> list[GatewayState]:
        """State of every gateway."""
        return [self._state(member) for member in self.members]

    def _state(self, member: str) -> GatewayState:
        socket, pid, height = self.socket(member), self.pid(member), 0
        if pid:
            try:
                height = int(socket.get("/v1/status")["height"])
            except Unreachable:
                height = 0  # runs but does not answer yet
        return GatewayState(member=member, pid=pid, height=height, socket=str(socket.path))


def _ask(socket: GatewaySocket, left_s: float) -> str:
    """Why a gateway does not answer, empty if it does."""
    del left_s  # the socket has a limit of its own
    try:
        socket.get("/v1/status")
    except Unreachable as error:
        return error.detail
    return ""


async def vote_in(network: Localnet, applications: Sequence[GatewayApplication]) -> None:
    """Have the members enact what is not in force yet, until every node knows of it.

    All administrators' keys are here: this is a sandbox.
    """
    genesis = read_genesis(network.genesis_path)
    url = network.index.nodes[0].api
    async with Client(url, genesis) as client:
        missing = [each for each in applications if not await _is_in_force(client, each)]
        index = 0
        for at in range(0, len(missing), GATEWAYS_PER_PROPOSAL):
            part = missing[at : at + GATEWAYS_PER_PROPOSAL]
            actions = tuple(action for each in part for action in each.actions)
            index = await _enact(client, network, genesis, actions)
    if index:
        await wait_everywhere([node.api for node in network.index.nodes], genesis, index)


async def wait_everywhere(urls: Iterable[str], genesis: Genesis, index: int) -> None:
    """Return when all these nodes have an entry that one of them has: the others may be behind."""
    for url in urls:
        async with Client(url, genesis) as client:
            await client.wait_note(index)


async def _is_in_force(client: Client, application: GatewayApplication) -> bool:
    document = await client.get_json(f"/v1/members/{application.officer.member}")
    key = format_public_key(application.officer.officer.key)
    return any(officer["key"] == key for officer in document["officers"])


async def _enact(
    client: Client, network: Localnet, genesis: Genesis, actions: tuple[Action, ...]
) -> int:
    """Index of the record that carried the proposal."""
    moment = await client.fetch_moment()
    first, *others = network.members
    # Members without a node vote too, where they are needed.
    others += [each.id for each in genesis.members if each.id not in network.members]
    body = GovernanceProposed(
        actions=actions,
        text="",
        activate_height=0,
        ballots_until_height=moment.height + BALLOT_BLOCKS,
    )
    key = open_signer(str(network.officer_key_path(first, "admin")))
    proposal = await client.sign(key, member=first, body=body)
    record = await client.execute(proposal)
    if not record.outcome.applied:
        raise RefusedEvent(record.outcome.code, record.event.digest.hex())
    index = record.index
    for member in others:
        path = network.officer_key_path(member, "admin")
        told = await client.get_json(f"/v1/proposals/{proposal.digest.hex()}")
        if told["status"] != "open":
            return index
        if path.exists():
            ballot = GovernanceBalloted(proposal=proposal.digest, approve=True, text="")
            event = await client.sign(open_signer(str(path)), member=member, body=ballot)
            index = (await client.execute(event)).index
    return index
