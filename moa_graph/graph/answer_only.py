"""A mixture whose output is the answer alone, for hosts that show a graph's output as it is."""

from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypedDict  # Python 3.11's own has no JSON schema

from moa_graph.graph.builder import CompiledMoAGraph

MIXTURE_NODE, ANSWER_NODE = "moa", "read_answer"


class Answer(TypedDict):
    """What the graph gives."""

    answer: str
    """The text of the last answer."""


class AnsweredConversation(MessagesState):
    """What a thread holds."""

    answer: str


CompiledAnswerGraph = CompiledStateGraph[AnsweredConversation, None, MessagesState, Answer]


def compile_answer_only(mixture: CompiledMoAGraph) -> CompiledAnswerGraph:
    """Put a mixture into a graph whose output is the answer; its name stays.

    A thread holds the conversation all the same: what is asked next is asked behind it.
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
