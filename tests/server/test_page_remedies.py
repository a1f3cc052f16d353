"""What helps a turn on the page that failed or ended too early, other than to resume it."""

from contextlib import contextmanager

import httpx
import pytest
from page_client import ask, finished, refused, show, watch
from serving import Serving, memory_store
from waiting import PATIENCE

from moa_graph import MoAConfig


@pytest.fixture
def serve(local_agent):
    """Serve a mixture of two layers of `a`, `b` and `c`; `w` writes."""

    @contextmanager
    def start(**options):
        layer = {name: local_agent(name) for name in "abc"}
        data = {"layers": [layer, layer], "aggregator": local_agent("w"), **options}
        mixture = MoAConfig.model_validate(data)
        with (
            Serving(mixture, store=memory_store()) as serving,
            httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
        ):
            yield client

    return start


def cells(shown):
    return {cell["node"]: cell for cell in shown["cells"]}


def run(client, **mixture):
    """Ask, and show the thread after its run."""
    thread = ask(client, **mixture)
    watch(client, thread)
    return finished(client, thread)


def resume(client, shown, **remedy):
    response = client.post("/api/resume", json={"thread": shown["id"], **remedy})
    assert response.status_code == 200, response.text
    watch(client, shown["id"])
    return finished(client, shown["id"])


def report_of(client, shown):
    return client.get("/api/report", params={"id": shown["id"]}).text


def test_another_model_of_the_mixture_writes_where_the_aggregator_failed(
    serve, server, local_agent
):
    for name in "wx":
        server.model(name, always=500)
    with serve(fallbacks=[local_agent("x")]) as client:
        failed = run(client)
        assert failed["failure"]["aggregators"] == ["openai:x", "openai:a", "openai:b", "openai:c"]
        server.model("b", reply="what b writes")
        before = len(server.calls)
        shown = resume(client, failed, aggregator="openai:b")
        assert len(server.calls) == before + 1  # the proposals are reused
        assert shown["messages"][-1]["text"] == "what b writes"
        aggregator = cells(shown)["aggregator"]
        assert (aggregator["model"], aggregator["fallback"]) == ("openai:b", None)
        assert shown["layout"]["aggregator"] == "openai:b"
        notice = "A person had openai:b write the answer in place of openai:w"
        assert shown["notice"].startswith(notice)
        assert f"{notice}." in report_of(client, shown)
        step = next(step["id"] for step in shown["steps"] if step["label"] == "Layer 1 gathered")
        assert show(client, shown["id"], checkpoint=step)["notice"] is None


def test_failed_call_of_a_replaced_aggregator_is_reported(serve, server):
    server.model("w", always=500)
    with serve() as client:
        shown = resume(client, run(client), aggregator="openai:a")
        assert "the aggregator openai:w failed; openai:a wrote the answer." in report_of(
            client, shown
        )


def test_next_question_is_for_the_mixture_before_the_change(serve, server):
    server.model("w", faults=[500])
    with serve() as client:
        shown = resume(client, run(client), aggregator="openai:a")
        after = run(client, thread=shown["id"])
    assert after["layout"]["aggregator"] == "openai:w"
    assert "A person" not in after["notice"]


def test_model_that_the_operator_did_not_name_is_refused(serve, server):
    server.model("w", always=500)
    with serve() as client:
        shown = run(client)
        for model in ("openai:gpt-6.1-sol", "openai:w"):
            body = {"thread": shown["id"], "aggregator": model}
            words = (
                f"aggregator: no other model {model!r} in the mixture; expected one of: openai:a, "
            )
            refused(client.post("/api/resume", json=body), 400, words)
        assert show(client, shown["id"])["steps"] == shown["steps"]


def test_layer_goes_on_with_the_answers_that_it_has(serve, server):
    for name in "bc":
        server.model(name, faults=[None, 500])
    with serve(quorum=[1, 3]) as client:
        failed = run(client)
        assert failed["failure"]["answers"] == 1
        assert failed["failure"]["aggregators"] == []
        before = len(server.calls)
        shown = resume(client, failed, lower_quorum=True)
        assert len(server.calls) == before + 1  # the aggregator
        assert cells(shown)["layer_2_b"]["status"] == "failed"
        assert [layer["needed"] for layer in shown["layout"]["layers"]] == [1, 1]
        assert shown["outcome"] == "degraded"
        notice = "A person let layer 2 go on with 1 of 3 required answers"
        assert shown["notice"].startswith(notice)
        assert f"{notice}." in report_of(client, shown)


@pytest.mark.parametrize("fault", ["layer", "aggregator"])
def test_layer_without_answers_and_one_with_its_quorum_cannot_go_on_without(fault, serve, server):
    for name in "abc" if fault == "layer" else "w":
        server.model(name, always=500)
    with serve() as client:
        shown = run(client)
        assert shown["failure"]["answers"] is None
        body = {"thread": shown["id"], "lower_quorum": True}
        refused(client.post("/api/resume", json=body), 409, "lower_quorum: no layer lacks")


def test_layer_that_lost_its_quorum_can_still_be_resumed_as_before(serve, server):
    for name in "bc":
        server.model(name, faults=[500])
    with serve(quorum=3) as client:
        shown = resume(client, run(client))
    assert shown["outcome"] == "answered"
    assert "A person" not in shown["notice"]


def write_on(client, shown, **changes):
    step = next(step["id"] for step in shown["steps"] if step["label"] == "Layer 2 gathered")
    body = {"thread": shown["id"], "checkpoint": step, **changes}
    response = client.post("/api/continue", json=body)
    assert response.status_code == 200, response.text
    watch(client, shown["id"])
    return finished(client, shown["id"])


def test_answer_that_ended_at_its_limit_is_written_again_with_a_larger_one(
    serve, server, local_agent
):
    server.model("w", reply="so", finish_reason="length")
    with serve(max_tokens=100, fallbacks=[local_agent("x", max_tokens=7)]) as client:
        cut = run(client)
        assert cut["larger_limit"] == 200
        server.model("w", reply="so it is")
        before = len(server.calls)
        shown = write_on(client, cut, max_tokens=200)
        assert len(server.calls) == before + 1
        assert server.calls[-1].body["max_tokens"] == 200
        assert (shown["outcome"], shown["larger_limit"]) == ("answered", None)
        assert len(shown["branches"]) == 2
        notice = "A person had the answer written again with up to 200 tokens"
        assert shown["notice"].startswith(notice)
        report = report_of(client, shown)
        assert f"{notice}." in report
        assert "rebuilt from the proposals" not in report  # it has the checkpoints of the fork


def test_limit_of_the_provider_is_taken_for_that_of_an_answer_without_one(serve, server):
    server.model("w", reply="so", finish_reason="length")
    with serve() as client:
        shown = run(client)
        assert shown["larger_limit"] == 2 * cells(shown)["aggregator"]["written"]


def test_larger_limit_helps_no_answer_that_no_aggregator_wrote(serve, server, local_agent):
    server.model("x", reply="so", finish_reason="length")
    server.model("r", reply='{"route": "easy"}')
    with serve(router={"model": local_agent("r"), "easy": local_agent("x")}) as client:
        shown = run(client)
    assert shown["outcome"] == "degraded"
    assert shown["larger_limit"] is None


def test_limit_that_is_none_is_refused(serve):
    with serve() as client:
        shown = run(client)
        body = {"thread": shown["id"], "checkpoint": shown["steps"][4]["id"], "max_tokens": 0}
        refused(client.post("/api/continue", json=body), 400, "max_tokens")
