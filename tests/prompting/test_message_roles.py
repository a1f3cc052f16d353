"""Conversations in the roles that a model takes, and refusals that say which these are."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from moa_graph.prompting.message_roles import CONVERSATION_BEGINS, restrict_roles
from moa_graph.prompting.refusals import read_message_roles

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def said(messages):
    return [(message.type, message.text) for message in messages]


def test_any_roles_leave_a_conversation_as_it_is():
    messages = [HumanMessage("a"), SystemMessage("s"), HumanMessage("b")]
    assert restrict_roles(messages, None) is messages


def test_alternating_roles_have_one_system_message_in_front_and_turns():
    messages = [
        SystemMessage("s1"),
        HumanMessage("a"),
        HumanMessage("b"),
        AIMessage("c"),
        AIMessage("d"),
        SystemMessage("s2"),
        HumanMessage("e"),
    ]
    before = [message.model_copy() for message in messages]
    turns = [("human", "a\n\nb"), ("ai", "c\n\nd"), ("human", "e")]
    assert said(restrict_roles(messages, "alternating")) == [("system", "s1\n\ns2"), *turns]
    turns[0] = ("human", "s1\n\ns2\n\na\n\nb")
    assert said(restrict_roles(messages, "no_system")) == turns
    assert messages == before


def test_conversation_without_system_messages_gets_none():
    for roles in ("alternating", "no_system"):
        assert said(restrict_roles([HumanMessage("a")], roles)) == [("human", "a")]


def test_users_message_comes_first():
    turns = restrict_roles([AIMessage("Hello."), HumanMessage("a")], "alternating")
    assert said(turns) == [("human", CONVERSATION_BEGINS), ("ai", "Hello."), ("human", "a")]


def test_images_and_calls_of_tools_stay():
    call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    messages = [
        SystemMessage("s"),
        HumanMessage([IMAGE]),
        HumanMessage("b"),
        call,
        *[ToolMessage(text, tool_call_id=text) for text in "12"],
    ]
    asked, called, *results = restrict_roles(messages, "no_system")
    assert [block for block in asked.content if block == IMAGE] == [IMAGE]
    assert asked.text.startswith("s")
    assert asked.text.endswith("b")
    assert called.tool_calls == call.tool_calls
    assert results == messages[-2:]


@pytest.mark.parametrize(
    "refusal",
    [
        "System role not supported",
        "Error rendering prompt with jinja template: System role not supported",
        "Developer instruction is not enabled for models/gemma-3-27b-it",
        "System instruction is not supported for this model",
        "This model doesn't support system messages. Try again without a system message",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "SystemMessages are not yet supported!",
        "Only user and assistant roles are supported!",
    ],
)
def test_refusal_of_a_system_role_is_known(refusal):
    assert read_message_roles(ValueError(refusal)) == "no_system"


@pytest.mark.parametrize(
    "refusal",
    [
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "After the optional system message, conversation roles must alternate user/assistant/...",
        "roles must alternate between user and assistant, but found multiple 'user' in a row",
        "A conversation must alternate between user and assistant roles.",
        "Please ensure that multiturn requests alternate between user and model.",
        "deepseek-reasoner does not support successive user or assistant messages",
        "After the (optional) system message(s), user and assistant roles should be alternating.",
        "Expected last role User or Tool (or Assistant with prefix True) but got system",
        "Unexpected role 'system' after role 'user'",
        "System message must be at the beginning.",
        "Received multiple non-consecutive system messages.",
        "A conversation must start with a user message.",
        'messages: first message must use the "user" role',
    ],
)
def test_refusal_of_an_order_of_roles_is_known(refusal):
    assert read_message_roles(ValueError(refusal)) == "alternating"


class StatusError(Exception):
    """As the clients of providers raise them."""

    def __init__(self, text, status):
        super().__init__(text)
        self.status_code = status


def test_other_failures_are_none_of_roles():
    for text in ("Connection reset by peer", "overloaded", "The system is not available", ""):
        assert read_message_roles(ValueError(text)) is None
    for status in (401, 403, 429, 503):
        assert read_message_roles(StatusError("System role not supported", status)) is None
    for status in (400, 422, 500):
        assert read_message_roles(StatusError("System role not supported", status)) == "no_system"
