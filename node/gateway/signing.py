"""Events that the gateway signs: with the key of a service officer of the agency.

The key has the roles `provider` and `requester`, or one of them, and no other: a gateway that could
approve or govern would hold powers that belong to people.
"""

import secrets

from ledger.errors import InvalidEvent
from ledger.events import Body, sign_event
from ledger.keys import Signer, format_public_key
from node.errors import StartRefused
from node.gateway.chain import Chain, Network
from node.gateway.desk import Change
from node.gateway.jobs import Failed, Job, change

ROLES = frozenset(("provider", "requester"))
EXPIRY_BLOCKS = 10_000
# The event was not executed in time; it never will be, so another may take its place.
_TOO_LATE = "event-expired"


class Signing:
    """Signs for one member and submits. `height` follows the chain."""

    def __init__(self, key: Signer, member: str, network: Network, chain: Chain) -> None:
        self._key = key
        self._network = network
        self._chain = chain
        self.member = member
        self.height = 0

    @property
    def network(self) -> bytes:
        """The network that events are signed for."""
        return self._network.network

    def sign(self, body: Body, nonce: bytes = b"") -> bytes:
        """A signed event that expires some thousand blocks from now. Raises `Failed`."""
        expiry = min(EXPIRY_BLOCKS, self._network.expiry_blocks_max // 2)
        try:
            event = sign_event(
                self._key,
                network=self._network.network,
                member=self.member,
                nonce=nonce or secrets.token_bytes(16),
                expires_height=self.height + expiry,
                body=body,
            )
        except InvalidEvent as error:
            raise Failed("event-unsignable", str(error), retry=False) from None
        return event.data

    async def record(self, job: Job, body: Body) -> Change:
        """The step of a stage that ends when an event of the job is final.

        First the signed event becomes durable; the next time it is submitted, so that however
        often the gateway dies, one event is recorded. The record itself, when it comes back from
        the ledger, moves the job on.
        """
        if not job.event:
            event = self.sign(body)
            return lambda now: change(now, event=event)
        answer = await self._chain.submit(job.event)
        if answer.code == _TOO_LATE:
            return lambda now: change(now, event=b"")
        if answer.state != "final" or answer.code:
            raise Failed(answer.code or answer.state, job.stage, retry=False)
        # Until the record comes on the stream; then it is not active any more.
        await self._chain.wait_height(answer.height)
        return lambda now: now

    async def verify_roles(self) -> None:
        """Check that the key is this member's and has the right roles. Raises `StartRefused`."""
        public = format_public_key(self._key.public)
        for officer in await self._chain.pages("/v1/officers"):
            if officer["key"] != public:
                continue
            roles = frozenset(officer["roles"])
            if officer["member"] != self.member or officer["status"] != "active":
                raise StartRefused(
                    "start-officer-other",
                    key=public,
                    member=officer["member"],
                    status=officer["status"],
                )
            if not roles or roles - ROLES:
                listed = ", ".join(sorted(roles)) or "-"
                raise StartRefused("start-officer-roles", key=public, roles=listed)
            return
        raise StartRefused("start-officer-unknown", key=public)
