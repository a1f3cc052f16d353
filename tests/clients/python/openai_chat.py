# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "openai>=3",
# ]
# ///
"""OpenAI's Python package, chat completions."""

import openai
import probe
from pydantic import BaseModel

client = openai.OpenAI(base_url=probe.BASE_URL, api_key=probe.KEY)
completions = client.chat.completions


class City(BaseModel):
    name: str
    population: int


class Arguments(BaseModel):
    city: str


TOOL = openai.pydantic_function_tool(Arguments, name="get_temperature")


def ask(text: str) -> list:
    return [{"role": "user", "content": text}]


def plain() -> None:
    completion = completions.create(model=probe.MODEL, messages=ask(probe.QUESTION))
    probe.expect_answer(completion.choices[0].message.content)


async def stream() -> None:
    async with openai.AsyncOpenAI(base_url=probe.BASE_URL, api_key=probe.KEY) as asynchronous:
        chunks = await asynchronous.chat.completions.create(
            model=probe.MODEL, messages=ask(probe.QUESTION), stream=True
        )
        probe.expect_pieces([chunk.choices[0].delta.content or "" async for chunk in chunks])


def tool() -> None:
    messages = ask(probe.TOOL_QUESTION)
    with completions.stream(model=probe.MODEL, messages=messages, tools=[TOOL]) as events:
        message = events.get_final_completion().choices[0].message
    call = message.tool_calls[0]
    result = probe.get_temperature(call.function.parsed_arguments.city)
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": result}]
    completion = completions.create(model=probe.MODEL, messages=messages, tools=[TOOL])
    probe.expect_tool_answer(completion.choices[0].message.content)


def structured() -> None:
    completion = completions.parse(
        model=probe.MODEL, messages=ask(probe.CITY_QUESTION), response_format=City
    )
    city = completion.choices[0].message.parsed
    probe.expect_city(city.name, city.population)


probe.run(plain, stream, tool, structured)
