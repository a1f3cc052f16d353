"""A request within the limit of bytes is refused before what it holds becomes objects."""

import json
import tracemalloc

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Serving, memory_store
from waiting import PATIENCE

from moa_graph import MoAConfig
from moa_graph.json_size import count_json_items
from moa_graph.server.errors import ApiError
from moa_graph.server.openai_requests import parse_chat_request
from moa_graph.server.openai_responses_requests import parse_responses_request
from moa_graph.server.service import ServerLimits

CHAT = "/v1/chat/completions"
MEGABYTE = 1_000_000
IMAGE = "data:image/png;base64," + "iVBORw0KGgo+/AAA" * 60_000


@pytest.fixture(scope="module")
def client():
    with (
        Serving(MoAConfig.load("offline"), store=memory_store()) as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
    ):
        yield client


def post(client, path, body):
    headers = {"content-type": "application/json"}
    response = client.post(path, content=body, headers=headers)
    error = response.json().get("error") or {"message": "", "code": None}
    return response.status_code, error["code"], error["message"]


def count_items(value):
    """Count what `count_json_items` estimates: an empty list or object counts as one item."""
    if isinstance(value, (list, dict)):
        parts = value.values() if isinstance(value, dict) else value
        return max(len(value), 1) + sum(map(count_items, parts))
    return 0


JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.text(alphabet='",[{}]:\\'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='a",[{\\'), inner),
)


@given(JSON, st.booleans())
def test_items_are_counted_whatever_stands_in_texts(value, is_ascii):
    text = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    assert count_json_items(text, 0) >= count_items(value)
    assert count_json_items(text, count_items(value)) <= count_items(value)


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/api/ask", "/api/continue"])
@pytest.mark.parametrize(
    ("begin", "item", "end"),
    [
        (b'{"model": "offline", "messages": [{"role": "user", "content": [', b"1,", b"1]}]}"),
        (b'{"messages": [', b"{},", b"{}]}"),
        (b'{"messages": [', b'"",', b'""]}'),
        (b'{"edits": {', b'"a":1,', b'"a":1}}'),
        (b'{"question": [', b"[],", b"[]]}"),
        (b'{"metadata": ["\\\\\\"', b'",",', b'"]}'),
    ],
)
def test_items_beyond_the_limit_are_refused_by_number(path, begin, item, end, client):
    count = (2 * MEGABYTE) // len(item)
    status, code, message = post(client, path, begin + item * count + end)
    assert (status, code) == (413, "too_many_items")
    assert "expected at most 51,000" in message


def test_items_in_arguments_of_tool_calls_are_counted_too(client):
    calls = [
        {"id": f"{n}", "function": {"name": "f", "arguments": '{"a": [' + "{}," * 30_000 + "1]}"}}
        for n in range(2)
    ]
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        *[{"role": "tool", "tool_call_id": call["id"], "content": "r"} for call in calls],
    ]
    status, code, message = post(
        client, CHAT, json.dumps({"model": "offline", "messages": messages}).encode()
    )
    assert (status, code) == (413, "too_many_items")
    assert message.startswith("the arguments of the tool calls: got about ")


def test_request_with_many_items_takes_little_memory(client):
    body = b'{"messages": [{"content": [' + b"1," * 4_900_000 + b"1]}]}"
    tracemalloc.start()
    try:
        assert post(client, CHAT, body)[0] == 413
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * len(body)  # as objects it would be a hundred times its size


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "1,2,3\n" * 1_000_000}],
        [{"role": "user", "content": '{"a": [1, 2]}, ' * 400_000}],
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is on it?"},
                    *[{"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}}] * 9,
                ],
            }
        ],
        [
            {"role": role, "content": [{"type": "text", "text": "a, b"}] * 3, "name": "ada"}
            for _ in range(499)
            for role in ("user", "assistant")
        ]
        + [{"role": "user", "content": "q"}],
    ],
    ids=["table", "code", "images", "history"],
)
def test_real_requests_are_within_the_limit(messages):
    data = {"model": "offline", "messages": messages}
    limits = ServerLimits()
    body = json.dumps(data).encode()
    assert len(body) <= limits.body
    assert count_json_items(body, limits.body_items) <= limits.body_items
    assert len(parse_chat_request(data, limits.messages).messages) == len(messages)


def test_more_messages_may_have_more_items():
    history = [{"role": "user", "content": [{"type": "text", "text": "q"}] * 3}] * 9000
    body = json.dumps({"model": "offline", "messages": history}).encode()
    assert count_json_items(body, 0) > ServerLimits().body_items
    assert count_json_items(body, 0) <= ServerLimits(messages=10_000).body_items


@pytest.mark.parametrize("part", [1, {"type": "text"}, {"type": "image_url", "image_url": 1}])
def test_check_of_a_request_stops_at_the_first_mistake(part):
    data = {"model": "m", "messages": [{"role": "user", "content": [part] * 40_000}] * 10}
    tracemalloc.start()
    try:
        with pytest.raises(ApiError, match=r"messages\[0\].content\[0\]"):
            parse_chat_request(data, 1000)
        with pytest.raises(ApiError, match=r"input\[0\].content\[0\]"):
            parse_responses_request({"model": "m", "input": data["messages"]}, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTE


@pytest.mark.parametrize("text", [b"[" * MEGABYTE, b'{"a":' * MEGABYTE])
def test_depth_is_refused(text, client):
    assert post(client, CHAT, text)[0] == 413  # each opens a list: too many items
    status, code, message = post(client, CHAT, text[: 300 * (len(text) // MEGABYTE)])
    assert (status, code) == (400, "invalid_json")
    assert "recursion limit exceeded" in message
