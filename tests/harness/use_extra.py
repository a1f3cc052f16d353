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


def serve() -> None:
    """Start a server, and ask how it is."""
    words = [MOA, "serve", "--preset", "offline", "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr
            address = next(
                word for line in server.stderr for word in line.split() if "http://" in word
            )
            base = "/".join(address.split("/")[:3])
            with urllib.request.urlopen(f"{base}/health", timeout=30) as response:
                assert response.status == 200, response.status
        finally:
            server.terminate()


def offer_tools() -> None:
    """Start a server of tools, and end it as a host does: by closing its standard input."""
    run_moa("mcp", "--preset", "offline")
    from moa_graph.server.mcp_app import MCP_PATH

    assert MCP_PATH == "/mcp"


USES: dict[str, Callable[[], object]] = {
    "base": ask,
    "report": write_report,
    "cli": use_command_line,
    "eval": evaluate,
    "mcp": offer_tools,
    "postgres": store_in_postgres,
    "ray": run_batch_on_ray,
    "serve": serve,
}

if __name__ == "__main__":
    USES[sys.argv[1]]()
