"""What Anthropic's clients may ask, and what becomes of it: pure functions."""

import pytest

from moa_graph.server.anthropic_requests import (
    ConversationRequest,
    MessageRequest,
    parse_conversation,
)
from moa_graph.server.anthropic_translation import (
    is_closed_schema,
    to_chat_messages,
    to_chat_request,
    to_chat_tools,
)
from moa_graph.server.errors import ApiError
from moa_graph.server.openai_messages import to_langchain_messages

ASKED = [{"role": "user", "content": "q"}]
PIXEL = {"type": "base64", "media_type": "image/png", "data": "AA=="}
IMAGE = {"type": "image", "source": PIXEL}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TOOL = {"name": "weather", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20260209", "name": "web_search", "max_uses": 5}


def parse(kind=MessageRequest, *, strict=False, **body):
    whole = {"model": "mine", "max_tokens": 9, "messages": ASKED} | body
    return parse_conversation(kind, whole, 5, strict=strict)


def translated(messages, **body):
    chat = to_chat_messages(parse(messages=messages, **body))
    return [each.model_dump(exclude_none=True, exclude_defaults=True) for each in chat]


def call(number=1, name="weather", **arguments):
    return {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments}


def result(content, number=1, **options):
    return {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": content} | options


def text(value, **options):
    return {"type": "text", "text": value} | options


CACHED = {"cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [{"role": "user", "content": "q"}]),
        (
            {"system": "Be brief."},
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}],
        ),
        (
            {"system": [text("Be brief.", **CACHED), text("Be kind.")]},
            [
                {"role": "system", "content": "Be brief.\n\nBe kind."},
                {"role": "user", "content": "q"},
            ],
        ),
        ({"system": ""}, [{"role": "user", "content": "q"}]),
        (
            {"messages": [{"role": "user", "content": [text("q", **CACHED)]}]},
            [{"role": "user", "content": "q"}],
        ),
        (
            {"messages": [*ASKED, {"role": "system", "content": [text("Be brief.")]}, *ASKED]},
            [
                {"role": "user", "content": "q"},
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "q"},
            ],
        ),
    ],
)
def test_prompts_become_messages(body, expected):
    assert translated(body.pop("messages", ASKED), **body) == expected


def test_messages_of_a_role_in_a_row_are_one():
    said = [
        {"role": "user", "content": "one"},
        {"role": "user", "content": [text("two"), IMAGE]},
        {"role": "assistant", "content": "three"},
        {"role": "assistant", "content": [call()]},
        {"role": "user", "content": [result("rain")]},
    ]
    first, second, third = translated(said)
    parts = [text("one"), text("two"), IMAGE_PART]
    assert first == {"role": "user", "content": parts}
    assert second["content"] == "three"
    assert second["tool_calls"][0]["function"]["name"] == "weather"
    assert third == {"role": "tool", "content": "rain", "tool_call_id": "toolu_1"}


def test_results_are_messages_of_their_own_before_what_stands_beside_them():
    said = [
        *ASKED,
        {"role": "assistant", "content": [text("I look."), call(1, city="Oslo"), call(2)]},
        {
            "role": "user",
            "content": [
                text("Be quick."),
                result([text("rain"), text("wind")], 2),
                result(None, 1, is_error=True),
            ],
        },
    ]
    _, calls, second, first, beside = translated(said)
    assert [each["id"] for each in calls["tool_calls"]] == ["toolu_1", "toolu_2"]
    assert second == {"role": "tool", "content": "rain\nwind", "tool_call_id": "toolu_2"}
    assert first == {"role": "tool", "content": "", "tool_call_id": "toolu_1", "is_error": True}
    assert beside == {"role": "user", "content": "Be quick."}
    messages = to_langchain_messages(to_chat_messages(parse(messages=said)))
    assert messages[1].tool_calls[0]["args"] == {"city": "Oslo"}
    assert [(each.name, each.status) for each in messages[2:4]] == [
        ("weather", "success"),
        ("weather", "error"),
    ]


def test_image_of_a_result_follows_the_results():
    said = [
        *ASKED,
        {"role": "assistant", "content": [call()]},
        {"role": "user", "content": [result([text("seen:"), IMAGE])]},
    ]
    *_, told, shown = translated(said)
    assert told["content"] == "seen:"
    assert shown["role"] == "user"
    assert shown["content"] == [text("What the call toolu_1 gave back as images:"), IMAGE_PART]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (IMAGE, IMAGE_PART),
        (
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        ),
        (
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "x"},
            },
            text('<file name="document">\nx\n</file>'),
        ),
        (
            {
                "type": "document",
                "title": 'a "b"\nc',
                "context": "Of 1910.",
                "citations": {"enabled": True},
                "source": {"type": "content", "content": [text("x"), text("y")]},
            },
            text('<file name="a b c">\nOf 1910.\n\nx\n\ny\n</file>'),
        ),
        (
            {"type": "search_result", "title": "t", "source": "s", "content": [text("x")]},
            text('<file name="t (s)">\nx\n</file>'),
        ),
    ],
)
def test_blocks_become_parts(block, part):
    (message,) = translated([{"role": "user", "content": [text("see"), block]}])
    assert message["content"] == [text("see"), part]


def test_thoughts_of_earlier_answers_are_left_out():
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    redacted = {"type": "redacted_thinking", "data": "x"}
    said = [
        *ASKED,
        {"role": "assistant", "content": [thought, redacted, text("so")]},
        *ASKED,
        {"role": "assistant", "content": [thought]},
        *ASKED,
    ]
    assert [each["content"] for each in translated(said)] == ["q", "so", "q", "q"]


def test_tools_that_anthropic_ran_in_earlier_answers_are_left_out():
    searched = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
    ]
    said = [*ASKED, {"role": "assistant", "content": [*searched, text("so")]}, *ASKED]
    assert [each["content"] for each in translated(said)] == ["q", "so", "q"]


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"temperature": 0.5}, "temperature", 0.5),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"top_k": 3}, "top_k", 3),
        ({"top_k": 0}, "top_k", None),
        ({"stop_sequences": ["END"]}, "stop", ["END"]),
        ({"stop_sequences": []}, "stop", None),
        ({"output_config": {"effort": "max"}}, "reasoning_effort", "max"),
        ({"output_config": {"effort": "high"}}, "reasoning_effort", None),
        ({"tools": [TOOL], "tool_choice": {"type": "auto"}}, "tool_choice", "auto"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, "tool_choice", "required"),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, "tool_choice", "none"),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            "parallel_tool_calls",
            False,
        ),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": False}},
            "parallel_tool_calls",
            None,
        ),
        ({"tools": []}, "tools", None),
        ({"tools": [SEARCH]}, "tools", None),
    ],
)
def test_parameters_are_translated(body, field, value):
    assert getattr(to_chat_request(parse(**body)), field) == value


def test_tools_are_translated_and_anthropics_own_are_left_out_by_name():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [
        {"name": "a", "description": "Tells.", "input_schema": schema, **CACHED},
        SEARCH,
        {"type": "custom", "name": "b", "input_schema": schema, "strict": True},
        {"type": "mcp_toolset", "mcp_server_name": "x"},
    ]
    asked = parse(tools=tools, tool_choice={"type": "tool", "name": "b"})
    assert [each.model_dump(exclude_unset=True)["function"] for each in to_chat_tools(asked)] == [
        {"name": "a", "parameters": schema, "description": "Tells."},
        {"name": "b", "parameters": schema},
    ]
    assert to_chat_request(asked).tool_choice.function.name == "b"
    named = [*asked.ineffective_parameters()]
    assert named == ["tools.web_search_20260209", "tools.mcp_toolset"]


CLOSED = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "is_closed"),
    [
        (CLOSED, True),
        ({"type": "array", "items": CLOSED}, True),
        (CLOSED | {"required": []}, False),
        (CLOSED | {"additionalProperties": True}, False),
        (CLOSED | {"properties": {"name": {"type": "object"}}}, False),
        (CLOSED | {"$defs": {"a": {"properties": {}}}}, False),
        (CLOSED | {"required": "name"}, False),
        ({"type": "object"}, False),
        ({"type": "string"}, True),
    ],
)
def test_schema_that_is_closed_is_held_to_strictly(schema, is_closed):
    assert is_closed_schema(schema) is is_closed
    form = {"type": "json_schema", "schema": schema}
    for body in ({"output_config": {"format": form}}, {"output_format": form}):
        given = to_chat_request(parse(**body)).response_format.json_schema
        assert (given.schema_, bool(given.strict)) == (schema, is_closed)


def test_parameters_without_effect_are_named():
    harmless = {"metadata": {}, "service_tier": "auto", "cache_control": {"type": "ephemeral"}}
    harmless |= {"thinking": {"type": "disabled"}, "container": None}
    assert [*parse(**harmless).ineffective_parameters()] == []
    told = {"metadata": {"user_id": "u"}, "container": "c", "context_management": {"edits": []}}
    told |= {"thinking": {"type": "adaptive"}}
    assert [*parse(**told).ineffective_parameters()] == [
        "metadata",
        "container",
        "context_management",
        "thinking",
    ]


def test_count_ignores_a_compaction():
    whole = {"model": "mine", "messages": ASKED, "compaction": {"type": "summarize"}}
    assert parse_conversation(ConversationRequest, whole, 5).model == "mine"


def test_count_needs_no_limit_of_tokens():
    body = {"model": "mine", "messages": ASKED}
    assert parse_conversation(ConversationRequest, body, 5).messages


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"max_tokens": None}, "max_tokens: expected an integer, got null"),
        ({"max_tokens": 0}, "max_tokens: expected a number greater than or equal to 1, got 0"),
        ({"model": 5}, "model: expected a string, got 5"),
        ({"messages": []}, "messages: empty; expected at least one"),
        ({"messages": "q"}, "messages: expected a list of messages"),
        ({"messages": ["q"]}, 'messages[0]: expected an object, got "q"'),
        ({"messages": ASKED * 6}, "messages: got 6; expected at most 5"),
        ({"messages": [{"role": "tool", "content": "q"}]}, "messages[0].role: expected 'user'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content: required, but missing"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content: expected a string"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content: empty"),
        (
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            "messages[0].content[0]: expected 'text', 'image', 'document'",
        ),
        (
            {"messages": [{"role": "user", "content": [call()]}]},
            "messages[0].content: expected of the role 'user' blocks of: document, image",
        ),
        (
            {"messages": [{"role": "assistant", "content": [IMAGE]}, *ASKED]},
            "messages[0].content: expected of the role 'assistant' blocks of: bash_code",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "messages[0].content[0].source: required, but missing",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": PIXEL | {"media_type": "a/b;c"}}],
                    }
                ]
            },
            "messages[0].content[0].source.media_type: ",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "document", "source": PIXEL}]},
                ]
            },
            "messages[0].content[0].source: expected 'text', 'content', got 'base64'",
        ),
        (
            {"messages": [{"role": "user", "content": [result("x")]}]},
            "messages[0].content[0].tool_use_id: no call 'toolu_1' in the messages before it",
        ),
        (
            {"messages": [{"role": "assistant", "content": []}]},
            "messages: they have no content",
        ),
        (
            {"messages": [*ASKED, {"role": "assistant", "content": [call()]}]},
            "messages: the last is the assistant's, and calls tools",
        ),
        ({"system": 5}, "system: expected a string, got 5"),
        ({"system": [IMAGE]}, "system[0].type: expected 'text'"),
        ({"tools": "f"}, "tools: expected a list"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema: required, but missing"),
        ({"tools": [{"type": []}]}, "tools[0].type: expected a string"),
        ({"tools": [TOOL] * 129}, "tools: "),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name: expected the name of the tool"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: requires `tools`, which is missing"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}},
            "tool_choice: no tool 'g' in `tools`; expected one of: weather",
        ),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type: expected 'auto', 'any', 'tool'"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort: expected 'low'"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type: expected"),
        ({"temperature": 1.5}, "temperature: expected a number less than or equal to 1, got 1.5"),
        ({"top_p": 0}, "top_p: expected a number greater than 0"),
        ({"top_k": -1}, "top_k: expected a number greater than or equal to 0"),
        ({"stop_sequences": ["x"] * 65}, "stop_sequences: "),
        ({"stop_sequences": [""]}, "stop_sequences[0]: "),
        ({"stream": "yes"}, 'stream: expected a boolean, got "yes"'),
        ({"thinking": "yes"}, "thinking: expected an object"),
        ({"thread": {"type": "create"}}, "thread: nothing is stored; expected the whole"),
        ({"compaction": {"type": "summarize"}}, "compaction: not supported by this server"),
    ],
)
def test_mistake_names_its_place(body, says):
    with pytest.raises(ApiError) as caught:
        to_chat_request(parse(**body))
    assert str(caught.value).startswith(says)
    assert caught.value.status == 400


@pytest.mark.parametrize("field", ["model", "messages", "max_tokens"])
def test_missing_field_is_named(field):
    body = {"model": "mine", "max_tokens": 9, "messages": ASKED}
    del body[field]
    with pytest.raises(ApiError, match=f"^{field}: required, but missing$"):
        parse_conversation(MessageRequest, body, 5)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"min_p": 0.1}, "'min_p' is not a parameter of this server"),
        (
            {"tools": [SEARCH]},
            "tools: 'web_search_20260209' is not a tool that this server supports",
        ),
    ],
)
def test_strict_server_refuses_what_has_no_effect(body, says):
    with pytest.raises(ApiError, match=says):
        parse(strict=True, **body)
    assert parse(strict=True, metadata={"user_id": "u"}, thinking={"type": "adaptive"})


def test_check_of_a_request_stops_at_the_first_mistake():
    blocks = [{"type": "text"}] * 40_000
    with pytest.raises(ApiError, match=r"^messages\[0\].content\[0\].text: required"):
        parse(messages=[{"role": "user", "content": blocks}] * 5)
