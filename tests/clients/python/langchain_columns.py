"""What chat models of LangChain can do, whichever class."""

import probe
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    population: int


def run(model: BaseChatModel) -> None:
    """Try a chat model."""

    def plain() -> None:
        probe.expect_answer(model.invoke(probe.QUESTION).text)

    def stream() -> None:
        probe.expect_pieces([chunk.text for chunk in model.stream(probe.QUESTION)])

    def tool() -> None:
        agent = create_agent(model, [probe.get_temperature])
        result = agent.invoke({"messages": probe.TOOL_QUESTION})
        probe.expect_tool_answer(result["messages"][-1].text)

    def structured() -> None:
        city = model.with_structured_output(City).invoke(probe.CITY_QUESTION)
        probe.expect_city(city.name, city.population)

    probe.run(plain, stream, tool, structured)
