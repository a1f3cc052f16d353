"""Run a real deepagents agent with layers, and a subagent with layers of its own.

`.ci/deepagents` makes the environment: deepagents brings packages that nothing else here needs.
"""

import os
import re
import tempfile
from pathlib import Path
from uuid import uuid4

from deepagents import create_deep_agent
from fakes import FakeModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver

from moa_graph import MoAMiddleware, QuorumError

THREAD = {"configurable": {"thread_id": "1"}}


class Caller(FakeModel):
    """The model of an agent: it says the tool calls that it is given to say."""

    def bind_tools(self, *_: object, **__: object) -> "Caller":
        """Take any tools."""
        return self


def calling(name: str, **args: object) -> AIMessage:
    """Make an answer that calls a tool."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": f"call_{uuid4().hex}"}])


def layers(name: str, *answers: object) -> list[FakeModel]:
    """Make a layer of two, of whom the first answers so."""
    return [FakeModel(name=name, answers=list(answers) or ["a proposal"]), FakeModel(name="other")]


listing = calling("ls", path="/")
task = calling("task", description="look it up", subagent_type="researcher")
writer, inner_writer = Caller(answers=[listing, task, "the answer"]), Caller(answers=["found"])
main, inner = layers("main"), layers("inner", ValueError("down"), "up")
researcher = {
    "name": "researcher",
    "description": "Looks things up.",
    "system_prompt": "You look things up.",
    "model": inner_writer,
    "tools": [],
    "middleware": [MoAMiddleware([inner], quorum=2, name="inner")],
}
with SqliteSaver.from_conn_string(str(Path(tempfile.mkdtemp()) / "runs.sqlite")) as saver:
    agent = create_deep_agent(
        writer,
        middleware=[MoAMiddleware([main])],
        subagents=[researcher],
        checkpointer=saver,
    )
    try:
        agent.invoke({"messages": [HumanMessage("Where?")]}, THREAD)
    except QuorumError as error:
        print(error)
    else:
        raise AssertionError("the layers of the subagent were to fail")
    state = agent.invoke(None, THREAD)

messages = [each.text for each in state["messages"]]
print(messages)
assert messages[0] == "Where?"
assert messages[-2:] == ["found", "the answer"]
assert (len(writer.asked), len(inner_writer.asked)) == (3, 1)
assert [len(each.asked) for each in (*main, *inner)] == [1, 1, 2, 1]
assert all("a proposal" in str(each) for each in writer.asked)
assert "moa_panels" not in state

page = (Path(__file__).parents[2] / "docs" / "middleware.md").read_text(encoding="utf-8")
(code,) = re.findall(r"^```py\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
os.environ["OPENAI_API_KEY"] = "sk-none"  # nobody is asked
scope: dict[str, object] = {}
exec(code, scope)
assert "agent" in scope
print("deepagents: the layers of agent and subagent are asked once, and the page's example runs")
