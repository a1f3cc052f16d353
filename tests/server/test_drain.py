"""SIGTERM: runs end, no more are started, and a second signal does not wait."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import Serving, http
from waiting import PATIENCE, wait_for

CHAT = "/v1/chat/completions"
BODY = {"model": "mine", "messages": [{"role": "user", "content": "q"}]}


@pytest.mark.parametrize("stream", [True, False])
def test_runs_end_and_no_more_are_started(stream, mixture, server, gate):
    server.model("w", reply="the final answer")
    with Serving(mixture, drain=PATIENCE) as serving, ThreadPoolExecutor() as pool, gate:
        asked = pool.submit(http.post, serving.url + CHAT, json=BODY | {"stream": stream})
        wait_for(lambda: server.calls_of("a"))
        serving.signal(signal.SIGTERM)
        wait_for(lambda: serving.service.is_stopping)
        health, refused = (
            http.get(f"{serving.url}/health"),
            http.post(serving.url + CHAT, json=BODY),
        )
        models = http.get(f"{serving.url}/v1/models")
        gate.set()
        answer = asked.result()
    assert (health.status_code, health.json()) == (503, {"status": "draining"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
    assert refused.headers["retry-after"]
    assert refused.headers["connection"] == "close"
    assert models.status_code == 200
    assert answer.status_code == 200
    assert "answer" in answer.text
    assert len(server.calls_of("a")) == 1


@pytest.mark.parametrize(
    ("signals", "drain"),
    [
        ([signal.SIGTERM], 0.2),
        ([signal.SIGTERM, signal.SIGTERM], PATIENCE),
        ([signal.SIGTERM, signal.SIGINT], PATIENCE),
        ([signal.SIGINT], PATIENCE),
        ([signal.SIGTERM], 0.0),
    ],
)
def test_runs_are_cancelled_when_the_time_is_over_or_somebody_will_not_wait(
    signals, drain, mixture, server, gate
):
    with Serving(mixture, drain=drain) as serving, ThreadPoolExecutor() as pool, gate:
        asked = pool.submit(http.post, serving.url + CHAT, json=BODY)
        wait_for(lambda: server.calls_of("a"))
        for each in signals:
            serving.signal(each)
        response = asked.result()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "stopping")
    wait_for(lambda: server.calls_of("a")[0].ended)
    assert not server.calls_of("a")[0].answered


def test_server_without_runs_does_not_wait(mixture):
    with Serving(mixture, drain=PATIENCE * 10) as serving:
        assert http.get(f"{serving.url}/health").json() == {"status": "ok"}
        serving.signal(signal.SIGTERM)
