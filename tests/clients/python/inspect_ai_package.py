# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "inspect-ai>=0.3.150",
#     "openai",
# ]
# ///
"""inspect-ai: a model by its `openai-api` provider."""

import os

import probe

os.environ |= {"MOA_API_KEY": probe.KEY, "MOA_BASE_URL": probe.BASE_URL}

from inspect_ai.model import GenerateConfig, ResponseSchema, get_model
from inspect_ai.util import json_schema
from pydantic import BaseModel


class City(BaseModel):
    name: str
    population: int


model = get_model(f"openai-api/moa/{probe.MODEL}")


async def plain() -> None:
    probe.expect_answer((await model.generate(probe.QUESTION)).completion)


async def structured() -> None:
    config = GenerateConfig(
        response_schema=ResponseSchema(name="city", json_schema=json_schema(City))
    )
    output = await model.generate(probe.CITY_QUESTION, config=config)
    city = City.model_validate_json(output.completion)
    probe.expect_city(city.name, city.population)


probe.run(plain, structured)
