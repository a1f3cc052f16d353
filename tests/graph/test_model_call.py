"""A call that is refused is made again with a prompt that the model takes."""

import threading

import pytest
from langchain_core.messages import SystemMessage

from moa_graph import Agent, AggregatorError, create_moa

NO_SYSTEM = "System role not supported"
ALTERNATE = "Conversation roles must alternate user/assistant/user/assistant/..."
TWO_IN_A_ROW = [("user", "Be brief."), ("user", "Why?")]


def types(messages):
    return [message.type for message in messages]


@pytest.mark.parametrize("references_in", ["system", "user"])
def test_aggregator_that_refuses_a_system_message_is_asked_without(invoke, model, references_in):
    writer = model(answers=[ValueError(NO_SYSTEM), "fine"])
    graph = create_moa([[model()]], writer, references_in=references_in).compile()
    assert invoke(graph, {"messages": "q"})["messages"][-1].text == "fine"
    refused, asked = writer.asked
    assert types(refused) == ["system", "human"]
    [message] = asked
    assert refused[0].text in message.text
    assert refused[1].text in message.text


def test_proposer_that_refuses_two_messages_of_one_role_is_asked_in_turns(invoke, model):
    proposer = model(answers=[ValueError(ALTERNATE), "fine"])
    result = invoke(create_moa([[proposer]], model()).compile(), {"messages": TWO_IN_A_ROW})
    assert result["proposals"]["layer_1_fake"]["content"] == "fine"
    assert [message.text for message in proposer.asked[1]] == ["Be brief.\n\nWhy?"]


def test_refusal_is_remembered_for_the_model(invoke, model):
    writer = model(answers=[ValueError(NO_SYSTEM), "fine"])
    for calls in (2, 3):
        invoke(create_moa([[model()]], writer).compile(), {"messages": "q"})
        assert len(writer.asked) == calls
    other = model()
    invoke(create_moa([[model()]], other).compile(), {"messages": "q"})
    assert types(other.asked[0]) == ["system", "human"]


def test_model_that_refuses_turns_and_then_the_system_message_is_asked_without(invoke, model):
    writer = model(answers=[ValueError(ALTERNATE), ValueError(NO_SYSTEM), "fine"])
    graph = create_moa([[model()]], writer).compile()
    messages = [("user", "a"), ("system", "s"), ("user", "b")]
    assert invoke(graph, {"messages": messages})["messages"][-1].text == "fine"
    assert [types(asked) for asked in writer.asked[1:]] == [["system", "human"], ["human"]]


@pytest.mark.parametrize(("refusal", "calls"), [(NO_SYSTEM, 2), (ALTERNATE, 2), ("no", 1)])
def test_model_that_refuses_everything_fails_with_its_words(invoke, model, refusal, calls):
    writer = model(answers=[ValueError(refusal)])
    with pytest.raises(AggregatorError, match=refusal):
        invoke(create_moa([[model()]], writer).compile(), {"messages": "q"})
    assert len(writer.asked) == calls


def test_roles_of_an_agent_are_kept_from_the_first_call_on(invoke, model):
    for roles, expected in (("no_system", ["human"]), ("alternating", ["system", "human"])):
        writer, proposer = model(), model()
        layer = [Agent(model=proposer, system="Be kind.", message_roles=roles)]
        graph = create_moa([layer], Agent(model=writer, message_roles=roles)).compile()
        invoke(graph, {"messages": [SystemMessage("s"), *TWO_IN_A_ROW]})
        assert types(writer.asked[0]) == types(proposer.asked[0]) == expected


def test_timeout_of_an_agent_holds_for_all_its_calls(invoke, model):
    writer = model(answers=[ValueError(NO_SYSTEM), "fine"])
    slow = model(answers=[ValueError(ALTERNATE), "late"])
    released = threading.Event()
    slow.until = lambda: len(slow.asked) == 1 or released.is_set()
    layer = {"slow": Agent(model=slow, timeout=0.3), "other": model()}
    result = invoke(create_moa([layer], writer).compile(), {"messages": TWO_IN_A_ROW})
    released.set()  # a sync call cannot be cancelled
    assert result["proposals"]["layer_1_slow"]["error"] == "no answer within its timeout of 0.3 s"
    assert len(slow.asked) == 2


@pytest.mark.parametrize("model_name", ["offline:lead", "recorded:answers.jsonl"])
def test_roles_without_effect_are_refused(model_name):
    with pytest.raises(ValueError, match="`message_roles`='no_system' has no effect"):
        Agent(model=model_name, message_roles="no_system")


def test_unknown_roles_are_refused():
    with pytest.raises(ValueError, match="message_roles"):
        Agent(model="openai:m", message_roles="none")
