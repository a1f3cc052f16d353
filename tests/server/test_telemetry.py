"""Metrics and traces of the server, over real HTTP."""

import sys

import httpx2 as http
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from serving import Serving, memory_store
from waiting import wait_for

from moa_graph import MoAConfig
from moa_graph.cli.actions.serve import TelemetryOptions
from moa_graph.cli.errors import CommandError
from moa_graph.config.single import SingleModel
from moa_graph.server.service import ServerLimits

LABELS = ("mixture", "layer", "agent", "outcome", "kind", "error")
CHAT = "/v1/chat/completions"
BODY = {"model": "mine", "messages": [{"role": "user", "content": "q"}]}
KEY = "MARKED-9f3b77c1d2-KEY"


@pytest.fixture
def mixture(server):
    def agent(name):
        return {"model": f"openai:{name}", "base_url": server.url, "max_retries": 0}

    return MoAConfig(
        name="mine", layers=[{"a": agent("a"), "b": agent("b")}], aggregator=agent("w")
    )


def read_metrics(serving, **options):
    text = http.get(f"{serving.url}/metrics", **options).text
    return {
        (sample.name, *map(sample.labels.get, filter(sample.labels.get, LABELS))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("stream", [False, True])
def test_metrics_count_the_runs_of_the_api(stream, mixture, server):
    server.model("b", always=400)
    with Serving(mixture, telemetry={"metrics": True}) as serving:
        http.post(f"{serving.url}{CHAT}", json=BODY | {"stream": stream})
        told = read_metrics(serving)
    assert told["moa_runs_total", "mine", "degraded"] == 1
    assert told["moa_calls_total", "mine", "1", "a", "answered"] == 1
    assert told["moa_call_failures_total", "mine", "1", "b", "400"] == 1
    assert told["moa_tokens_total", "mine", "input"] > 0
    assert told["moa_running_runs",] == 0


def test_metrics_count_the_runs_of_a_model_by_itself(mixture):
    titles = SingleModel(name="titles", aggregator=mixture.aggregator)
    with Serving(mixture, titles, telemetry={"metrics": True}) as serving:
        http.post(f"{serving.url}{CHAT}", json=BODY | {"model": "titles"})
        told = read_metrics(serving)
    assert told["moa_runs_total", "titles", "answered"] == 1
    assert told["moa_calls_total", "titles", "aggregator", "aggregator", "answered"] == 1


def test_failed_stream_is_a_failed_run(mixture, server):
    server.model("w", always="truncate")
    with Serving(mixture, telemetry={"metrics": True}) as serving:
        http.post(f"{serving.url}{CHAT}", json=BODY | {"stream": True})
        assert read_metrics(serving)["moa_runs_total", "mine", "failed"] == 1


def test_run_of_the_page_is_counted(mixture, server):
    with Serving(mixture, store=memory_store(), telemetry={"metrics": True}) as serving:
        http.post(f"{serving.url}/api/ask", json={"question": "q"})
        wait_for(lambda: ("moa_runs_total", "mine", "answered") in read_metrics(serving))


def test_run_that_goes_on_and_one_whose_client_hangs_up_are_seen(mixture, server):
    server.model("b", always="hang")
    with Serving(mixture, telemetry={"metrics": True}) as serving:
        with http.stream("POST", f"{serving.url}{CHAT}", json=BODY | {"stream": True}):
            wait_for(lambda: server.calls_of("b"))
            assert read_metrics(serving)["moa_running_runs",] == 1
        wait_for(lambda: ("moa_runs_total", "mine", "cancelled") in read_metrics(serving))
        assert read_metrics(serving)["moa_running_runs",] == 0


def test_run_in_the_queue_waits(mixture, server):
    server.model("b", always="hang")
    limits = ServerLimits(runs=1, queue=1)
    with Serving(mixture, limits=limits, telemetry={"metrics": True}) as serving:
        ask = {"method": "POST", "url": f"{serving.url}{CHAT}", "json": BODY | {"stream": True}}
        with http.stream(**ask), http.stream(**ask):
            wait_for(lambda: server.calls_of("b"))
            wait_for(lambda: read_metrics(serving)["moa_waiting_runs",] == 1)
            assert read_metrics(serving)["moa_running_runs",] == 1


def test_metrics_are_told_to_who_has_a_key_and_where_they_are_asked_for(mixture):
    with Serving(mixture, api_key=KEY, telemetry={"metrics": True}) as serving:
        assert http.get(f"{serving.url}/metrics").status_code == 401
        headers = {"authorization": f"Bearer {KEY}"}
        assert read_metrics(serving, headers=headers)["moa_running_runs",] == 0
        headers |= {"accept": "application/openmetrics-text"}
        response = http.get(f"{serving.url}/metrics", headers=headers)
        assert response.headers["content-type"].startswith("application/openmetrics-text")
    with Serving(mixture) as serving:
        assert http.get(f"{serving.url}/metrics").status_code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_run_continues_the_trace_of_its_client(stream, mixture, server):
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01"}
    telemetry = {"traces": True, "tracer_provider": provider}
    with Serving(mixture, telemetry=telemetry) as serving:
        http.post(f"{serving.url}{CHAT}", json=BODY | {"stream": stream}, headers=headers)
        wait_for(exporter.get_finished_spans)
        http.post(f"{serving.url}{CHAT}", json=BODY)
    spans = exporter.get_finished_spans()
    runs = [span for span in spans if span.name == "invoke_workflow mine"]
    continued = [span for span in runs if span.parent]
    assert [f"{span.parent.span_id:016x}" for span in continued] == [span_id]
    in_trace = [span for span in spans if f"{span.context.trace_id:032x}" == trace_id]
    assert len(in_trace) == len(spans) / 2 == 7
    assert len(runs) == 2


def test_traces_without_an_sdk_are_warned_of(capsys, mixture):
    telemetry = TelemetryOptions(traces=True).create_telemetry({"mine": mixture})
    assert telemetry.has_traces
    assert "no SDK of OpenTelemetry is configured" in " ".join(capsys.readouterr().err.split())


def test_metrics_without_their_package_say_what_to_install(monkeypatch, mixture):
    monkeypatch.delitem(sys.modules, "moa_graph.telemetry.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(CommandError, match=r"pip install 'moa_graph\[metrics\]'"):
        TelemetryOptions(metrics=True).create_telemetry({"mine": mixture})
