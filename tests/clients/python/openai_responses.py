# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "openai>=3",
# ]
# ///
"""OpenAI's Python package, Responses."""

import openai
import probe
from pydantic import BaseModel

client = openai.OpenAI(base_url=probe.BASE_URL, api_key=probe.KEY)
TOOL = {
    "type": "function",
    "name": "get_temperature",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(BaseModel):
    name: str
    population: int


def plain() -> None:
    response = client.responses.create(model=probe.MODEL, input=probe.QUESTION)
    probe.expect_answer(response.output_text)


def stream() -> None:
    with client.responses.stream(model=probe.MODEL, input=probe.QUESTION) as events:
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        probe.expect_answer(events.get_final_response().output_text)
    probe.expect_pieces(pieces)


def tool() -> None:
    conversation: list = [{"role": "user", "content": probe.TOOL_QUESTION}]
    first = client.responses.create(model=probe.MODEL, input=conversation, tools=[TOOL])
    conversation += first.output
    call = next(item for item in first.output if item.type == "function_call")
    result = probe.get_temperature("Oslo")
    conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    second = client.responses.create(model=probe.MODEL, input=conversation, tools=[TOOL])
    probe.expect_tool_answer(second.output_text)


def structured() -> None:
    response = client.responses.parse(
        model=probe.MODEL, input=probe.CITY_QUESTION, text_format=City
    )
    probe.expect_city(response.output_parsed.name, response.output_parsed.population)


probe.run(plain, stream, tool, structured)
