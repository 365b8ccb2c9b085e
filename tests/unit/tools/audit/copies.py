"""A copy of a log in a folder, with state files, to be replayed in parts."""

from pathlib import Path

from ledger.genesis import Genesis
from ledger.governance.actions import SetRoles
from tests.unit.contracts.test_replay import add_executed
from tests.unit.contracts.test_replay_epochs import AFTER, Governed
from tests.unit.ledger.builders import make_request, officer_secret
from tools.audit.segments import Part, replay_one

HEIGHTS = 8


def make_log() -> Governed:
    """Two epochs; roles that change in block 5; requests, some refused, in every other block."""
    log = Governed()
    chain = log.chain
    add_executed(chain, [log.sign("north", make_request()) for _ in range(3)])
    add_executed(chain, log.change(log.add("center")))
    add_executed(chain, [log.sign("north", make_request(provider="unknown"))])
    log.seal(*AFTER, "west")
    key = officer_secret("north").public
    add_executed(chain, log.change(SetRoles(key=key, roles=("admin",))))
    add_executed(chain, [log.sign("north", make_request()) for _ in range(2)])
    add_executed(chain, [])
    add_executed(chain, [log.sign("east", make_request()) for _ in range(300)])
    assert len(chain.blocks) == HEIGHTS
    return log


def write_copy(folder: Path, log: Governed, **lies: bytes | None) -> Path:
    """The files of the log in a folder."""
    for name, data in log.chain.copy(**lies).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def keep_states(folder: Path, genesis: Genesis, every: int = 1) -> None:
    """A state file at every so many heights."""
    assert replay_one(make_part(folder, genesis, every=every)).fault is None


def make_part(
    folder: Path, genesis: Genesis, first: int = 0, last: int = 0, every: int = 0
) -> Part:
    return Part(directory=folder, genesis=genesis, from_height=first, to_height=last, every=every)
