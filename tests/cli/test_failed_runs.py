"""What is said of runs whose aggregator or layer failed: everywhere the same."""

import asyncio
import json
import re

import httpx2
import pytest
from serving import Serving
from terminal import write_mixture
from waiting import PATIENCE

from moa_graph import MoAConfig
from moa_graph.cli.choice import find_default_preset, load_mixtures
from moa_graph.runs.store import open_run_store


@pytest.fixture
def view(tmp_path):
    """Ask the page's API about the threads that the command stored."""

    async def look(*paths):
        async with open_run_store(str(tmp_path / "runs.sqlite")) as store:
            with Serving(MoAConfig.load("offline"), store=store) as serving:
                async with httpx2.AsyncClient(base_url=serving.url, timeout=PATIENCE) as client:
                    return [(await client.get(path)).json() for path in paths]

    return lambda *paths: asyncio.run(look(*paths))


def test_tokens_that_samples_share_are_told_as_shared(moa, tmp_path, server):
    server.model("w", reply="the answer")
    config = tmp_path / "m.toml"
    agent = f'model = "openai:{{}}", base_url = "{server.url}", max_retries = 0'
    sampled = f"{{ {agent.format('m')}, samples = 3, joint_samples = true }}"
    config.write_text(
        f"layers = [[{sampled}]]\naggregator = {{ {agent.format('w')} }}\n", encoding="utf-8"
    )
    assert moa("ask", "Why?", "--config", config, "--thread", "sky").returncode == 0
    shown = moa("show", "sky").stdout
    assert re.findall(r"layer_1_m\S* .*?[\d.]+ +(\d+|shared) ", shown)[1:] == ["shared", "shared"]
    assert "shared: samples of one request; the first has the tokens of the prompt" in shown


def test_failed_aggregator_is_shown_as_failed_in_the_terminal(moa, tmp_path, server):
    config = write_mixture(tmp_path / "m.toml", server, layers=1, w={"always": 400})
    moa("ask", "Why?", "--config", config, "--thread", "sky")
    shown = moa("show", "sky").stdout
    assert "✗  aggregator" in shown
    assert "aggregator failed: " in shown
    assert "failed, waiting for aggregator; continue with: moa resume sky" in shown
    (thread,) = json.loads(moa("threads", "--json").stdout)
    assert thread["state"] == "failed"
    assert "failed" in moa("draw", "sky").stdout
    report = moa("report", "sky").stdout
    assert re.search("<p>.*scripted failure 400</p>", report)
    assert "It was not noted when the calls began." not in report


def test_what_failed_aggregators_took_is_counted_after_a_restart(moa, tmp_path, server, view):
    config = write_mixture(tmp_path / "m.toml", server, layers=1, w={"always": "empty"})
    moa("ask", "Why?", "--config", config, "--thread", "sky")
    proposals = json.loads(moa("show", "sky", "--json").stdout)["proposals"].values()
    [stored] = json.loads(moa("show", "sky", "--json").stdout)["failed_calls"]
    shown = moa("show", "sky").stdout
    report = re.sub(r"<[^>]+>", "", moa("report", "sky").stdout)
    server.models["w"].always = None
    resumed = json.loads(moa("resume", "sky", "--json").stdout)["moa"]
    [failed] = resumed["failed_calls"]
    assert (stored["node"], stored["usage"]) == ("aggregator", failed["usage"])
    words = sum(len(each["content"].split()) for each in server.calls_of("w")[0].messages)
    assert failed["usage"]["input_tokens"] == words
    assert failed["error"].startswith("empty answer")
    assert resumed["usage"]["input_tokens"] >= 2 * words
    paid = failed["usage"]["total_tokens"] + sum(p["usage"]["total_tokens"] for p in proposals)
    assert f"{paid:,} tok" in shown
    assert f"{paid:,} tok" in report


def test_failed_aggregator_is_shown_as_failed_on_the_page(moa, tmp_path, server, view):
    config = write_mixture(tmp_path / "m.toml", server, layers=1, w={"always": 400})
    moa("ask", "Why?", "--config", config, "--thread", "sky")
    listed, thread = view("/api/threads", "/api/thread?id=sky")
    assert listed["threads"][0]["state"] == "failed"
    (aggregator,) = [cell for cell in thread["cells"] if cell["node"] == "aggregator"]
    assert aggregator["status"] == "failed"
    assert aggregator["model"] == "openai:w"


def test_layer_of_which_nobody_answered_did_not_answer(moa, tmp_path, server, view):
    broken = {name: {"always": 400} for name in "ab"}
    config = write_mixture(tmp_path / "m.toml", server, layers=1, **broken)
    moa("ask", "Why?", "--config", config, "--thread", "sky")
    (thread,) = view("/api/thread?id=sky")
    assert [step["label"] for step in thread["steps"]] == ["Question", "Layer 1 failed"]


def test_thread_is_called_by_its_first_question(moa, tmp_path, server, view):
    config = write_mixture(tmp_path / "m.toml", server, layers=1)
    moa("ask", "What is first?", "--config", config, "--thread", "sky")
    moa("ask", "And then?", "--thread", "sky")
    assert "What is first?" in moa("threads").stdout
    (row,) = json.loads(moa("threads", "--json").stdout)
    assert (row["title"], row["question"]) == ("What is first?", "And then?")
    (listed,) = view("/api/threads")
    assert listed["threads"][0]["title"] == "What is first?"


@pytest.mark.parametrize("keys", [(), ("OPENAI_API_KEY",), ("OPENAI_API_KEY", "TOGETHER_API_KEY")])
def test_first_mixture_of_the_page_is_the_one_that_ask_takes(keys, monkeypatch):
    for key in keys:
        monkeypatch.setenv(key, "x")
    assert next(iter(load_mixtures([], []))) == find_default_preset()


def test_quoted_answer_says_that_no_language_model_was_asked(moa, tmp_path):
    moa("ask", "Who? Ada. Not Bob.", "-p", "offline", "--thread", "off")
    assert "no language model" in moa("report", "off").stdout
    out = tmp_path / "off.svg"
    moa("draw", "off", "--out", out)
    assert "no language model" in out.read_text(encoding="utf-8")
