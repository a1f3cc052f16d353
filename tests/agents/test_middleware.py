"""Layers as middleware of an agent: asked once a turn, and read in the request alone."""

import inspect
import re
import sys
from pathlib import Path

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel
from scripted_mixtures import AgentMixture, calling, tool_call

from moa_graph import AGGREGATE_AND_SYNTHESIZE, Agent, MoAConfig, MoAMiddleware
from moa_graph.graph.options import MiddlewareOptions

THREAD = {"configurable": {"thread_id": "1"}}


@tool
def look() -> str:
    """Look."""
    return "seen " * 50


def five_steps():
    return [*(calling() for _ in range(5)), "the answer"]


def ask(question="q"):
    return {"messages": [HumanMessage(question)]}


def texts(messages):
    return [each.text for each in messages]


@pytest.mark.parametrize(
    ("consult", "panels"),
    [
        ({}, 1),
        ({"consult": "every_call"}, 6),
        ({"consult": 1}, 6),
        ({"consult": 2}, 3),
        ({"consult": 5}, 2),
    ],
)
def test_tool_loop_of_five_steps_asks_as_many_panels_as_consult_says(consult, panels, invoke):
    panel = AgentMixture(*five_steps(), layers=2, width=3, **consult)
    result = invoke(panel.agent(look), ask())
    assert result["messages"][-1].text == "the answer"
    assert (panel.proposer_calls, panel.written) == (6 * panels, 6)


def test_each_message_of_the_user_asks_anew(invoke):
    panel = AgentMixture(*five_steps(), *five_steps())
    agent = panel.agent(look, checkpointer=InMemorySaver())
    for turn in (1, 2):
        invoke(agent, ask("the same"), THREAD)
        assert panel.asked == turn


def test_each_message_of_the_user_asks_anew_without_a_checkpointer(invoke):
    panel = AgentMixture("one", "two")
    agent = panel.agent()
    for turn in (1, 2):
        invoke(agent, ask("the same"))
        assert panel.asked == turn


def test_proposals_stand_behind_the_users_message_in_each_request(invoke):
    panel = AgentMixture(*five_steps(), answers_of={"p11": ["first"], "p12": ["second"]})
    history = [HumanMessage("before"), AIMessage("answered")]
    invoke(panel.agent(look), {"messages": [*history, HumanMessage("q")]})
    openings = [messages[3].text for messages in panel.writer.asked]
    assert len({*openings}) == 1  # what a provider's cache keeps
    assert openings[0].startswith("q\n\nResponses from models:\n<response-")
    assert "first" in openings[0]
    assert "second" in openings[0]
    for messages in panel.writer.asked:
        assert AGGREGATE_AND_SYNTHESIZE in messages[0].text
        assert texts(messages[1:3]) == ["before", "answered"]


def test_proposals_stand_in_the_system_message_where_that_is_asked_for(invoke):
    panel = AgentMixture("the answer", references_in="system", prompt="Judge them.")
    invoke(panel.agent(system_prompt="Be kind."), ask())
    [[system, question]] = panel.writer.asked
    assert system.text.startswith("Be kind.\n\nJudge them.\n\nResponses from models:\n1. a prop")
    assert question.text == "q"


def test_model_with_tools_is_told_that_proposers_had_none(invoke):
    panel = AgentMixture(calling(), "the answer")
    invoke(panel.agent(look, system_prompt="Be kind."), ask())
    assert panel.writer.asked[0][0].text.startswith("Be kind.\n\nYou can call tools; the models")


def test_conversation_never_has_the_proposals(invoke):
    panel = AgentMixture(*five_steps())
    agent = panel.agent(look, checkpointer=InMemorySaver())
    result = invoke(agent, ask(), THREAD)
    stored = agent.get_state(THREAD).values["messages"]
    assert texts(result["messages"]) == texts(stored)
    assert stored[0].content == "q"
    assert not any("proposal" in each.text for each in stored)
    assert [each.type for each in stored] == ["human", *["ai", "tool"] * 5, "ai"]


def test_input_and_output_of_the_agent_stay_as_they_are(invoke):
    agent, plain = AgentMixture("the answer").agent(), create_agent(FakeModel())
    assert invoke(agent, ask()).keys() == {"messages"}
    for schema in ("get_input_jsonschema", "get_output_jsonschema"):
        assert getattr(agent, schema)() == getattr(plain, schema)()


def test_layers_read_what_the_layers_before_proposed(invoke):
    panel = AgentMixture("the answer", layers=2, answers_of={"p11": ["first"], "p21": ["final"]})
    invoke(panel.agent(), ask())
    assert "first" in str(panel.proposers["p21"].asked[0])
    assert "final" in str(panel.writer.asked[0])
    assert "first" not in str(panel.writer.asked[0])


def test_proposers_are_told_of_the_agent_and_its_tools_in_words(invoke):
    panel = AgentMixture(
        calling(), "the answer", consult="every_call", tools=[look], system_prompt="You help."
    )
    invoke(panel.agent(look), ask())
    first, second = panel.proposers["p11"].asked
    assert first[0].text.startswith("You help.\n\nThe tools below can be called")
    assert "- look: Look." in first[0].text
    assert "I call look with {}." in str(second)
    assert "seen seen" in str(second)
    assert not any(isinstance(each, ToolMessage) for each in second)


# What an answer says.


def test_first_and_last_answer_say_what_the_layers_did_and_took(invoke):
    proposal = AIMessage("a proposal", usage_metadata=tokens(7))
    panel = AgentMixture(*five_steps(), answers_of={"p11": [proposal], "p12": [proposal]})
    for answer in panel.writer.answers[:-1]:
        answer.usage_metadata = tokens(1)
    answers = invoke(panel.agent(look), ask())["messages"][1::2]
    first, *between, last = [each.response_metadata.get("moa") for each in answers]
    assert between == [None] * 4
    assert (first["reused_proposals"], last["reused_proposals"]) == (False, True)
    assert first["usage"]["total_tokens"] == 2 * 14 + 2
    assert (last["usage"]["total_tokens"], last["saved_usage"]["total_tokens"]) == (0, 28)
    assert [each.usage_metadata["total_tokens"] for each in answers[:-1]] == [2] * 5
    for summary in (first, last):
        assert (summary["answered"], summary["asked"], summary["aggregator"]) == (2, 2, "writer")


def test_structured_answer_is_the_last(invoke):
    class Report(BaseModel):
        """A report."""

        text: str

    panel = AgentMixture(calling(), calling(tool_call("Report", text="so")))
    messages = invoke(panel.agent(look, response_format=Report), ask())["messages"]
    assert messages[-2].response_metadata["moa"]["reused_proposals"] is True


def tokens(count):
    return {"input_tokens": count, "output_tokens": count, "total_tokens": 2 * count}


def test_answer_names_the_proposers_that_failed(invoke):
    panel = AgentMixture("the answer", answers_of={"p11": [ValueError("broken")]})
    [_, answer] = invoke(panel.agent(), ask())["messages"]
    summary = answer.response_metadata["moa"]
    assert summary["failed"] == ["layer_1_p11"]
    assert summary["errors"] == {"layer_1_p11": "ValueError: broken"}
    assert summary["usage_unknown"] == ["layer_1_p12", "aggregator"]


def test_answer_says_how_far_the_proposals_agree(invoke):
    panel = AgentMixture(calling(), "the answer", layers=2)
    answers = invoke(panel.agent(look), ask())["messages"][1::2]
    first, reusing = [each.response_metadata["moa"] for each in answers]
    assert first["agreement"]["figure"] == 1
    assert "agreement" not in reusing  # it stands in the turn's first


def test_order_that_is_drawn_is_the_same_in_the_whole_turn_and_told(invoke):
    names = [f"p1{n}" for n in range(1, 6)]
    answers_of = {name: [f"proposal of {name}"] for name in names}
    panel = AgentMixture(calling(), "the answer", width=5, order="shuffled", answers_of=answers_of)
    answers = invoke(panel.agent(look), ask())["messages"][1::2]
    [told, again] = [each.response_metadata["moa"]["references_read"] for each in answers]
    assert told == again != sorted(told)
    for messages in panel.writer.asked:
        read = re.findall(r"proposal of (p1\d)", messages[1].text)
        assert [f"layer_1_{name}" for name in read] == told


def test_summary_of_a_mixture_that_is_the_model_stays(invoke):
    answer = AIMessage("the answer", response_metadata={"moa": "its own"})
    [_, answer] = invoke(AgentMixture(answer).agent(), ask())["messages"]
    assert answer.response_metadata["moa"] == "its own"
    assert answer.response_metadata["moa_panel"]["answered"] == 2


def test_state_has_the_proposals_of_the_turn(invoke):
    panel = AgentMixture("one", "two", answers_of={"p11": ["first", "second"]})
    agent = panel.agent(checkpointer=InMemorySaver())
    for expected in ("first", "second"):
        invoke(agent, ask(), THREAD)
        kept = agent.get_state(THREAD).values["moa_panels"]["moa"]["proposals"]
        assert kept["layer_1_p11"]["content"] == expected


# Seen from outside.


def test_layers_are_drawn_inside_the_agent():
    agent = AgentMixture("the answer", layers=2, name="panel").agent(look)
    drawing = agent.get_graph(xray=True)
    assert "panel.before_model:layer_1_p11" in drawing.nodes
    assert "panel.before_model:layer_2_aggregator" in drawing.nodes
    assert not any("aggregator" in n and "layer" not in n for n in drawing.nodes)
    assert [name for name, _ in agent.get_subgraphs()] == ["panel.before_model"]


def test_layers_are_streamed_as_a_subgraph(stream):
    agent = AgentMixture("the answer", layers=2).agent()
    parts = stream(agent, ask(), stream_mode="updates", subgraphs=True)
    inside = [node for namespace, update in parts if namespace for node in update]
    assert sorted(inside) == [
        *("layer_1_aggregator", "layer_1_p11", "layer_1_p12"),
        *("layer_2_aggregator", "layer_2_p21", "layer_2_p22"),
    ]
    assert {namespace[0].partition(":")[0] for namespace, _ in parts if namespace} == {
        "moa.before_model"
    }


@pytest.mark.parametrize("subgraphs", [False, True])
def test_stream_of_messages_has_the_tokens_of_the_model_alone(stream, subgraphs):
    agent = AgentMixture(*five_steps(), layers=2, system_prompt="You help.").agent(look)
    parts = stream(agent, ask(), stream_mode="messages", subgraphs=subgraphs)
    messages = [part[1][0] if subgraphs else part[0] for part in parts]
    chunks = [each.text for each in messages if each.type == "AIMessageChunk"]
    assert [text for text in chunks if text] == ["the ", "answer"]
    assert {each.type for each in messages} == {"AIMessageChunk", "tool"}


def test_tokens_of_proposers_are_streamed_where_that_is_asked_for(stream):
    agent = AgentMixture("the answer", stream_proposals=True).agent()
    parts = stream(agent, ask(), stream_mode="messages", subgraphs=True)
    assert "proposal" in "".join(message.text for _, (message, _) in parts)


# What a client does.


def test_results_of_tools_that_the_client_ran_open_no_turn(invoke):
    call = tool_call()
    panel = AgentMixture(calling(call), "the answer")
    agent = panel.agent(look, checkpointer=InMemorySaver(), interrupt_before=["tools"])
    invoke(agent, ask(), THREAD)
    result = ToolMessage("seen", tool_call_id=call["id"], name="look")
    invoke(agent, {"messages": [result]}, THREAD)
    assert (panel.asked, panel.written) == (1, 2)
    assert "a proposal" in panel.writer.asked[1][1].text


def test_reminders_of_other_middleware_behind_results_open_no_turn(invoke):
    class Reminder(AgentMiddleware):
        def before_model(self, state, runtime):
            is_result = state["messages"][-1].type == "tool"
            return {"messages": [HumanMessage("Go on.")]} if is_result else None

    panel = AgentMixture(*five_steps())
    invoke(panel.agent(look, before=[Reminder()]), ask())
    assert (panel.asked, panel.written) == (1, 6)
    for messages in panel.writer.asked:
        assert messages[1].text.startswith("q\n\nResponses")
        assert "a proposal" not in str(messages[2:])


def test_message_behind_a_structured_answer_opens_a_turn(invoke):
    class Report(BaseModel):
        """A report."""

        text: str

    answers = [calling(tool_call("Report", text="so")) for _ in range(2)]
    panel = AgentMixture(*answers)
    agent = panel.agent(response_format=Report, checkpointer=InMemorySaver())
    for turn in (1, 2):
        assert invoke(agent, ask(), THREAD)["structured_response"].text == "so"
        assert panel.asked == turn
    assert panel.writer.asked[1][-1].text.startswith("q\n\nResponses")


# Options.


def test_arguments_are_the_fields_of_the_options():
    _, *parameters = inspect.signature(MoAMiddleware.__init__).parameters
    assert parameters == list(MiddlewareOptions.model_fields)


def test_page_lists_all_options_with_their_defaults():
    page = (Path(__file__).parents[2] / "docs" / "middleware.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE)
    rest = re.search(r"^(.*) are those of \[`create_moa`", page, re.MULTILINE)[1]
    fields = MiddlewareOptions.model_fields
    assert sorted([*(name for name, _ in rows), *re.findall(r"`(\w+)`", rest)]) == sorted(fields)
    for name, default in rows[1:]:
        assert default == f"`{fields[name].default!r}`"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"consult": "always"}, "`consult`='always'"),
        ({"consult": 0}, "`consult`=0"),
        ({"on_failure": "stop"}, "`on_failure`='stop': expected 'error' or 'continue'"),
        ({"name": "a:b"}, "`name`: expected a name without ':'"),
        ({"quorum": 3}, "`quorum`=3"),
        ({"references_in": "tool"}, "`references_in`='tool'"),
        ({"max_history_tokens": 0}, "`max_history_tokens`=0"),
    ],
)
def test_mistaken_option_is_named(options, told):
    with pytest.raises(ValueError, match=told):
        MoAMiddleware([["offline:lead"]], **options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"qourum": 1}, r"'qourum' \(did you mean 'quorum'\?\)"),
        ({"temperature": 1}, "an option of each agent"),
        ({"aggregator": "offline:lead"}, "unexpected keyword argument 'aggregator'"),
    ],
)
def test_unknown_option_is_a_type_error(options, told):
    with pytest.raises(TypeError, match=told):
        MoAMiddleware([["offline:lead"]], **options)


def test_layers_are_required():
    with pytest.raises(
        TypeError, match=r"MoAMiddleware\(\): missing a required argument: 'layers'"
    ):
        MoAMiddleware()


def test_missing_key_is_told_at_once_unless_the_models_are_lazy():
    with pytest.raises(ValueError, match="OPENAI_API_KEY"):
        MoAMiddleware([["openai:gpt-6.1-sol"]])
    MoAMiddleware([["openai:gpt-6.1-sol"]], lazy=True)


def test_layers_may_have_agents_functions_and_samples(invoke):
    function = RunnableLambda(lambda _: AIMessage("a function's"))
    layers = [{"f": function, "two": Agent(model="offline:lead", samples=2)}]
    panel = AgentMixture("the answer")
    panel.middleware = MoAMiddleware(layers)
    [_, answer] = invoke(panel.agent(), ask("It is under the tree."))["messages"]
    assert answer.response_metadata["moa"]["proposers"] == [
        *("layer_1_f", "layer_1_two", "layer_1_two_2")
    ]
    assert "a function's" in panel.writer.asked[0][-1].text


def test_configuration_makes_middleware_of_its_layers(invoke):
    config = MoAConfig.load("offline").model_copy(update={"quorum": 2})
    panel = AgentMixture("the answer")
    panel.middleware = config.middleware(name="offline")
    [_, answer] = invoke(panel.agent(), ask("Where is it? It is under the tree."))["messages"]
    assert answer.response_metadata["offline"]["asked"] == sum(config.layer_widths())
    assert "Responses from models:" in panel.writer.asked[0][-1].text  # its own `references_in`


def test_without_langchain_the_constructor_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain.agents.middleware.types", None)
    for name in [each for each in sys.modules if each.startswith("moa_graph.agents")]:
        monkeypatch.delitem(sys.modules, name)
    from moa_graph.agents.optional import MoAMiddleware as Missing

    with pytest.raises(ImportError, match=r"pip install 'moa_graph\[agents\]'"):
        Missing([["offline:lead"]])
