# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "instructor>=1.8",
#     "openai",
# ]
# ///
"""Instructor: structured output by tools, by JSON and by a schema."""

import instructor
import openai
import probe
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int


def ask(mode: instructor.Mode) -> None:
    client = openai.OpenAI(base_url=probe.BASE_URL, api_key=probe.KEY)
    city = instructor.from_openai(client, mode=mode).chat.completions.create(
        model=probe.MODEL,
        messages=[{"role": "user", "content": probe.CITY_QUESTION}],
        response_model=City,
        max_retries=0,
    )
    probe.expect_city(city.name, city.population)


def tool() -> None:
    ask(instructor.Mode.TOOLS)


def structured() -> None:
    ask(instructor.Mode.JSON)
    ask(instructor.Mode.JSON_SCHEMA)


probe.run(tool, structured)
