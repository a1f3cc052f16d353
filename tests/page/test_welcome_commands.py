"""The commands that the page shows when no model is set up."""

import re
from pathlib import Path

import moa_graph
from moa_graph import MoAConfig

WELCOME = Path(moa_graph.__file__).parent / "server" / "page" / "welcome.js"


def test_the_models_that_are_pulled_are_those_of_the_preset():
    pulled = re.findall(r"ollama pull ([\w.]+)", WELCOME.read_text("utf-8"))
    assert {f"openai:{each}" for each in pulled} == set(MoAConfig.load("ollama").labels())


def test_the_mixture_that_is_written_can_be_served(tmp_path):
    written = re.search(r"<< END\n(.*?)END\nmoa", WELCOME.read_text("utf-8"), re.DOTALL)
    path = tmp_path / "mixture.toml"
    path.write_text(written[1], "utf-8")
    assert MoAConfig.load(path).name == "mine"
