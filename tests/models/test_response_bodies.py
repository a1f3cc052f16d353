"""What a server gives in the place of a completion or a stream is read, or told for what it is."""

import json
from contextlib import contextmanager

import pytest
from raw_responses import responding

from moa_graph import Agent, create_moa
from moa_graph.models.agent import build_model

TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def completion(message, reason="stop", **more):
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": TOKENS, **more}


@contextmanager
def answering(body, kind="application/json"):
    """Give an agent whose server answers each request with one body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with responding(content, kind) as url:
        yield Agent(model="openai:m", base_url=url, max_retries=0)


def proposal_of(agent, stream, model):
    """Ask a proposer for a stream."""
    moa = create_moa([{"m": agent, "b": model()}], model(), stream_proposals=True).compile()
    *_, (_, state) = stream(moa, {"messages": "q"}, stream_mode=["messages", "values"])
    return state["proposals"]["layer_1_m"]


@pytest.mark.parametrize("pretty", [False, True])
def test_completion_of_a_server_that_does_not_stream_is_its_answer(pretty, stream, model):
    thought = {"role": "assistant", "content": "<think>SECRET</think>ans"}
    body = json.dumps(completion(thought, "length"), indent=2 if pretty else None).encode()
    with answering(body) as agent:
        proposal = proposal_of(agent, stream, model)
        assert "".join(each.text for each in build_model(agent).stream("q")) == "ans"
    assert (proposal["content"], proposal["finish_reason"]) == ("ans", "length")
    assert proposal["usage"]["total_tokens"] == 15


def test_calls_of_tools_of_a_server_that_does_not_stream_are_read():
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    with answering(completion({"content": None, "tool_calls": [call, call]})) as agent:
        first, *others = build_model(agent).stream("q")
    assert [each["name"] for each in sum(others, first).tool_calls] == ["look", "look"]


OTHER_BODIES = {
    "a page of HTML": (
        b"<html><title>Log in</title></html>",
        "got a page of HTML: <html><title>Log",
    ),
    "an error": ({"error": {"message": "upstream is down"}}, "an error: upstream is down"),
    "an error that is a text": ({"error": "upstream is down"}, "an error: upstream is down"),
    "an error of an older vLLM": ({"object": "error", "message": "no memory"}, "error: no memory"),
    "an error of FastAPI": ({"detail": "worker died"}, "an error: worker died"),
    "no message": (completion(None), "expected a chat completion with a message in `choices`"),
    "no choices": ({"choices": [], "usage": TOKENS}, "a message in `choices`, got {"),
    "a list": ([1], "expected a chat completion with a message in `choices`, got [1]"),
    "JSON that was cut off": (b'{"choices": [{"mess', "the answer is no valid JSON: {"),
    "an error beside an answer": (
        completion({"content": "half of"}, error={"message": "upstream is down"}),
        "upstream is down",
    ),
}


@pytest.mark.parametrize("body", OTHER_BODIES)
def test_what_is_no_completion_is_told_for_what_it_is(body, invoke, stream, model):
    content, told = OTHER_BODIES[body]
    with answering(content) as agent:
        moa = create_moa([{"m": agent, "b": model()}], model()).compile()
        whole = invoke(moa, {"messages": "q"})["proposals"]["layer_1_m"]
        streamed = proposal_of(agent, stream, model)
    for proposal in (whole, streamed):
        assert told in proposal["error"]
        has_usage = isinstance(content, dict) and "usage" in content
        assert bool(proposal["usage"]) == has_usage
    assert whole.get("partial_content", "") == ("half of" if "beside" in body else "")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xef\xbb\xbf{}", "application/json"),
        (b"{}", "text/plain; charset=latin-1"),
        (b"caf\xe9{}", "application/json; charset=latin-1"),
    ],
)
def test_letters_of_a_body_are_read_right(content, kind, invoke):
    text = json.dumps(completion({"content": "caf\xe9"}), ensure_ascii=False)
    encoding = "latin-1" if b"\xe9" in content else "utf-8"
    prefix = content.removesuffix(b"{}") if encoding == "utf-8" else b""
    with answering(prefix + text.encode(encoding), kind) as agent:
        assert invoke(build_model(agent), "q").text == "caf\xe9"
