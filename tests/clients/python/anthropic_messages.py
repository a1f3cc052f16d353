# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "anthropic>=0.100",
# ]
# ///
"""Anthropic's Python package, Messages."""

import anthropic
import probe

client = anthropic.Anthropic(base_url=probe.ROOT_URL, api_key=probe.KEY)
TOOL = {
    "name": "get_temperature",
    "description": "Tell how warm it is in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
CITY = {
    "name": "city",
    "input_schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
        "required": ["name", "population"],
    },
}


def ask(text: str) -> list:
    return [{"role": "user", "content": text}]


def plain() -> None:
    message = client.messages.create(
        model=probe.MODEL, max_tokens=1000, messages=ask(probe.QUESTION)
    )
    probe.expect_answer(message.content[0].text)


def stream() -> None:
    with client.messages.stream(
        model=probe.MODEL, max_tokens=1000, messages=ask(probe.QUESTION)
    ) as events:
        pieces = list(events.text_stream)
        assert events.get_final_message().stop_reason == "end_turn"
    probe.expect_pieces(pieces)


def tool() -> None:
    messages = ask(probe.TOOL_QUESTION)
    first = client.messages.create(
        model=probe.MODEL, max_tokens=1000, messages=messages, tools=[TOOL]
    )
    call = next(block for block in first.content if block.type == "tool_use")
    result = probe.get_temperature(call.input["city"])
    messages += [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": result}],
        },
    ]
    second = client.messages.create(
        model=probe.MODEL, max_tokens=1000, messages=messages, tools=[TOOL]
    )
    probe.expect_tool_answer(second.content[0].text)


def structured() -> None:
    message = client.messages.create(
        model=probe.MODEL,
        max_tokens=1000,
        messages=ask(probe.CITY_QUESTION),
        tools=[CITY],
        tool_choice={"type": "tool", "name": "city"},
    )
    city = message.content[0].input
    probe.expect_city(city["name"], city["population"])


probe.run(plain, stream, tool, structured)
