"""A short run of `tests.fuzz.run`; `make fuzz` is the long one."""

import json
import urllib.request

import pytest

from tests.fuzz.run import LEFT_OUT, fuzz, names, serving


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_answer_to_a_made_up_request_is_one_that_the_document_names() -> None:
    with serving() as url:
        for done in fuzz(url, examples=3, seed=1):
            assert done.returncode == 0, done.stdout + done.stderr
            assert "No issues found" in done.stdout


def test_what_is_left_out_exists_and_the_node_has_something_to_read() -> None:
    assert set(LEFT_OUT) < set(names())
    with serving() as url:
        for path in ("requests", "proposals", "incidents", "tasks", "members"):
            with urllib.request.urlopen(f"{url}/v1/{path}") as response:
                assert json.load(response)["items"], path
        with urllib.request.urlopen(f"{url}/log/checkpoint") as response:
            assert response.status == 200
