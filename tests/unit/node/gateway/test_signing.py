"""Events that the gateway signs: what the ledger would not take is a refusal, not a crash."""

import pytest

from ledger.exchange.bodies import ShareCorrected
from node.gateway.chain import Chain, Network
from node.gateway.jobs import Failed
from node.gateway.signing import Signing
from tests.builders import OWNER, hash32, key_of


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
