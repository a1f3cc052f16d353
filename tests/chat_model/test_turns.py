"""Which turn a call belongs to, by its messages: what clients and middleware may change of them."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from moa_graph.chat_model.turns import is_unique_id, read_user_turn

CALL = {"name": "look", "args": {"at": 1}, "id": "call_0"}
CACHED = {"cache_control": {"type": "ephemeral"}}


def block(text, **more):
    return {"type": "text", "text": text, **more}


@pytest.mark.parametrize(
    ("messages", "same"),
    [
        ([HumanMessage("q")], [HumanMessage("q", id="1", name=None)]),
        ([HumanMessage("q")], [SystemMessage("now"), HumanMessage("q"), SystemMessage("then")]),
        ([HumanMessage("q")], [HumanMessage([block("q", **CACHED)])]),
        (
            [HumanMessage([block("a"), {"type": "image", "url": "u"}])],
            [HumanMessage([block("a"), {"type": "image", "url": "u", **CACHED}])],
        ),
        (
            [HumanMessage("a"), AIMessage("b", tool_calls=[CALL]), HumanMessage("q")],
            [
                HumanMessage("a"),
                AIMessage([block("b")], tool_calls=[CALL | {"id": "other"}]),
                HumanMessage("q"),
            ],
        ),
        ([HumanMessage("q")], [HumanMessage("q"), AIMessage("", tool_calls=[CALL])]),
    ],
)
def test_conversation_is_the_same_however_it_is_written_down(messages, same):
    assert read_user_turn(messages).conversation == read_user_turn(same).conversation


@pytest.mark.parametrize(
    "other",
    [
        [HumanMessage("Q")],
        [HumanMessage([block("q"), {"type": "image", "url": "u"}])],
        [AIMessage("q")],
        [HumanMessage("q"), HumanMessage("q")],
        [HumanMessage("q"), AIMessage("a"), HumanMessage("q")],
        [],
    ],
)
def test_conversation_is_another_where_something_else_was_said(other):
    assert read_user_turn([HumanMessage("q")]).conversation != read_user_turn(other).conversation


def result(tool_call_id="call_0", name="look"):
    return ToolMessage("seen", tool_call_id=tool_call_id, name=name)


@pytest.mark.parametrize(
    ("after", "ids"),
    [
        ([], []),
        ([AIMessage("a")], []),
        ([AIMessage("", tool_calls=[CALL]), result()], ["call_0"]),
        ([result("1"), result("2"), HumanMessage("file"), result("3")], ["3", "2", "1"]),
        ([result("1"), SystemMessage("s"), HumanMessage("file"), HumanMessage("file")], ["1"]),
        ([result("1"), AIMessage("a"), HumanMessage("next")], []),
        ([result("1"), AIMessage("a"), HumanMessage("next"), result("2")], ["2"]),
        ([result("1", "answer"), HumanMessage("next")], []),
    ],
)
def test_turn_has_the_results_of_tools_since_the_user_s_message(after, ids):
    turn = read_user_turn([HumanMessage("q"), *after], {"answer"})
    assert turn.tool_call_ids == ids
    assert turn.is_in_tool_loop is bool(ids)


def test_conversation_without_a_user_begins_with_its_first_message():
    first = read_user_turn([AIMessage("a", tool_calls=[CALL]), result()])
    second = read_user_turn([AIMessage("b", tool_calls=[CALL]), result()])
    assert first.tool_call_ids == second.tool_call_ids == ["call_0"]
    assert first.conversation != second.conversation


@pytest.mark.parametrize(
    ("tool_call_id", "is_unique"),
    [
        ("call_Ab3dEf6hIj9kLm2nOp5qRs8t", True),  # OpenAI
        ("toolu_01A09q90qw90lq917835lq9Z", True),  # Anthropic
        ("tooluse_kZJMlvQmRJ6eAyJE5GIl7Q", True),  # Bedrock
        ("chatcmpl-tool-4c2f0b0e7d1a4f6c9e8b7a6d5c4b3a29", True),  # vLLM
        ("0f8fad5b-d9cb-469f-a165-70867728950e", True),  # Gemini, Ollama
        ("call_0", False),
        ("1", False),
        ("", False),
        ("D681PevKs", False),  # Mistral
        ("functions.get_weather_in_any_city:0", False),  # Kimi
        ("getCurrentWeatherForCity", False),
    ],
)
def test_ids_are_unique_where_they_are_random(tool_call_id, is_unique):
    assert is_unique_id(tool_call_id) is is_unique
