"""Use what one extra is for, in an environment that has no other; `.ci/extra` makes it."""

import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

MOA = Path(sys.executable).parent / "moa"


def ask() -> dict[str, object]:
    """Ask a mixture of offline models."""
    from moa_graph import create_moa

    mixture = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus").compile()
    result = mixture.invoke({"messages": "What is a proposer?"})
    assert result["messages"][-1].text, result
    return result


def run_agent() -> None:
    """Run an agent with layers in front of its model."""
    from langchain.agents import create_agent
    from langchain_core.language_models import FakeListChatModel

    from moa_graph import MoAMiddleware

    panel = MoAMiddleware([["offline:lead", "offline:bm25"]])
    agent = create_agent(FakeListChatModel(responses=["an answer"]), middleware=[panel])
    answer = agent.invoke({"messages": "What is a proposer?"})["messages"][-1]
    assert answer.response_metadata["moa"]["answered"] == 2, answer


def write_report() -> None:
    """Write a report and a picture of a run."""
    from moa_graph import create_moa, report

    mixture = create_moa([["offline:lead", "offline:bm25"]], "offline:consensus")
    assert "<svg" in report(ask(), mixture)


def run_moa(*words: str) -> None:
    """Run a command."""
    done = subprocess.run([MOA, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def use_command_line() -> None:
    """Ask, show, and write a report."""
    run_moa("ask", "What is a proposer?", "--preset", "offline", "--thread", "t")
    run_moa("show", "t")
    run_moa("report", "t", "--out", tempfile.mkdtemp() + "/run.html")


def evaluate() -> None:
    """Generate, judge, score and draw."""
    out = tempfile.mkdtemp()
    questions = Path(out) / "questions.jsonl"
    questions.write_text('{"instruction": "Name a colour.", "output": "Blue is a colour."}\n' * 2)
    run_moa("eval", "generate", "-b", str(questions), "-p", "offline", "--out", out)
    run_moa("eval", "judge", out, "--judge", "offline:overlap")
    run_moa("eval", "score", out)
    run_moa("eval", "report", out)


def store_in_postgres() -> None:
    """Name a server that does not answer: the driver is there, and says so."""
    from langgraph.checkpoint.postgres import PostgresSaver
    from psycopg import OperationalError

    try:
        with PostgresSaver.from_conn_string("postgresql://127.0.0.1:1/moa"):
            pass
    except OperationalError:
        return
    raise AssertionError("nobody listens there")


def run_batch_on_ray() -> None:
    """Import what starts a cluster: tests marked `ray` start one."""
    import ray.data

    from moa_graph.batch.ray import driver

    assert driver, ray.data


def read_address(server: "subprocess.Popen[str]") -> str:
    """Read where a server listens."""
    assert server.stderr
    words = (word for line in server.stderr for word in line.split())
    address = next(word for word in words if "http://" in word and "/v1" in word)
    return "/".join(address.split("/")[:3])


def serve() -> None:
    """Start a server, and ask how it is."""
    words = [MOA, "serve", "--preset", "offline", "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            with urllib.request.urlopen(f"{read_address(server)}/health", timeout=30) as response:
                assert response.status == 200, response.status
        finally:
            server.terminate()


def answer_as_anthropic() -> None:
    """Start a server, and ask it by Anthropic's client."""
    from anthropic import Anthropic

    words = [MOA, "serve", "--preset", "offline", "--port", "0", "--no-auth"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            asked = [{"role": "user", "content": "What is a proposer?"}]
            client = Anthropic(base_url=read_address(server), api_key="any", max_retries=0)
            answer = client.messages.create(model="offline", max_tokens=99, messages=asked)
            assert answer.content[0].text, answer
        finally:
            server.terminate()


def offer_tools() -> None:
    """Start a server of tools, and end it as a host does: by closing its standard input."""
    run_moa("mcp", "--preset", "offline")
    from moa_graph.server.mcp_app import MCP_PATH

    assert MCP_PATH == "/mcp"


def count_runs() -> None:
    """Make metrics, and write them."""
    from moa_graph.telemetry.metrics import RunMetrics

    content, _ = RunMetrics({}).encode()
    assert b"moa_runs" in content, content


def trace_a_run() -> None:
    """Ask under a handler that has no SDK."""
    from moa_graph import OpenTelemetryHandler, create_moa

    mixture = create_moa([["offline:lead"]], "offline:consensus").compile()
    mixture.invoke({"messages": "What is a proposer?"}, {"callbacks": [OpenTelemetryHandler()]})


USES: dict[str, Callable[[], object]] = {
    "agents": run_agent,
    "anthropic": answer_as_anthropic,
    "base": ask,
    "report": write_report,
    "cli": use_command_line,
    "eval": evaluate,
    "mcp": offer_tools,
    "metrics": count_runs,
    "otel": trace_a_run,
    "postgres": store_in_postgres,
    "ray": run_batch_on_ray,
    "serve": serve,
}

if __name__ == "__main__":
    USES[sys.argv[1]]()
