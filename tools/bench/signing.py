"""Events of the officers of a network that was made to be measured."""

from ledger.events import Body, Event
from ledger.genesis import Genesis
from ledger.keys import Signer
from tools.client import Client, Moment
from tools.custody.signer import open_signer
from tools.localnet import Localnet


class Signing:
    """Signs for the officers of a fresh network: what its genesis says is in force."""

    def __init__(self, network: Localnet, genesis: Genesis) -> None:
        self._network = network
        self._client = Client("", genesis)
        expiry_blocks_max = genesis.parameters.expiry_blocks_max
        self._moment = Moment(height=0, expiry_blocks_max=expiry_blocks_max)
        self._keys: dict[tuple[str, str], Signer] = {}

    def sign(self, member: str, role: str, body: Body, nonce: bytes) -> Event:
        """An event of a member's officer in a role."""
        key = self._keys.get((member, role))
        if key is None:
            key = open_signer(str(self._network.officer_key_path(member, role)))
            self._keys[member, role] = key
        return self._client.sign_at(self._moment, key, member=member, body=body, nonce=nonce)
