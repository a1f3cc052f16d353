"""A mixture as a chat model: what it counts, and what is known of it."""

import sys

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, trim_messages
from langchain_openai import ChatOpenAI

from moa_graph import Agent, ChatMoA

CALL = {"name": "weather", "args": {"city": "Bergen" * 20}, "id": "1"}


def model(most=None, **more):
    return FakeModel(profile={"max_input_tokens": most, **more} if most else None)


def words(text):
    return list(range(len(text.split())))


def mixture(aggregator="offline:consensus", **options):
    return ChatMoA([["offline:lead", "offline:bm25"]], aggregator, **options)


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-2-of-mine"])
def test_tokens_are_estimated_without_a_network(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    moa = mixture(ChatOpenAI(model=name, api_key="none"))
    assert moa.get_num_tokens("four short English words") == 5
    assert moa.get_num_tokens_from_messages([HumanMessage("x" * 400)] * 2) == 152


def test_calls_results_and_tools_count_as_proposers_read_them():
    moa = mixture()
    question, call = HumanMessage("Rain?"), AIMessage("", tool_calls=[CALL])
    result = ToolMessage("It rains. " * 50, tool_call_id="1")
    sizes = [
        moa.get_num_tokens_from_messages([question, call, result][:many]) for many in (1, 2, 3)
    ]
    assert sizes[1] - sizes[0] > 30
    assert sizes[2] - sizes[1] > 125
    tool = {"name": "weather", "description": "Tell the weather. " * 50, "parameters": {}}
    assert moa.get_num_tokens_from_messages([question], [tool]) > sizes[0] + 200


def test_conversation_is_trimmed_by_what_a_mixture_counts():
    messages = [HumanMessage("x" * 400), AIMessage("y" * 400), HumanMessage("z" * 400)]
    kept = trim_messages(messages, max_tokens=160, token_counter=mixture(), strategy="last")
    assert [message.content[0] for message in kept] == ["y", "z"]


@pytest.mark.parametrize(
    "moa",
    [
        mixture(FakeModel(custom_get_token_ids=words)),
        mixture(FakeModel(custom_get_token_ids=words).bind(stop=["x"]), lazy=True),
        mixture(custom_get_token_ids=words),
    ],
)
def test_tokenizer_that_was_given_counts(moa):
    assert moa.get_token_ids("a few words") == [0, 1, 2]
    assert moa.get_num_tokens("a few words") == 3
    assert moa.get_num_tokens_from_messages([HumanMessage("a few words")]) == 7


def test_tokens_themselves_are_refused_without_a_tokenizer():
    with pytest.raises(NotImplementedError, match="expected `custom_get_token_ids`"):
        mixture().get_token_ids("text")


def test_profile_is_the_smallest_of_those_who_may_write():
    aggregator = Agent(model=model(9_000, max_output_tokens=500))
    fallbacks = [model(), Agent(model=model(7_000), max_input_tokens=5_000), model(8_000)]
    moa = mixture(aggregator, fallbacks=fallbacks)
    assert moa.profile == {"max_input_tokens": 5_000, "max_output_tokens": 500}
    assert mixture(moa).profile == moa.profile
    assert mixture().profile is None
    given = mixture(aggregator, profile={"max_input_tokens": 3})
    assert given.profile == {"max_input_tokens": 3}


def test_profile_names_a_capability_where_all_that_need_it_have_it():
    able = {"image_inputs": True, "tool_calling": True, "structured_output": True}
    moa = ChatMoA([[model(9, **able)]], model(9, **able), fallbacks=[model(9, **able)])
    assert moa.profile == {"max_input_tokens": 9, "image_inputs": True, "tool_calling": True}
    unable = ChatMoA([[model(9, image_inputs=False)]], model(9, **able))
    assert unable.profile == {"max_input_tokens": 9, "image_inputs": False, "tool_calling": True}
    assert (
        "tool_calling" not in ChatMoA([[model()]], model(9, **able), aggregation="select").profile
    )


def test_profile_builds_no_model_of_a_lazy_mixture(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    agent = Agent(model="openai:gpt-4o", max_input_tokens=1_000)
    assert mixture(agent, lazy=True).profile == {"max_input_tokens": 1_000}
    assert mixture("openai:gpt-4o", lazy=True).profile is None
    built = Agent(model="openai:gpt-4o", base_url="http://127.0.0.1:9/v1")
    assert mixture(built).profile["max_input_tokens"] == 128_000


def test_summary_is_made_at_a_share_of_the_context():
    moa = mixture(Agent(model="offline:lead", max_input_tokens=1_000))
    count = moa.get_num_tokens_from_messages
    options = {"trigger": ("fraction", 0.5), "keep": ("messages", 1), "token_counter": count}
    agent = create_agent(moa, middleware=[SummarizationMiddleware(model=moa, **options)])
    said = "It is under the tree. " * 60
    few = agent.invoke({"messages": [said, "Where is it?"]})["messages"]
    many = agent.invoke({"messages": [said, said, "Where is it?"]})["messages"]
    assert (len(few), len(many)) == (3, 3)
    assert few[0].text == said
    assert "summary" in many[0].text
