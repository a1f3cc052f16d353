"""A whole comparison with a real model, scored exactly: answered, weighed, recommended."""

import json

import pytest
from typer.testing import CliRunner

from moa_graph import MoAConfig
from moa_graph.cli.app import app

pytestmark = pytest.mark.llm

CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Spain": "Madrid"}
PLAN = """
out = "out"
max_cost = 1
concurrency = 2
[systems]
alone = {{ model = "openai:smollm2", base_url = "{url}", max_tokens = 12, temperature = 0.7 }}
[systems.mixture]
layers = [["brief", "plain"]]
aggregator = "plain"
references_in = "user"
[systems.mixture.agents.plain]
model = "openai:smollm2"
base_url = "{url}"
max_tokens = 12
temperature = 0.7
[systems.mixture.agents.brief]
model = "openai:smollm2"
base_url = "{url}"
max_tokens = 12
temperature = 0.7
system = "Answer with one word."
[[variants]]
of = "mixture"
analyses = ["leave_one_out"]
[[benchmarks]]
name = "capitals.jsonl"
scorer = "regex"
[prices]
"openai:smollm2" = [0.02, 0.04]
"""


def moa(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_a_plan_is_answered_scored_reported_and_recommended_from(llama, tmp_path):
    rows = [
        {"question": f"What is the capital of {land}?", "expected": rf"\b{city}\b"}
        for land, city in CAPITALS.items()
    ]
    (tmp_path / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "plan.toml").write_text(PLAN.format(url=llama.url))
    moa("eval", "run", tmp_path / "plan.toml")
    asked = len(llama.calls)
    moa("eval", "run", tmp_path / "plan.toml")
    assert len(llama.calls) == asked
    systems = json.loads(moa("eval", "score", tmp_path / "out", "--json"))["systems"]
    accuracy = {each["system"]: each["figures"]["accuracy"] for each in systems}
    assert 0 < accuracy["alone"] <= 100  # it knows some capitals
    moa("eval", "report", tmp_path / "out")
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert "the strongest of its models alone" in page
    assert "How the proposers of mixture fail together" in page
    text = moa("eval", "recommend", tmp_path / "plan.toml", "--price", "1")
    (tmp_path / "best.toml").write_text(text)
    assert MoAConfig.load(tmp_path / "best.toml").layers
