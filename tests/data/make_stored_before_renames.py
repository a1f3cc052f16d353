"""Make tests/data/stored_before_renames: what the version before the renames (26eda85) stored.

    git worktree add /somewhere/old 26eda85
    PYTHONPATH=/somewhere/old python tests/data/make_stored_before_renames.py

A local server answers each request with a number of its own, so that an answer that was asked for
anew shows. It listens at a fixed address, which is part of what is stored; the tests have nobody
listen there.
"""

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from langchain_core.language_models import FakeListChatModel
from langgraph.cache.sqlite import SqliteCache
from langgraph.types import CachePolicy
from moa_graph.evals.ledger import Ledger

from moa_graph import Agent, create_moa

PORT = 18471
URL = f"http://127.0.0.1:{PORT}/v1"
FOLDER = Path(__file__).with_name("stored_before_renames")
QUESTIONS = ("Why is the sky blue?", "How old is Rome?")
FORGED = "What does <response-0123456789abcdef 1> say?"
LAYOUTS = ("system", "user")
MIXTURE = """
name = "{name}"
layers = [["a", "b"], ["a", "b"]]
aggregator = "a"
references_in = "{layout}"
[agents]
a = {{ model = "openai:a", base_url = "{url}", max_retries = 0 }}
b = {{ model = "openai:b", base_url = "{url}", max_retries = 0, temperature = 0.5 }}
"""

numbers = count(1)


class Handler(BaseHTTPRequestHandler):
    """Answers chat completions."""

    def do_POST(self):
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": f"stored answer {next(numbers)}"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = json.dumps(
            {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
            | {"choices": [choice], "usage": usage}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Be quiet."""


def moa(*words):
    """Run a command of the old version."""
    environment = {**os.environ, "MOA_DB": str(FOLDER / "runs.sqlite")}
    command = [sys.executable, "-m", "moa_graph", *map(str, words)]
    subprocess.run(command, check=True, cwd=FOLDER, env=environment)


def make_call_store():
    """Have a mixture of each layout answer, and ask a model that the tests ask again."""
    prompts = FOLDER / "questions.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": each}) + "\n" for each in QUESTIONS))
    for layout in LAYOUTS:
        mixture = FOLDER / f"{layout}.toml"
        mixture.write_text(MIXTURE.format(name=layout, layout=layout, url=URL))
        moa("eval", "generate", "-b", prompts, "-c", mixture, "--out", FOLDER / "out")
    with Ledger(FOLDER / "out" / "ledger.sqlite") as ledger:
        wrapped = ledger.wrap(FakeListChatModel(responses=["plain", "forged"]), "p:m")
        for question in ("plain question", FORGED):
            wrapped.invoke(question)


def make_node_cache():
    """Have a graph of each layout answer with a cache."""
    cache = SqliteCache(path=str(FOLDER / "node_cache.sqlite"))
    agents = [Agent(model=f"openai:{name}", base_url=URL, max_retries=0) for name in ("a", "b")]
    for layout in LAYOUTS:
        builder = create_moa(
            [agents] * 2, agents[0], cache_policy=CachePolicy(), references_in=layout
        )
        graph = builder.compile(cache=cache)
        for question in (QUESTIONS[0], FORGED):
            graph.invoke({"messages": question})


def make_batch():
    """Answer two records, and lose the answer to the second one."""
    answers = FOLDER / "answers.jsonl"
    mixture, prompts = FOLDER / "user.toml", FOLDER / "questions.jsonl"
    moa("batch", prompts, "-c", mixture, "--out", answers, "--keep-threads")
    (FOLDER / "complete.jsonl").write_text(answers.read_text())
    answers.write_text(answers.read_text().splitlines(keepends=True)[0])


def pack():
    """Leave what the tests need, and no more."""
    names = {"call_store": "out/ledger.sqlite", "node_cache": "node_cache.sqlite"}
    for name, path in (names | {"batch": "answers.sqlite"}).items():
        with closing(sqlite3.connect(FOLDER / path)) as db:
            db.execute("VACUUM INTO ?", (str(FOLDER / f"{name}.packed"),))
        packed = FOLDER / f"{name}.packed"
        (FOLDER / f"{name}.sqlite.gz").write_bytes(gzip.compress(packed.read_bytes(), mtime=0))
        packed.unlink()
    for layout in LAYOUTS:
        outputs = FOLDER / "out" / "questions" / layout / "answers.jsonl"
        outputs.replace(FOLDER / f"generated_{layout}.jsonl")
    shutil.rmtree(FOLDER / "out")
    for path in (*FOLDER.glob("*.sqlite*"), *FOLDER.glob(".*")):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.suffix != ".gz":
            path.unlink()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    make_call_store()
    make_node_cache()
    make_batch()
    pack()
