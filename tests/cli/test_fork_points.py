"""`moa fork --from`: what stands around the layers is asked anew by itself."""

import json

import pytest

QUESTION = "Where is it?"
WINDOWS = 'aggregation = "sequential"\nreferences_per_window = 1\n'
VOTE = 'aggregation = "vote"\nvoters = { v = "openai:v", w = "openai:w" }\n'
ANALYSIS = 'analysis = "openai:analyst"\n'
ROUTER = '[router]\nmodel = "openai:chooser"\neasy = "openai:easy"\n'
PROPOSERS = ("a", "b", "c")


def reply(body):
    last = body["messages"][-1]["content"]
    if "Rank all" in last:
        return "3 > 1 > 2"
    return json.dumps({"consensus": ["All say so."]}) if body["model"] == "analyst" else "an answer"


@pytest.fixture
def asked(moa, server, tmp_path, monkeypatch):
    """Ask a mixture with options, then fork the thread; say who was asked for the fork."""
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    server.model("*", reply=reply)
    server.model("chooser", reply='{"route": "full"}')
    path = tmp_path / "mixture.toml"

    def fork(options, *words):
        models = ", ".join(f'"openai:{name}"' for name in PROPOSERS)
        path.write_text(f'layers = [[{models}]]\naggregator = "openai:last"\n{options}')
        done = moa("ask", QUESTION, "--config", path, "-t", "t")
        assert done.returncode == 0, done.stderr
        before = len(server.calls)
        done = moa("fork", "t", "--from", *words)
        assert done.returncode == 0, done.stderr
        return sorted(call.model for call in server.calls[before:]), done

    return fork


@pytest.fixture
def local_mixture(server, tmp_path):
    """The file of a mixture whose layer needs all answers."""
    agents = "".join(
        f'{name} = {{ model = "openai:{name}", base_url = "{server.url}", max_retries = 0 }}\n'
        for name in (*PROPOSERS, "last")
    )
    path = tmp_path / "mixture.toml"
    head = f'layers = [{[*PROPOSERS]}]\naggregator = "last"\nquorum = 1.0\n[agents]\n'
    path.write_text(f"{head}{agents}")
    return path


@pytest.mark.parametrize(
    ("options", "start", "calls"),
    [
        (WINDOWS, "window_1", ["last"] * 3),
        (WINDOWS, "window_2", ["last"] * 2),
        (WINDOWS, "aggregator", ["last"]),
        (VOTE, "votes", ["v", "w"]),
        (VOTE, "vote_w", ["w"]),
        (VOTE, "aggregator", []),
        (f"{VOTE}finalists = 2\n", "vote_v", ["last", "v"]),
        (f"{VOTE}finalists = 2\n{ANALYSIS}", "analysis", ["analyst", "last"]),
        (f"{VOTE}finalists = 2\n{ANALYSIS}", "votes", ["analyst", "last", "v", "w"]),
        (ANALYSIS, "analysis", ["analyst", "last"]),
        (ANALYSIS, "aggregator", ["last"]),
        (ROUTER, "router", ["a", "b", "c", "chooser", "last"]),
        (ROUTER, "layer_1", ["a", "b", "c", "last"]),
    ],
)
def test_what_is_before_is_taken_over(options, start, calls, asked):
    models, done = asked(options, start)
    assert models == calls
    assert f"({len([m for m in calls if m != 'chooser'])} call" in done.stderr


def test_a_part_that_the_mixture_does_not_have_is_refused(moa, asked):
    asked(ANALYSIS, "analysis")
    done = moa("fork", "t", "--from", "window_1")
    assert "no layer 'window_1'; expected one of: layer_1, analysis, aggregator" in done.stderr


def test_a_chat_redoes_an_analysis(moa, asked, server, tmp_path):
    asked(ANALYSIS, "analysis")
    before = len(server.calls)
    path = tmp_path / "mixture.toml"
    done = moa("chat", "--config", path, stdin=f"{QUESTION}\n/redo analysis\n")
    assert done.returncode == 0, done.stderr
    counts = [call.model for call in server.calls[before:]]
    assert sorted(counts) == ["a", "analyst", "analyst", "b", "c", "last", "last"]


def test_an_answer_is_written_again_with_a_larger_limit(asked, server):
    models, _ = asked("max_tokens = 4\n", "aggregator", "--max-tokens", "64")
    assert models == ["last"]
    limits = [call.body["max_completion_tokens"] for call in server.calls_of("last")]
    assert limits == [4, 64]


def test_a_layer_without_its_quorum_goes_on_without_those_that_failed(moa, server, local_mixture):
    server.model("b", always=500)
    assert moa("ask", QUESTION, "--config", local_mixture, "-t", "t").returncode
    before = len(server.calls)
    done = moa("fork", "t", "--from", "aggregator", "--drop", "b")
    assert done.returncode == 0, done.stderr
    assert [call.model for call in server.calls[before:]] == ["last"]
