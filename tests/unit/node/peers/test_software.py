"""What nodes tell each other that they run: on real links, and what is not believed."""

from pathlib import Path

import pytest

from node.peers.links import Links
from node.peers.software import (
    ENGINE_HEADER,
    VERSION_HEADER,
    Software,
    own_software,
    read_software,
)
from tests.unit.node.peers.test_links import Site, run, running, sites

OTHER = Software(version="9.9.9", engine="cedarpy-5.0.0")


def other_links(site: Site, peer: Site) -> Links:
    return Links(
        peers=[peer.peer],
        listen=site.address,
        certificate_file=str(site.certificate_file),
        key_file=str(site.key_file),
        on_frame=lambda *_: None,
        on_connected=site.connected.put_nowait,
        software=OTHER,
    )


def test_each_end_learns_what_the_other_runs(tmp_path: Path) -> None:
    async def test() -> None:
        a, b = sites(tmp_path)
        first, second = a.links(b), other_links(b, a)
        assert first.software_of("b") is None
        async with running(first, second):
            assert (await a.connected.get(), await b.connected.get()) == ("b", "a")
            assert first.software_of("b") == OTHER
            assert second.software_of("a") == own_software()
            assert first.address_of("b") == str(b.address)
        assert first.address_of("c") == ""

    run(test)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {VERSION_HEADER: "1.0.0"},
        {VERSION_HEADER: "1.0.0", ENGINE_HEADER: ""},
        {VERSION_HEADER: "1.0.0", ENGINE_HEADER: "x" * 65},
        {VERSION_HEADER: "1.0\x1b[2J", ENGINE_HEADER: "cedarpy-4"},
        {VERSION_HEADER: "版本", ENGINE_HEADER: "cedarpy-4"},
    ],
)
def test_what_cannot_be_read_is_not_known(headers: dict[str, str]) -> None:
    assert read_software(headers) is None
    assert read_software({**headers, **OTHER.headers()}) == OTHER
