"""A status of failure says which address gave it, what the server said, and how to go on."""

import pytest
from raw_responses import responding

from moa_graph import Agent, create_moa

BODIES = {
    "Go's": (
        404,
        b"404 page not found\n",
        "404 - 404 page not found (at {url}); check the address",
    ),
    "FastAPI's": (404, b'{"detail": "Not Found"}', "404 - Not Found (at {url}); check the address"),
    "llama.cpp's": (
        404,
        b'{"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}',
        "404 - File Not Found (at {url}); check the address",
    ),
    "another method's": (405, b"", "405 (at {url}); check the address"),
    "a gateway's page": (
        502,
        b"<html><head><title>502 Bad Gateway</title></head></html>",
        "502 - 502 Bad Gateway (at {url})",
    ),
    "nothing": (500, b"", "500 (at {url})"),
    "a long text": (503, b"x" * 1000, "xxx… (at {url})"),
    "a text beside none": (429, b'{"message": "slow down"}', "429 - slow down"),
}


@pytest.mark.parametrize("body", BODIES)
def test_what_a_server_says_beside_a_status_is_told_with_its_address(body, invoke, model):
    status, content, told = BODIES[body]
    with responding(content, "text/plain", status=status) as url:
        agent = Agent(model="openai:m", base_url=url, max_retries=0)
        moa = create_moa([{"m": agent, "b": model()}], model()).compile()
        error = invoke(moa, {"messages": "q"})["proposals"]["layer_1_m"]["error"]
    assert error.endswith(told.format(url=url))


def test_address_without_a_version_says_what_most_end_in(invoke, model):
    with responding(b"404 page not found", "text/plain", status=404) as url:
        agent = Agent(model="openai:m", base_url=url.removesuffix("/v1"), max_retries=0)
        moa = create_moa([{"m": agent, "b": model()}], model()).compile()
        error = invoke(moa, {"messages": "q"})["proposals"]["layer_1_m"]["error"]
    assert error.endswith("check the address: most servers' ends in /v1")


def test_model_that_is_not_there_is_told_in_the_servers_words(invoke, model):
    body = b'{"error": {"message": "model \'m\' not found, try pulling it first"}}'
    with responding(body, status=404) as url:
        agent = Agent(model="openai:m", base_url=url, max_retries=0)
        moa = create_moa([{"m": agent, "b": model()}], model()).compile()
        error = invoke(moa, {"messages": "q"})["proposals"]["layer_1_m"]["error"]
    assert error.endswith("model 'm' not found, try pulling it first")
