"""`moa ask` of a mixture that stops early, and what it tells."""

import json

import pytest

from moa_graph import MoAConfig

MIXTURE = """
layers = [["offline:lead", "offline:lead"], ["offline:lead"], ["offline:lead"]]
aggregator = "offline:consensus"
"""
QUESTION = "Where is it? It is under the tree."


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(f"{MIXTURE}early_stop = 0.9\n")
    return path


def test_a_file_sets_it(moa, path):
    done = moa("ask", QUESTION, "--config", path, "--json")
    depth = json.loads(done.stdout)["moa"]["depth"]
    assert (depth["layers"], depth["of"], depth["skipped"]) == (1, 3, 2)


def test_an_option_sets_it_and_show_tells(moa, tmp_path):
    (tmp_path / "plain.toml").write_text(MIXTURE)
    plain = tmp_path / "plain.toml"
    done = moa("ask", QUESTION, "--config", plain, "--early-stop", "0.9", "--show", "-t", "t")
    told = "1 of 3 layers run: agreement 1.00, at least 0.9"
    assert told in done.stdout
    assert "agreement 1.00 (by vote)" in done.stdout
    assert told in moa("show", "t").stdout
    assert "2 of 2 proposals answered" in moa("show", "t").stdout


def test_an_option_without_a_mixture_is_refused(moa):
    done = moa("ask", QUESTION, "--thread", "t", "--early-stop", "0.9")
    assert done.returncode == 1
    assert "--early-stop with --thread: add --preset or --config" in done.stderr


@pytest.mark.parametrize("value", ["0", "2", "true", '"yes"', "-0.5"])
def test_a_figure_that_is_none_is_refused_in_a_file(value, tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(f"early_stop = {value}\n{MIXTURE}")
    with pytest.raises(ValueError, match=r"early_stop: expected a number above 0 and at most 1"):
        MoAConfig.load(path)


def test_shadow_in_a_file_is_told(moa, path):
    path.write_text(f"early_stop = 0.9\nshadow = true\n{MIXTURE}")
    done = moa("ask", QUESTION, "--config", path, "--show")
    assert "would have stopped after 1 (agreement 1.00, at least 0.9)" in done.stdout


def test_a_fork_goes_on_with_the_layer_that_was_not_asked(moa, path):
    moa("ask", QUESTION, "--config", path, "-t", "t")
    done = moa("fork", "t", "--from", "layer_2", "--json")
    told = json.loads(done.stdout)
    assert told["moa"]["depth"]["layers"] == 3
    assert {"layer_2_lead", "layer_3_lead"} <= set(told["proposals"])


def test_a_chat_redoes_a_layer_that_was_not_asked(moa, path):
    done = moa("chat", "--config", path, stdin=f"{QUESTION}\n/redo layer_2\n/show all\n")
    assert "layer_2_lead" in done.stdout + done.stderr


@pytest.mark.parametrize("options", [[], ["--aggregator", "offline:bm25"]])
def test_a_fork_has_the_aggregator_write_anew_after_an_early_stop(options, moa, path):
    moa("ask", QUESTION, "--config", path, "-t", "t")
    done = moa("fork", "t", "--from", "aggregator", *options, "--json")
    told = json.loads(done.stdout)
    depth = told["moa"]["depth"]
    assert (depth["layers"], depth["why"]) == (1, "agreement 1.00, at least 0.9")
    assert told["moa"]["aggregator"] == (options or ["", "offline:consensus"])[1]


def test_a_chat_has_the_aggregator_write_anew_after_an_early_stop(moa, path):
    done = moa("chat", "--config", path, stdin=f"{QUESTION}\n/redo aggregator\n/show\n")
    assert done.returncode == 0, done.stderr
    assert "1 of 3 layers run: agreement 1.00, at least 0.9" in done.stdout + done.stderr


@pytest.fixture
def routed(path, server, monkeypatch):
    """A mixture whose router sends every question past the layers."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    server.model("chooser", reply='{"route": "easy"}')
    router = '[router]\nmodel = "openai:chooser"\neasy = "offline:lead"\n'
    path.write_text(f"{MIXTURE}{router}")
    return path


def test_a_fork_from_the_first_layer_asks_it_whatever_the_router_said(moa, routed, server):
    moa("ask", QUESTION, "--config", routed, "-t", "t")
    done = moa("fork", "t", "--from", "layer_1", "--json")
    depth = json.loads(done.stdout)["moa"]["depth"]
    assert (depth["layers"], depth["route"]) == (3, "full")
    assert len(server.calls_of("chooser")) == 1


def test_a_chat_redoes_the_first_layer_whatever_the_router_said(moa, routed, server):
    lines = [QUESTION, "/redo layer_1", "/show", "And the tree? It is green.", "/redo", "/show"]
    done = moa("chat", "--config", routed, stdin="".join(f"{line}\n" for line in lines))
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert "3 of 3 layers run: layer_1 was requested" in told
    assert "0 of 3 layers run: openai:chooser: easy" in told
    assert len(server.calls_of("chooser")) == 3


def test_a_chat_says_which_layer_was_not_asked(moa, routed):
    done = moa("chat", "--config", routed, stdin=f"{QUESTION}\n/redo layer_2\n")
    assert "moa: there are no proposals of layer 1 to start from\n" in done.stderr
