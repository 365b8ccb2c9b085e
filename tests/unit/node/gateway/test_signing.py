"""Events that the gateway signs: what the ledger would not take is a refusal, not a crash."""

from pathlib import Path

import pytest

from ledger.exchange.bodies import ShareCorrected
from ledger.keys import SecretKey
from node.errors import StartRefused
from node.gateway.chain import Chain, Network
from node.gateway.jobs import Failed
from node.gateway.signing import Signing
from tests.builders import ASKER, OWNER, hash32, key_of
from tests.refusals import told
from tests.unit.node.api.harness import Served, run


@pytest.mark.parametrize(("reason", "text"), [("Not an id", ""), ("wrong-value", "x" * 501)])
def test_what_the_ledger_would_not_take_is_refused_with_a_code(reason: str, text: str) -> None:
    network = Network(network=bytes(32), expiry_blocks_max=100)
    chain = Chain("http://127.0.0.1:1", OWNER)
    signing = Signing(key_of(OWNER, "provider"), OWNER, network, chain)
    body = ShareCorrected(
        exchange=hash32("exchange"),
        supersedes=hash32("before"),
        reason=reason,
        commitment=hash32("after"),
        record_count=1,
        schema_version=1,
        quality_digest=hash32("quality"),
        size_bytes=1,
        outbox_until_ms=1,
        text=text,
    )
    with pytest.raises(Failed) as caught:
        signing.sign(body)
    assert (caught.value.code, caught.value.retry) == ("event-unsignable", False)


@pytest.mark.parametrize(
    ("key", "member", "code"),
    [
        (SecretKey(hash32("nobody")), OWNER, "start-officer-unknown"),
        (key_of(OWNER, "provider"), ASKER, "start-officer-other"),
        (key_of(OWNER, "admin"), OWNER, "start-officer-roles"),
    ],
)
def test_a_key_that_is_no_service_officers_does_not_start(
    tmp_path: Path, key: SecretKey, member: str, code: str
) -> None:
    async def story(node: Served) -> None:
        host, port = node.address
        async with Chain(f"http://{host}:{port}", member) as chain:
            signing = Signing(key, member, await chain.network(), chain)
            with pytest.raises(StartRefused) as caught:
                await signing.verify_roles()
        assert caught.value.code == code
        assert told(caught.value).detail.startswith("ed25519:")

    run(tmp_path, story)


def test_the_key_of_a_service_officer_starts(tmp_path: Path) -> None:
    async def story(node: Served) -> None:
        host, port = node.address
        async with Chain(f"http://{host}:{port}", OWNER) as chain:
            key = key_of(OWNER, "provider")
            await Signing(key, OWNER, await chain.network(), chain).verify_roles()

    run(tmp_path, story)
