# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "llm>=0.26",
# ]
# ///
"""llm, the command of Simon Willison, with a model of its extra-openai-models.yaml."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import probe
import program

home = Path(tempfile.mkdtemp())
(home / "extra-openai-models.yaml").write_text(program.read_settings("llm"), "utf-8")
(home / "keys.json").write_text(json.dumps({"moa": probe.KEY}), "utf-8")
(home / "tools.py").write_text(
    'def get_temperature(city: str) -> str:\n    return f"21 degrees in {city}"\n', "utf-8"
)


def run_llm(*words: str) -> str:
    command = ["llm", "-m", "panel", *words]
    environment = os.environ | {"LLM_USER_PATH": str(home)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain() -> None:
    probe.expect_answer(run_llm("--no-stream", probe.QUESTION))


def stream() -> None:
    probe.expect_answer(run_llm(probe.QUESTION))


def tool() -> None:
    words = ["--functions", str(home / "tools.py"), probe.TOOL_QUESTION]
    probe.expect_tool_answer(run_llm(*words))


def structured() -> None:
    city = json.loads(run_llm("--schema", "name, population int", probe.CITY_QUESTION))
    probe.expect_city(city["name"], city["population"])


probe.run(plain, stream, tool, structured)
