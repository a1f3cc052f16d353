# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "litellm>=1.70",
# ]
# ///
"""LiteLLM's package."""

import json

import litellm
import probe
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "function": {
        "name": "get_temperature",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class City(BaseModel):
    name: str
    population: int


def complete(text_or_messages: str | list, **more: object):
    messages = text_or_messages
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return litellm.completion(
        f"openai/{probe.MODEL}",
        messages=messages,
        api_base=probe.BASE_URL,
        api_key=probe.KEY,
        **more,
    )


def plain() -> None:
    probe.expect_answer(complete(probe.QUESTION).choices[0].message.content)


def stream() -> None:
    chunks = complete(probe.QUESTION, stream=True)
    probe.expect_pieces([chunk.choices[0].delta.content or "" for chunk in chunks])


def tool() -> None:
    messages: list = [{"role": "user", "content": probe.TOOL_QUESTION}]
    message = complete(messages, tools=[TOOL]).choices[0].message
    call = message.tool_calls[0]
    result = probe.get_temperature(**json.loads(call.function.arguments))
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": result}]
    probe.expect_tool_answer(complete(messages, tools=[TOOL]).choices[0].message.content)


def structured() -> None:
    answer = complete(probe.CITY_QUESTION, response_format=City).choices[0].message.content
    city = City.model_validate_json(answer)
    probe.expect_city(city.name, city.population)


probe.run(plain, stream, tool, structured)
