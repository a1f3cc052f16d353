"""A whole comparison on 20 instructions: run, killed, gone on with, written up."""

import json
import math
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from compared import write_plan
from forked import Forked
from waiting import wait_for

MOA = Path(sys.executable).parent / "moa"


@pytest.fixture(params=[20])
def path(request, tmp_path, server):
    """A plan over models of the server; the judge prefers what stands first, a little."""
    tokens = [{"token": t, "logprob": math.log(p)} for t, p in (("m", 0.6), ("M", 0.4))]
    weighed = {"content": [{"token": "m", "logprob": 0.0, "bytes": None, "top_logprobs": tokens}]}
    server.model("judge", reply="m", logprobs=lambda _: weighed)
    server.model("*", reply=_reply)
    return write_plan(tmp_path, server, limit=request.param)


def _reply(body):
    """Write, or pick the first where a ranker is asked."""
    text = json.dumps(body["messages"])
    return "1" if "you are the judge of their" in text else f"{body['model']} {hash(text)}"


def asked(server):
    """Count the requests by what they ask, the random tags of references left out."""
    return Counter(
        (call.model, str(call.body.get("temperature")), json.dumps(call.messages))
        for call in server.calls
    )


def test_comparison_makes_the_calls_that_the_preflight_told(path, server, evaluate, tmp_path):
    told = json.loads(evaluate("estimate", path, "--json").stdout)
    done = evaluate("run", path)
    assert done.returncode == 0, done.stderr
    *systems, judge = (part["calls"] for part in told["parts"])
    judged = sum(call.model == "judge" for call in server.calls)
    assert len(server.calls) - judged == sum(systems)
    assert judged <= judge  # answers that are alike are judged once
    assert set(asked(server).values()) == {1}
    folders = sorted(each.name for each in (tmp_path / "out" / "questions").iterdir())
    assert {"deep", "written", "quoting"} <= set(folders)


FEW = pytest.mark.parametrize("path", [4], indirect=True)
"""Questions enough where their number does not matter."""


@FEW
def test_a_comparison_that_is_done_asks_nothing_more(path, server, evaluate):
    assert evaluate("run", path).returncode == 0
    server.calls.clear()
    assert evaluate("run", path).returncode == 0
    assert not server.calls
    assert json.loads(evaluate("estimate", path, "--json").stdout)["total"]["calls"] == 0


@pytest.mark.process
def test_killed_comparison_goes_on_without_a_repeated_call(path, server, evaluate):
    most = 0
    server.model("*", reply=_reply, latency=0.02, until=lambda: len(server.calls) <= most)
    for some in (30, 150):
        most = some + 20  # so many are asked, and the others are waited for
        with Forked([MOA, "eval", "run", path]) as process:
            wait_for(lambda some=some: len(server.calls) >= some)
            assert process.poll() is None
            process.kill()
        server.settle()
    server.model("*", reply=_reply)
    assert evaluate("run", path).returncode == 0
    repeated = sum(times - 1 for times in asked(server).values())
    # Only what was under way when it was killed: three items with a layer of two each.
    assert repeated <= 2 * 3 * 2


@FEW
def test_failures_of_a_step_do_not_stop_the_others(path, server, evaluate, tmp_path):
    server.model("w", always=500)
    done = evaluate("run", path)
    assert done.returncode == 1
    assert "deep: answers, the first 3: the first 3 failed alike" in done.stderr
    server.model("w", reply=_reply)
    assert evaluate("run", path).returncode == 0


@pytest.mark.parametrize("path", [8], indirect=True)  # more than the three that are tried
def test_broken_system_costs_little_and_stops_no_other(path, server, evaluate, tmp_path):
    server.model("w", always=500)
    done = evaluate("run", path)
    assert done.returncode == 1
    assert "deep: answers, the first 3: the first 3 failed alike" in done.stderr
    assert "scripted failure 500" in done.stderr
    folders = tmp_path / "out" / "questions"
    judged = {each.parent.name for each in folders.glob("*/judgements.jsonl")}
    assert {"lite", "written", "quoting"} <= judged
    assert "deep" not in judged
    assert len(server.calls_of("w")) == 3 * 8, "three for deep and for each variant with it"
    server.model("w", reply=_reply)
    assert evaluate("run", path).returncode == 0


def test_broken_judge_shows_before_everything_is_answered(path, server, evaluate):
    server.model("judge", always=500)
    done = evaluate("run", path)
    assert done.returncode == 1
    assert "deep: judgements, the first 3: judge openai:judge: the first 3 failed" in done.stderr
    assert len(server.calls_of("judge")) == 3
    assert len(server.calls_of("w")) == 3


def test_folder_of_another_system_stops_no_other(path, server, evaluate, tmp_path):
    other = evaluate(
        *("generate", "-b", tmp_path / "questions.jsonl", "--config", tmp_path / "lite.toml"),
        *("--out", tmp_path / "out", "--name", "deep", "--limit", 1),
    )
    assert other.returncode == 0, other.stderr
    done = evaluate("run", path)
    assert done.returncode == 1
    assert "holds answers of another mixture" in done.stderr
    assert (tmp_path / "out" / "questions" / "lite" / "judgements.jsonl").exists()


def test_spent_money_stops_it(path, server, evaluate):
    done = evaluate("run", path, "--max-cost", "0.0001")
    assert done.returncode == 3
    assert "items were left" in done.stderr
    assert len(server.calls) < 100


@FEW
def test_missing_key_shows_before_anything_is_asked(path, server, evaluate, monkeypatch):
    monkeypatch.delenv("NOBODYS_KEY", raising=False)
    judge = path.parent / "judge.toml"
    judge.write_text(judge.read_text() + 'api_key_env = "NOBODYS_KEY"\n')
    done = evaluate("run", path)
    assert (done.returncode, server.calls) == (1, [])
    assert "set NOBODYS_KEY" in done.stderr


@pytest.mark.slow
def test_example_runs_offline_and_is_written_up(evaluate, tmp_path):
    folder = tmp_path / "examples"
    shutil.copytree(Path(__file__).parents[2] / "examples", folder)
    for path, count in (("questions", 8), ("conversations", 3)):  # the first of each
        data = folder / "plan" / f"{path}.jsonl"
        data.write_text("".join(data.read_text().splitlines(keepends=True)[:count]))
    done = evaluate("run", folder / "plan.toml", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    told = evaluate("report", tmp_path / "out")
    assert told.returncode == 0, told.stderr
    page = Path(told.stdout.strip())
    pictures = {path.stem for path in page.parent.glob("*.png")}
    drawn = {path.stem: path.read_text() for path in page.parent.glob("*.svg")}
    assert set(drawn) == pictures
    assert not [name for name, svg in drawn.items() if "mathdefault" in svg]  # unread TeX
    for kind in ("proposers", "roles", "collaborativeness", "depth", "ranker"):
        assert f"alpaca_eval-{kind}-six" in pictures
    for kind in ("quality", "pareto-cost", "pareto-operations", "correlation"):
        assert {f"{name}-{kind}" for name in ("alpaca_eval", "mt_bench", "flask")} <= pictures
    assert "flask-skills" in pictures
    assert "offline:overlap is not a language model" in page.read_text()


def test_plan_of_table_2_is_valid(evaluate):
    plan = Path(__file__).parents[2] / "examples" / "table2.toml"
    told = json.loads(evaluate("estimate", plan, "--json").stdout)
    assert told["total"]["unpriced"] == []
    assert told["total"]["cost"] > 100
