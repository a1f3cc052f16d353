"""A graph whose output is only the text of the answer."""

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.builder import CompiledMoAGraph

MIXTURE_NODE, ANSWER_NODE = "moa", "read_answer"


class Answer(TypedDict):
    """Output of the graph."""

    answer: str
    """The text of the last answer."""


class AnsweredConversation(MessagesState):
    """State of the graph."""

    answer: str


CompiledAnswerGraph = CompiledStateGraph[AnsweredConversation, None, MessagesState, Answer]


def compile_answer_only(mixture: CompiledMoAGraph) -> CompiledAnswerGraph:
    """Wrap a mixture in a graph of the same name whose output is the answer.

    A thread still stores the whole conversation, so a next question continues it.
    """
    builder = StateGraph(AnsweredConversation, input_schema=MessagesState, output_schema=Answer)
    builder.add_node(MIXTURE_NODE, mixture)
    builder.add_node(ANSWER_NODE, _read_answer)
    builder.add_edge(START, MIXTURE_NODE)
    builder.add_edge(MIXTURE_NODE, ANSWER_NODE)
    builder.add_edge(ANSWER_NODE, END)
    return builder.compile(name=mixture.get_name())


def _read_answer(state: AnsweredConversation) -> Answer:
    return {"answer": str(state["messages"][-1].text)}
