# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "haystack-ai>=2.15",
# ]
# ///
"""Haystack, OpenAIChatGenerator."""

import probe
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int


def generator(**more: object) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(
        model=probe.MODEL,
        api_base_url=probe.BASE_URL,
        api_key=Secret.from_token(probe.KEY),
        **more,
    )


def ask(text: str) -> list:
    return [ChatMessage.from_user(text)]


def plain() -> None:
    probe.expect_answer(generator().run(ask(probe.QUESTION))["replies"][0].text)


def stream() -> None:
    pieces: list[str] = []
    generator(streaming_callback=lambda chunk: pieces.append(chunk.content)).run(
        ask(probe.QUESTION)
    )
    probe.expect_pieces(pieces)


def tool() -> None:
    agent = Agent(
        chat_generator=generator(), tools=[create_tool_from_function(probe.get_temperature)]
    )
    probe.expect_tool_answer(agent.run(ask(probe.TOOL_QUESTION))["messages"][-1].text)


def structured() -> None:
    reply = generator(generation_kwargs={"response_format": City}).run(ask(probe.CITY_QUESTION))
    city = City.model_validate_json(reply["replies"][0].text)
    probe.expect_city(city.name, city.population)


probe.run(plain, stream, tool, structured)
