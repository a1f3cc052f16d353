"""An answer that is cut off, filtered or broken off is told as such wherever it is shown."""

import asyncio
import json
import re

import httpx2
import pytest
from serving import Serving
from terminal import write_mixture
from waiting import PATIENCE

from moa_graph import MoAConfig
from moa_graph.runs.store import open_run_store

CUT = "cut off at its length limit (length)"
FILTERED = "cut off by a content filter (content_filter)"
ENDINGS = {"length": CUT, "content_filter": FILTERED}


@pytest.fixture(params=ENDINGS)
def reason(request):
    """Why the models stop."""
    return request.param


@pytest.fixture
def config(tmp_path, server, reason):
    """A mixture whose answer and one of whose two proposals are not whole."""
    broken = {name: {"finish_reason": reason} for name in "bw"}
    return write_mixture(tmp_path / "m.toml", server, layers=1, **broken)


@pytest.fixture
def asked(moa, config):
    """Ask it on the thread `sky`."""
    return moa("ask", "Why?", "--config", config, "--thread", "sky")


def test_ask_says_so_on_standard_error(asked, reason):
    assert f"the answer is incomplete: {ENDINGS[reason]}" in asked.stderr
    assert f"1 of 2 proposals incomplete: layer_1_b: {ENDINGS[reason]}" in asked.stderr
    assert ENDINGS[reason] not in asked.stdout


def test_ask_show_says_so_beside_the_texts(moa, config, reason):
    shown = moa("ask", "Why?", "--config", config, "--show").stdout
    titles = [line for line in shown.splitlines() if line.startswith("── ")]
    assert [ENDINGS[reason] in title for title in titles] == [False, True, True]


def test_json_has_the_finish_reasons(moa, config, reason):
    document = json.loads(moa("ask", "Why?", "--config", config, "--json").stdout)
    assert document["finish_reason"] == reason
    assert document["proposals"]["layer_1_b"]["finish_reason"] == reason


def test_live_view_says_so(moa, config, reason):
    seen = moa("ask", "Why?", "--config", config, "--progress").stderr
    assert seen.count(ENDINGS[reason]) >= 2


@pytest.mark.usefixtures("asked")
def test_show_says_so(moa, reason):
    shown = moa("show", "sky").stdout
    assert f"layer_1_b {ENDINGS[reason]}" in shown
    assert f"aggregator {ENDINGS[reason]}" in shown
    assert ENDINGS[reason] in moa("show", "sky", "b").stdout


@pytest.mark.usefixtures("asked")
def test_threads_say_so(moa, reason):
    (thread,) = json.loads(moa("threads", "--json").stdout)
    word = {"length": "cut off", "content_filter": "filtered"}[reason]
    assert thread["state"] == f"answered, {word}"
    assert word in moa("threads").stdout


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("form", ["mermaid", "svg"])
def test_drawing_says_so(moa, form, reason, tmp_path):
    out = tmp_path / f"sky.{form if form == 'svg' else 'mmd'}"
    moa("draw", "sky", "--out", str(out))
    word = {"length": "cut off", "content_filter": "filtered"}[reason]
    assert out.read_text(encoding="utf-8").count(word) >= 2


@pytest.mark.usefixtures("asked")
def test_report_says_so(moa, reason, tmp_path):
    out = tmp_path / "sky.html"
    moa("report", "sky", "--out", str(out))
    page = re.sub(r"(?s)<style>.*?</style>", "", out.read_text(encoding="utf-8"))
    assert f"It is incomplete: {ENDINGS[reason]}." in page
    assert page.count(ENDINGS[reason]) >= 2


@pytest.mark.usefixtures("asked")
def test_page_is_told(tmp_path, reason):
    async def look():
        async with open_run_store(str(tmp_path / "runs.sqlite")) as store:
            with Serving(MoAConfig.load("offline"), store=store) as serving:
                async with httpx2.AsyncClient(base_url=serving.url, timeout=PATIENCE) as client:
                    return (await client.get("/api/thread?id=sky")).json()

    notes = {cell["node"]: cell["ending_note"] for cell in asyncio.run(look())["cells"]}
    assert notes == {"layer_1_a": None, "layer_1_b": ENDINGS[reason], "aggregator": ENDINGS[reason]}


def test_batch_rows_say_so(moa, config, reason, tmp_path):
    questions, out = tmp_path / "q.jsonl", tmp_path / "o.jsonl"
    questions.write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    moa("batch", str(questions), "--out", str(out), "--config", config)
    row = json.loads(out.read_text(encoding="utf-8"))
    assert row["incomplete"] == {"layer_1_b": ENDINGS[reason], "aggregator": ENDINGS[reason]}


def test_rows_of_whole_answers_are_as_before(moa, server, tmp_path):
    questions, out = tmp_path / "q.jsonl", tmp_path / "o.jsonl"
    questions.write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    config = write_mixture(tmp_path / "m.toml", server, layers=1)
    moa("batch", str(questions), "--out", str(out), "--config", config)
    assert "incomplete" not in json.loads(out.read_text(encoding="utf-8"))


def test_fallback_that_answered_is_told(moa, server, tmp_path):
    extra, empty = 'fallbacks = ["a"]', {"always": "empty"}
    config = write_mixture(tmp_path / "m.toml", server, layers=1, extra=extra, w=empty)
    asked = moa("ask", "Why?", "--config", config, "--thread", "sky")
    assert "aggregator failed: " in asked.stderr
    assert "a fallback answered" in asked.stderr
    assert "aggregator failed: " in moa("show", "sky").stdout
