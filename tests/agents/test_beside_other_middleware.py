"""The layers beside other middleware: what they read, how often they are asked, and warnings."""

import logging

import pytest
from fakes import FakeModel
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    HumanInTheLoopMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
)
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from scripted_mixtures import AgentMixture, Writer, calling, tool_call

from moa_graph import MoAMiddleware

THREAD = {"configurable": {"thread_id": "1"}}
LOG = "moa_graph.agents.order"


@tool
def look() -> str:
    """Look."""
    return "seen"


def ask(question="q"):
    return {"messages": [HumanMessage(question)]}


def conversation(turns):
    """Turns that are answered, and a question."""
    pairs = [(HumanMessage(f"question {n}"), AIMessage(f"answer {n}")) for n in range(turns)]
    return {"messages": [*(message for pair in pairs for message in pair), HumanMessage("q")]}


def read_by_layers(panel):
    return "\n".join(each.text for each in panel.proposers["p11"].asked[0])


def summarization():
    return SummarizationMiddleware(
        FakeModel(answers=["a summary"]), trigger=("messages", 6), keep=("messages", 1)
    )


def test_layers_read_what_middleware_before_them_redacted(invoke, caplog):
    panel = AgentMixture("the answer")
    agent = panel.agent(before=[PIIMiddleware("email")])
    invoke(agent, ask("I am ada@example.com."))
    assert "ada@" not in read_by_layers(panel)
    assert "I am [REDACTED_EMAIL]." in panel.writer.asked[0][-1].text
    assert not caplog.messages


def test_middleware_that_redacts_behind_the_layers_is_warned_of_once(invoke, caplog):
    panel = AgentMixture("the answer")
    agent = panel.agent(after=[PIIMiddleware("email")])
    with caplog.at_level(logging.WARNING, LOG):
        invoke(agent, ask("I am ada@example.com."))
        invoke(agent, ask("I am ada@example.com."))
    assert "ada@" in read_by_layers(panel)
    [told] = caplog.messages
    assert "changed after the layers had read it" in told
    assert "PIIMiddleware" in told
    assert "ada@" not in told


def test_layers_read_the_summary_of_middleware_before_them(invoke, caplog):
    panel = AgentMixture("the answer")
    invoke(panel.agent(before=[summarization()]), conversation(4))
    assert "a summary" in read_by_layers(panel)
    assert "question 0" not in read_by_layers(panel)
    assert not caplog.messages


def test_middleware_that_summarizes_behind_the_layers_is_warned_of(invoke, caplog):
    panel = AgentMixture("the answer")
    invoke(panel.agent(after=[summarization()]), conversation(4))
    assert "question 0" in read_by_layers(panel)
    [told] = caplog.messages
    assert "summarized or removed after the layers had read them" in told


def test_summary_in_the_middle_of_a_loop_asks_nobody(invoke):
    panel = AgentMixture(*(calling() for _ in range(8)), "the answer")
    invoke(panel.agent(look, before=[summarization()]), ask())
    assert (panel.asked, panel.written) == (1, 9)
    assert all("a proposal" in str(messages) for messages in panel.writer.asked)


def test_layers_read_the_summary_that_only_requests_have(invoke):
    """As deepagents keeps it: in its own key of the state, beside the whole conversation."""

    class SummaryState(AgentState):
        _summarization_event: dict

    class Requests(AgentMiddleware):
        state_schema = SummaryState

    panel = AgentMixture("the answer")
    event = {"cutoff_index": 8, "summary_message": HumanMessage("a summary"), "file_path": None}
    agent = panel.agent(before=[Requests()])
    invoke(agent, conversation(4) | {"_summarization_event": event})
    assert [each.text for each in panel.proposers["p11"].asked[0]] == ["a summary", "q"]


def test_layers_read_no_more_than_the_bound(invoke):
    panel = AgentMixture("the answer", max_history_tokens=25, system_prompt="You help.")
    invoke(panel.agent(), conversation(50))
    read = panel.proposers["p11"].asked[0]
    assert [each.type for each in read[:2]] == ["system", "human"]
    assert read[-1].text == "q"
    assert "question 0" not in read_by_layers(panel)
    assert len(panel.writer.asked[0]) == 102  # with the system message


def test_newest_steps_of_a_long_turn_are_read(invoke):
    answers = [calling(tool_call(n=n)) for n in range(20)]

    @tool
    def look(n: int) -> str:
        """Look."""
        return f"seen {n} " + "x" * 400

    panel = AgentMixture(*answers, "the answer", consult=20, max_history_tokens=1000)
    invoke(panel.agent(look), ask())
    _, read = panel.proposers["p11"].asked
    text = str(read)
    assert "content='q" in text
    assert "seen 19" in text
    assert "seen 0 " not in text
    assert text.count("I call look") == text.count("gave back:")


def test_result_of_a_tool_is_cut_for_the_layers_alone(invoke):
    @tool
    def look() -> str:
        """Look."""
        return "word " * 1000

    panel = AgentMixture(calling(), "the answer", consult="every_call", max_tool_result_tokens=50)
    invoke(panel.agent(look), ask())
    assert str(panel.proposers["p11"].asked[1]).count("word") < 100
    assert str(panel.writer.asked[1]).count("word") == 1000


def test_retries_of_the_model_ask_no_proposer(invoke):
    panel = AgentMixture(ValueError("broken"), "the answer", layers=2, width=3)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
    result = invoke(panel.agent(before=[retry]), ask())
    assert result["messages"][-1].text == "the answer"
    assert (panel.proposer_calls, panel.written) == (6, 2)


def test_human_who_approves_tool_calls_opens_no_turn(invoke):
    panel = AgentMixture(calling(), calling(), "the answer")
    approve = HumanInTheLoopMiddleware(interrupt_on={"look": True})
    agent = panel.agent(look, after=[approve], checkpointer=InMemorySaver())
    result = invoke(agent, ask(), THREAD)
    while "__interrupt__" in result:
        decisions = {"decisions": [{"type": "approve"}]}
        result = invoke(agent, Command(resume=decisions), THREAD)
    assert result["messages"][-1].text == "the answer"
    assert (panel.asked, panel.written) == (1, 3)


def test_two_of_different_names_are_asked_once_each(invoke):
    panel = AgentMixture(*(calling() for _ in range(3)), "the answer")
    other = AgentMixture(name="critics", answers_of={"p11": ["a critique"]})
    agent = panel.agent(look, after=[other.middleware], checkpointer=InMemorySaver())
    result = invoke(agent, ask(), THREAD)
    assert (panel.asked, other.asked) == (1, 1)
    for messages in panel.writer.asked:
        assert "a proposal" in messages[1].text
        assert "a critique" in messages[1].text
    metadata = result["messages"][-1].response_metadata
    assert metadata["moa"]["proposers"] == metadata["critics"]["proposers"]
    assert agent.get_state(THREAD).values["moa_panels"].keys() == {"moa", "critics"}
    assert [name for name, _ in agent.get_subgraphs()] == [
        *("moa.before_model", "critics.before_model")
    ]


def test_two_of_one_name_are_refused():
    layers = [["offline:lead"]]
    with pytest.raises(AssertionError, match="duplicate"):
        create_agent(FakeModel(), middleware=[MoAMiddleware(layers), MoAMiddleware(layers)])


def test_subagent_has_layers_of_its_own(invoke):
    inner = AgentMixture(calling(), "the inner answer")
    subagent = inner.agent(look)

    @tool
    def delegate(task: str) -> str:
        """Delegate."""
        return subagent.invoke(ask(task))["messages"][-1].text

    outer = AgentMixture(calling(tool_call("delegate", task="t")), "the answer")
    agent = outer.agent(delegate, checkpointer=InMemorySaver())
    result = invoke(agent, ask(), THREAD)
    assert result["messages"][-2].text == "the inner answer"
    assert (outer.asked, outer.written, inner.asked, inner.written) == (1, 2, 1, 2)
    assert inner.proposers["p11"].asked[0][-1].text == "t"


def test_subagents_side_by_side_have_a_panel_each(invoke):
    inner = AgentMixture("the inner answer")
    subagent = inner.agent()

    @tool
    def delegate(task: str) -> str:
        """Delegate."""
        return subagent.invoke(ask(task))["messages"][-1].text

    calls = [tool_call("delegate", task=task) for task in ("one", "two", "three")]
    outer = AgentMixture(calling(*calls), "the answer")
    invoke(outer.agent(delegate, checkpointer=InMemorySaver()), ask(), THREAD)
    assert (outer.asked, inner.asked) == (1, 3)
    for messages in inner.writer.asked:
        assert "a proposal" in messages[-1].text
    read = sorted(messages[-1].text for messages in inner.proposers["p11"].asked)
    assert read == ["one", "three", "two"]


def test_subagent_without_layers_knows_nothing_of_those_around_it(invoke):
    plain = create_agent(Writer(answers=["plain"]))

    @tool
    def delegate() -> str:
        """Delegate."""
        return plain.invoke(ask("t"))["messages"][-1].text

    outer = AgentMixture(calling(tool_call("delegate")), "the answer")
    assert invoke(outer.agent(delegate), ask())["messages"][-2].text == "plain"
    assert outer.asked == 1
