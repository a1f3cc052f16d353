"""Run what a client can do, and print what became of each, as lines of JSON."""

import asyncio
import importlib.metadata
import inspect
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BASE_URL = os.environ["MOA_BASE_URL"]
"""The address of the server, with `/v1`."""
ROOT_URL = BASE_URL.removesuffix("/v1")
KEY = os.environ["MOA_KEY"]
MODEL = os.environ["MOA_MODEL"]
IS_SCRIPTED = bool(os.environ["MOA_SCRIPTED"])
"""Whether it is known what the model behind the server says."""

QUESTION = "What is the capital of France?"
TOOL_QUESTION = 'How warm is it in Oslo? [[call: get_temperature {"city": "Oslo"}]]'
CITY_QUESTION = "Which city is the capital of France, and how many people live there?"

_REQUIREMENT = re.compile(r'^#\s+"([A-Za-z0-9_.-]+)', re.MULTILINE)


def get_temperature(city: str) -> str:
    """Tell how warm it is in a city.

    Args:
        city: The name of the city.
    """
    return f"21 degrees in {city}"


def expect_answer(text: object) -> None:
    """Check the answer to `QUESTION`."""
    assert "Paris" in str(text), f"unexpected answer: {text!r}"


def expect_tool_answer(text: object) -> None:
    """Check the answer to `TOOL_QUESTION`: it says what the tool gave."""
    assert "21 degrees in Oslo" in str(text), f"unexpected answer: {text!r}"


def expect_city(name: object, population: object) -> None:
    """Check the answer to `CITY_QUESTION`."""
    told = f"unexpected: {name!r}, {population!r}"
    assert isinstance(name, str), told
    assert isinstance(population, int), told
    assert not IS_SCRIPTED or (name, population) == ("Paris", 2_100_000), told


def expect_pieces(pieces: list[str]) -> None:
    """Check an answer that came in pieces."""
    assert len([piece for piece in pieces if piece]) > 1, f"not streamed: {pieces!r}"
    expect_answer("".join(pieces))


def run(*columns: Callable[[], Any]) -> None:
    """Run each function, sync or async, and print how it ended; the name is the column."""
    script = Path(sys.argv[0]).read_text("utf-8").partition('# ///\n"""')[0]
    names = _REQUIREMENT.findall(script)
    print(json.dumps({"versions": {name: importlib.metadata.version(name) for name in names}}))
    with asyncio.Runner() as runner:  # clients keep connections, which belong to one loop
        for column in columns:
            result = _try(column, runner)
            print(json.dumps({"column": column.__name__, "result": result}), flush=True)


def _try(column: Callable[[], Any], runner: asyncio.Runner) -> str:
    try:
        outcome = column()
        if inspect.iscoroutine(outcome):
            runner.run(outcome)
    except Exception as error:  # whatever a client raises is what the table says
        return f"{type(error).__name__}: {error}"[:500]
    return "ok"
