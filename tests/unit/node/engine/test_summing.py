"""Summing up in another process: the same sums, and nothing is lost when that process dies."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor

from ledger.lthash.digest import LANES_BYTES, sum_pairs
from node.engine.ports import Threads
from node.engine.summing import encode_part, serve

PARTS = [[(b"%d" % part, b"%d" % number) for number in range(50)] for part in range(3)]


def test_a_process_gives_the_sums_until_it_rests() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            workers = Threads(executor)
            for _ in range(2):
                sums = [await workers.sum_part(encode_part(part)) for part in PARTS]
                assert sums == [sum_pairs(part) for part in PARTS]
                process = workers._summing._process
                assert process is not None
                await workers.rest()
                assert process.returncode == 0
            await workers.rest()

    asyncio.run(run())


def test_without_its_process_a_node_sums_by_itself() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            workers = Threads(executor)
            await workers.sum_part(encode_part(PARTS[0]))
            process = workers._summing._process
            assert process is not None
            process.kill()
            await process.wait()
            assert await workers.sum_part(encode_part(PARTS[1])) == sum_pairs(PARTS[1])
            await workers.rest()

    asyncio.run(run())


def test_input_ends_the_process() -> None:
    data = b"".join(
        len(part).to_bytes(4, "big") + part for part in (encode_part(each) for each in PARTS)
    )
    sink = io.BytesIO()
    serve(io.BytesIO(data), sink)
    assert sink.getvalue() == b"".join(map(sum_pairs, PARTS))
    assert len(sink.getvalue()) == 3 * LANES_BYTES
