"""What agents of Pydantic AI can do, whichever class their model is of."""

import probe
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    population: int


def run(model_class: type[Model]) -> None:
    """Try agents whose model is of a class."""
    provider = OpenAIProvider(base_url=probe.BASE_URL, api_key=probe.KEY)
    model = model_class(probe.MODEL, provider=provider)

    def plain() -> None:
        probe.expect_answer(Agent(model).run_sync(probe.QUESTION).output)

    async def stream() -> None:
        async with Agent(model).run_stream(probe.QUESTION) as result:
            probe.expect_pieces(
                [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
            )

    def tool() -> None:
        agent = Agent(model, tools=[probe.get_temperature])
        probe.expect_tool_answer(agent.run_sync(probe.TOOL_QUESTION).output)

    def structured() -> None:
        city = Agent(model, output_type=City).run_sync(probe.CITY_QUESTION).output
        probe.expect_city(city.name, city.population)

    probe.run(plain, stream, tool, structured)
