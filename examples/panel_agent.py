"""`MoAMiddleware`: two models propose once a turn, before the model of an agent with a tool.

Real models: use `create_agent("openai:gpt-6.1-sol", …)`, and "openai:…" in the layer.
"""

from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda

from moa_graph import MoAMiddleware


def search(word: str) -> str:
    """Find the sentence of the archive that contains a word."""
    archive = "The mill burned in 1911. The bridge was built in 1862. The school opened in 1950."
    return next(sentence for sentence in archive.split(". ") if word in sentence)


def play(messages: list[BaseMessage]) -> AIMessage:
    """Replace a model that calls tools: search, then report what was found."""
    if messages[-1].type == "tool":
        return AIMessage(f"The archive says: {messages[-1].text}.")
    return AIMessage("", tool_calls=[{"name": "search", "args": {"word": "bridge"}, "id": "1"}])


class Scripted(FakeListChatModel):
    def bind_tools(self, *_: object, **__: object) -> Runnable[list[BaseMessage], AIMessage]:
        return RunnableLambda(play)


panel = MoAMiddleware([["offline:lead", "offline:bm25"]], tools=[search])
agent = create_agent(Scripted(responses=[]), [search], middleware=[panel])

if __name__ == "__main__":
    result = agent.invoke({"messages": "The bridge is old. When was it built?"})
    for answer in (each for each in result["messages"] if isinstance(each, AIMessage)):
        print("proposals reused:", answer.response_metadata["moa"]["reused_proposals"])
    print(f"answer: {result['messages'][-1].text}")
