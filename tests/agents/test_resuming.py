"""An agent that stopped in its layers goes on there: after failures, kills and interrupts."""

import signal
import sys

import pytest
from forked import run_forked
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, interrupt
from scripted_mixtures import AgentMixture, calling, tool_call

from moa_graph import MoAMiddleware, QuorumError

THREAD = {"configurable": {"thread_id": "1"}}
DOWN = ValueError("down")


@tool
def look() -> str:
    """Look."""
    return "seen"


def ask(question="q"):
    return {"messages": [HumanMessage(question)]}


def calls_of(panel):
    return {name: len(each.asked) for name, each in panel.proposers.items()}


def test_lost_quorum_is_an_error_and_then_only_the_failed_are_asked_again(invoke):
    panel = AgentMixture(
        *("the answer", "another"),
        layers=2,
        width=3,
        quorum=2,
        answers_of={"p21": [DOWN, "up"], "p22": [DOWN, "up"]},
    )
    agent = panel.agent(look, checkpointer=InMemorySaver())
    with pytest.raises(QuorumError, match="layer 2: 1 of 3 proposers answered, 2 required"):
        invoke(agent, ask(), THREAD)
    assert panel.written == 0
    result = invoke(agent, None, THREAD)
    assert result["messages"][-1].text == "the answer"
    assert calls_of(panel) == {"p11": 1, "p12": 1, "p13": 1, "p21": 2, "p22": 2, "p23": 1}
    invoke(agent, ask(), THREAD)
    assert panel.proposer_calls == 8 + 6


def test_of_two_panels_that_which_failed_goes_on_alone(invoke):
    first = AgentMixture("the answer", layers=2)
    second = AgentMixture(name="critics", quorum=2, answers_of={"p12": [DOWN, "a critique"]})
    agent = first.agent(after=[second.middleware], checkpointer=InMemorySaver())
    with pytest.raises(QuorumError):
        invoke(agent, ask(), THREAD)
    invoke(agent, None, THREAD)
    assert first.asked == 1
    assert calls_of(second) == {"p11": 1, "p12": 2}
    [[*_, question]] = first.writer.asked
    assert "a proposal" in question.text
    assert "a critique" in question.text


def test_with_continue_the_model_answers_with_the_proposals_of_the_layer_before(invoke):
    failing = {"p21": [DOWN], "p22": [DOWN]}
    panel = AgentMixture(
        calling(), "the answer", layers=2, on_failure="continue", answers_of=failing
    )
    result = invoke(panel.agent(look), ask())
    assert result["messages"][-1].text == "the answer"
    assert panel.asked == 1
    for messages in panel.writer.asked:
        assert "a proposal" in messages[1].text
    summary = result["messages"][1].response_metadata["moa"]
    assert summary["failed"] == ["layer_2_p21", "layer_2_p22"]
    assert (summary["asked"], summary["answered"]) == (4, 2)


def test_with_continue_the_model_answers_alone_where_the_first_layer_failed(invoke):
    failing = {"p11": [DOWN], "p12": [DOWN]}
    panel = AgentMixture("the answer", layers=2, on_failure="continue", answers_of=failing)
    result = invoke(panel.agent(system_prompt="Be kind."), ask())
    assert [each.text for each in panel.writer.asked[0]] == ["Be kind.", "q"]
    summary = result["messages"][-1].response_metadata["moa"]
    assert (summary["answered"], summary["failed"]) == (0, ["layer_1_p11", "layer_1_p12"])
    assert panel.proposers["p21"].asked == []


def test_failed_model_asks_no_proposer_again(invoke):
    panel = AgentMixture(DOWN, "the answer", layers=2)
    agent = panel.agent(checkpointer=InMemorySaver())
    with pytest.raises(ValueError, match="down"):
        invoke(agent, ask(), THREAD)
    assert invoke(agent, None, THREAD)["messages"][-1].text == "the answer"
    assert (panel.asked, panel.written) == (1, 2)


def test_proposer_may_ask_a_human_through_the_agent(invoke):
    panel = AgentMixture(calling(), "the answer")
    human = RunnableLambda(lambda _: AIMessage(interrupt("Which tree?")))
    sibling = panel.proposers["p11"]
    panel.middleware = MoAMiddleware([{"sibling": sibling, "human": human}])
    agent = panel.agent(look, checkpointer=InMemorySaver())
    stopped = invoke(agent, ask(), THREAD)
    assert [each.value for each in stopped["__interrupt__"]] == ["Which tree?"]
    [task] = agent.get_state(THREAD, subgraphs=True).tasks
    assert task.name == "moa.before_model"
    assert [each.name for each in task.state.tasks if each.interrupts] == ["layer_1_human"]
    invoke(agent, Command(resume="The oak."), THREAD)
    assert "The oak." in panel.writer.asked[0][1].text
    assert (len(sibling.asked), panel.written) == (1, 2)


def test_human_edits_a_proposal_before_the_model_reads_it(invoke):
    panel = AgentMixture("the answer")
    agent = panel.agent(checkpointer=InMemorySaver(), interrupt_before=["model"])
    invoke(agent, ask(), THREAD)
    panels = agent.get_state(THREAD).values["moa_panels"]
    proposals = panels["moa"]["proposals"]
    edited = proposals | {"layer_1_p11": proposals["layer_1_p11"] | {"content": "edited"}}
    agent.update_state(THREAD, {"moa_panels": {"moa": {"proposals": edited}}})
    invoke(agent, None, THREAD)
    assert "edited" in panel.writer.asked[0][1].text


PROSE = " ".join(["oak"] * 9)


def test_steps_of_tools_do_not_store_the_proposals_again(tmp_path):
    """One turn of 2 and one of 20 steps: the texts stand in the database as often."""

    def count_after(steps):
        panel = AgentMixture(*(calling() for _ in range(steps)), "x", answers_of={"p11": [PROSE]})
        path = tmp_path / f"{steps}.sqlite"
        with SqliteSaver.from_conn_string(str(path)) as saver:
            panel.agent(look, checkpointer=saver).invoke(ask(), THREAD)
        return path.read_bytes().count(PROSE.encode())

    assert count_after(2) == count_after(20) > 0


def test_a_run_of_the_layers_stores_the_conversation_once():
    panel = AgentMixture("the answer", layers=3)
    with SqliteSaver.from_conn_string(":memory:") as saver:
        panel.agent(checkpointer=saver).invoke(ask("oak" * 9), THREAD)
        stored = saver.conn.execute(
            "SELECT checkpoint_ns, checkpoint FROM checkpoints WHERE checkpoint_ns LIKE 'moa.%'"
        ).fetchall()
    assert len(stored) > 6
    assert sum(checkpoint.count(b"oak" * 9) for _, checkpoint in stored) == 1


KILLED = """
import os, signal, sqlite3, sys
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.sqlite import SqliteSaver
from scripted_mixtures import Writer
from waiting import wait_for
from moa_graph import MoAMiddleware

database, log, dies = sys.argv[1], sys.argv[2], sys.argv[3] == "dies"

def count_stored():
    with sqlite3.connect(database) as connection:
        counted = "SELECT COUNT(*) FROM writes WHERE channel = 'proposals'"
        return connection.execute(counted).fetchone()[0]

def propose(name):
    def note(_):
        if name == "22" and dies:
            wait_for(lambda: count_stored() == 5)
            os.kill(os.getpid(), signal.SIGKILL)
        with open(log, "a") as file:
            file.write(f"{name} ")
        return AIMessage(f"proposal of {name}")
    return RunnableLambda(note)

layers = [{f"p{row}{n}": propose(f"{row}{n}") for n in (1, 2, 3)} for row in (1, 2)]
writer = Writer(answers=["the answer"])
with SqliteSaver.from_conn_string(database) as saver:
    agent = create_agent(writer, middleware=[MoAMiddleware(layers)], checkpointer=saver)
    thread = {"configurable": {"thread_id": "1"}}
    state = agent.invoke({"messages": "q"} if dies else None, thread, durability="sync")
    read = writer.asked[0][-1].text
    print([each.text for each in state["messages"]], read.count("proposal of 2"))
"""


def kill_and_resume(code, folder):
    """Run code that kills itself, then once more; give what came of the second run."""
    words = [sys.executable, "-c", code, folder / "runs.sqlite", folder / "log"]
    killed, ended = (run_forked([*words, how]) for how in ("dies", "goes on"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    return ended


@pytest.mark.process
def test_agent_killed_in_its_second_layer_asks_only_the_killed_proposer_again(tmp_path):
    ended = kill_and_resume(KILLED, tmp_path)
    assert ended.stdout == "['q', 'the answer'] 3\n", ended.stderr
    assert sorted((tmp_path / "log").read_text().split()) == [
        *("11", "12", "13"),
        *("21", "22", "23"),
    ]


KILLED_EARLY = """
import os, signal, sys
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.sqlite import SqliteSaver
from scripted_mixtures import Writer
from moa_graph import MoAMiddleware

database, log, dies = sys.argv[1], sys.argv[2], sys.argv[3] == "dies"

def note(name):
    with open(log, "a") as file:
        file.write(f"{name} ")

def propose(_):
    note("proposer")
    return AIMessage("42")

def decide(proposals):
    note("decide")
    return True, "seen enough"

class Killed(Writer):
    def _generate(self, *args, **options):
        note("writer")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._generate(*args, **options)

layers = [{"a": RunnableLambda(propose), "b": RunnableLambda(propose)}] * 3
panel = MoAMiddleware(layers, early_stop=decide)
with SqliteSaver.from_conn_string(database) as saver:
    agent = create_agent(Killed(answers=["the answer"]), middleware=[panel], checkpointer=saver)
    thread = {"configurable": {"thread_id": "1"}}
    state = agent.invoke({"messages": "q"} if dies else None, thread, durability="sync")
    print(state["messages"][-1].response_metadata["moa"]["depth"]["why"])
"""


@pytest.mark.process
def test_agent_killed_behind_an_early_stop_keeps_the_decision(tmp_path):
    ended = kill_and_resume(KILLED_EARLY, tmp_path)
    assert ended.stdout == "seen enough\n", ended.stderr
    called = ["proposer", "proposer", "decide", "writer", "writer"]
    assert (tmp_path / "log").read_text().split() == called


def test_layers_go_on_inside_a_subagent(invoke):
    inner = AgentMixture("the inner answer", layers=2, quorum=2, answers_of={"p21": [DOWN, "up"]})
    subagent = inner.agent(name="sub")

    @tool
    def delegate(task: str) -> str:
        """Delegate."""
        return subagent.invoke(ask(task))["messages"][-1].text

    outer = AgentMixture(calling(tool_call("delegate", task="t")), "the answer")
    agent = outer.agent(delegate, checkpointer=InMemorySaver())
    with pytest.raises(QuorumError):
        invoke(agent, ask(), THREAD)
    assert invoke(agent, None, THREAD)["messages"][-1].text == "the answer"
    assert calls_of(inner) == {"p11": 1, "p12": 1, "p21": 2, "p22": 1}
    assert (outer.asked, outer.written) == (1, 2)
