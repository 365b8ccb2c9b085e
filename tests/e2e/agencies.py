"""Agencies that act with `tally`, each from its own home; they share files and addresses.

World     all agencies by member, and the folder in which files travel between them
Agency    its home folder, and the node that it asks
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.network import wait_level, wait_receipt
from tests.e2e.test_tally import SUBJECTS, tally
from tests.unit.tools.found.builders import ORIGIN, SOURCE_PATH
from tools.exits import ERROR, OK
from tools.localnet import Localnet, free_ports, get_json

GROUNDS = ("--grounds", "found in the yearly review")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """An agency: its home folder, the node that it asks, and all nodes there are."""

    member: str
    home: Path
    url: str
    urls: Sequence[str]

    @property
    def genesis(self) -> Path:
        return self.home / "genesis.json"

    def key(self, name: str = "admin") -> Path:
        """Key file of an officer: where a founder's is, or where an applicant's would be."""
        founded = self.home / "officers" / f"{self.member}-{name}.key"
        return founded if founded.exists() else self.home / "keys" / f"{name}.key"

    def public_key(self, name: str = "admin") -> str:
        return str(tally("keys", "show", self.key(name))["public_key"])

    def new_key(self, name: str, *roles: str) -> Path:
        """Make the key of another officer; returns its statement for the administrators."""
        path = self.home / "keys" / f"{name}.key"
        path.parent.mkdir(exist_ok=True, mode=0o700)
        tally("keys", "generate", path, "--plain")
        statement = self.home / f"{name}.json"
        words = [word for role in roles for word in ("--role", role)]
        tally(
            *("member", "key", path, "--member", self.member, "--out", statement, *words),
            *("--genesis", self.genesis),
        )
        return statement

    def act(
        self, *words: object, key: str = "admin", exit_code: int = OK, draft: bool = False
    ) -> dict[str, Any]:
        signs = () if draft else ("--key", self.key(key))
        place = ("--url", self.url, "--genesis", self.genesis, "--member", self.member)
        document = tally(*words, *place, *signs, exit_code=exit_code)
        self.settle()
        return document

    def settle(self) -> None:
        """Return when every node has what this one has: the next command may ask another one."""
        wait_level(self.urls)

    def mirror(self, folder: Path) -> None:
        """Copy all that the own node has by now, under a checkpoint that covers it."""
        size = get_json(f"{self.url}/v1/status", timeout_s=10).document["tree_size"]
        wait_receipt(self.url, size - 1)
        tally("audit", "mirror", self.url, folder, "--genesis", self.genesis)

    def see(self, *words: object, exit_code: int = OK) -> dict[str, Any]:
        place = ("--url", self.url, "--genesis", self.genesis)
        return tally(*words, *place, exit_code=exit_code)

    def propose(self, *words: object, exit_code: int = OK, key: str = "admin") -> str:
        document = self.act("admin", "propose", *words, key=key, exit_code=exit_code)
        return str(document["digest"] if exit_code == OK else document["error"]["code"])

    def ballot(self, proposal: str, *words: object, key: str = "admin") -> None:
        assert self.act("admin", "ballot", proposal, *words, key=key)["outcome"]["applied"]

    def refused(self, *words: object, key: str = "admin") -> str:
        document = self.act(*words, key=key, exit_code=ERROR)
        return str(document["error"]["code"])

    def request(
        self, provider: str, exit_code: int = OK, *, key: str = "requester"
    ) -> dict[str, Any]:
        subjects, blinds = self.home / "subjects.txt", self.home / "blinds"
        subjects.write_text(SUBJECTS)
        blinds.unlink(missing_ok=True)
        return self.act(
            *("officer", "request", "--to", provider, "--dataset", "registration"),
            *("--purpose", "assessment", "--legal-basis", "tcal-6", "--field", "uscc"),
            *("--from", "2025-01-01", "--until", "2025-12-31"),
            *("--subjects", subjects, "--blinds", blinds),
            key=key,
            exit_code=exit_code,
        )

    def status(self, proposal: str) -> str:
        return str(self.see("admin", "proposal", proposal)["status"])


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The agencies by member, where their nodes answer and what stops these.

    `root` is for files that travel between agencies.
    """

    agencies: dict[str, Agency]
    root: Path
    urls: list[str] = field(default_factory=list)
    nodes: ExitStack = field(default_factory=ExitStack)

    def __getitem__(self, member: str) -> Agency:
        return self.agencies[member]

    def carry(self, proposal: str, *members: str) -> None:
        for member in members:
            self[member].ballot(proposal)


def apply(agency: Agency, name_zh: str, name_en: str) -> Path:
    """Make the application of a tax bureau, with the keys that it has or fresh ones."""
    document = tally(
        *("member", "apply", agency.home, "--plain", "--member", agency.member),
        *("--name-zh", name_zh, "--name-en", name_en, "--region", "330300", "--kind", "tax"),
        *("--genesis", agency.genesis),
    )
    return Path(document["application"])


def standing(agency: Agency) -> tuple[str, str]:
    """The state of an agency on the ledger, and what it waits for."""
    document = agency.see("member", "status", "--member", agency.member)
    return document["state"], document["waits_for"]


def found_homes(folder: Path, members: Sequence[str]) -> list[Path]:
    """Homes of founders; files go from one to another as copies, as by a USB stick."""
    post = folder / "post"
    post.mkdir()
    ports = free_ports(3 * len(members))
    homes = [folder / member for member in members]
    for home, port in zip(homes, ports, strict=False):
        names = ("--name-zh", "税务局", "--name-en", "Tax Bureau", "--region", "330100")
        place = ("--origin", ORIGIN, "--address", f"127.0.0.1:{port}")
        made = found("init", home, "--plain", "--member", home.name, *names, *place)
        shutil.copy(made["founder"], post / f"{home.name}.founder.json")
    genesis = post / "genesis.json"
    files = sorted(post.glob("*.founder.json"))
    found("assemble", *files, "--source", SOURCE_PATH, "--out", genesis)
    for home in homes:
        signed = found("sign", genesis, "--home", home, "--yes")
        shutil.copy(signed["signature"], post / f"{home.name}.signature.json")
    signatures = sorted(post.glob("*.signature.json"))
    listens = zip(ports[len(homes) :: 2], ports[len(homes) + 1 :: 2], strict=True)
    for home, listened in zip(homes, listens, strict=True):
        api, metrics = (f"127.0.0.1:{port}" for port in listened)
        where = ("--home", home, "--api", api, "--metrics", metrics)
        done = found("finish", genesis, *signatures, *where)
        tally("node", "activate", "--config", done["config"], "--yes")
    shutil.rmtree(post)
    return homes


def found(*arguments: object) -> dict[str, str]:
    return tally("admin", "found", *arguments)


def run_homes(homes: Sequence[Path], stack: ExitStack) -> None:
    """Start the nodes of these homes and return when all are ready; `stack` stops them."""
    networks = []
    for home in homes:
        network = Localnet(home)
        network.start()
        stack.callback(network.stop)
        networks.append(network)
    for network in networks:
        network.wait_ready()
