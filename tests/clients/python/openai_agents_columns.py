"""What agents of OpenAI's Agents SDK can do, whichever class their model is of."""

import agents
import probe
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int


def run(model_class: type[agents.Model]) -> None:
    """Try agents whose model is of a class."""
    agents.set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=probe.BASE_URL, api_key=probe.KEY)
    model = model_class(model=probe.MODEL, openai_client=client)

    async def plain() -> None:
        result = await agents.Runner.run(agents.Agent("a", model=model), probe.QUESTION)
        probe.expect_answer(result.final_output)

    async def stream() -> None:
        run = agents.Runner.run_streamed(agents.Agent("a", model=model), probe.QUESTION)
        pieces = [
            event.data.delta
            async for event in run.stream_events()
            if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
        ]
        probe.expect_pieces(pieces)

    async def tool() -> None:
        agent = agents.Agent("a", model=model, tools=[agents.function_tool(probe.get_temperature)])
        result = await agents.Runner.run(agent, probe.TOOL_QUESTION)
        probe.expect_tool_answer(result.final_output)

    async def structured() -> None:
        agent = agents.Agent("a", model=model, output_type=City)
        result = await agents.Runner.run(agent, probe.CITY_QUESTION)
        probe.expect_city(result.final_output.name, result.final_output.population)

    probe.run(plain, stream, tool, structured)
