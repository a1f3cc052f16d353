# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "llama-index-llms-openai-like>=0.5",
#     "llama-index-core",
# ]
# ///
"""LlamaIndex, OpenAILike."""

import probe
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

model = OpenAILike(
    model=probe.MODEL,
    api_base=probe.BASE_URL,
    api_key=probe.KEY,
    is_chat_model=True,
    is_function_calling_model=True,
)


class City(BaseModel):
    """A city."""

    name: str
    population: int


def plain() -> None:
    probe.expect_answer(model.complete(probe.QUESTION).text)


def stream() -> None:
    probe.expect_pieces([part.delta or "" for part in model.stream_complete(probe.QUESTION)])


async def tool() -> None:
    agent = FunctionAgent(tools=[probe.get_temperature], llm=model)
    probe.expect_tool_answer(await agent.run(probe.TOOL_QUESTION))


def structured() -> None:
    city = model.as_structured_llm(City).complete(probe.CITY_QUESTION).raw
    probe.expect_city(city.name, city.population)


probe.run(plain, stream, tool, structured)
