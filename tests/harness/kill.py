"""Kill real programs at random moments, resume them, and compare.

    python tests/harness/kill.py --kills 200

runs `moa ask` (in a pseudo-terminal, so that the answer streams) and a host program against the
test server, over SQLite and PostgreSQL, and sends SIGKILL in layer 1, in the layer aggregator, in
layer 2, in the aggregator's stream, and while an answer is being stored. After each kill it reads
what the database holds, resumes, and checks: no call whose answer was stored is made again,
nothing is lost or doubled in the state, and the final answer is the one of an undisturbed run.
"""

import argparse
import asyncio
import hashlib
import os
import pty
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg
from fakes import FakeModel
from host import host
from langchain_core.messages import convert_to_openai_messages
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from postgres import postgres_server
from server import Call, ChatServer
from waiting import wait_for

from moa_graph import MoAConfig, create_moa

MOA = Path(sys.executable).parent / "moa"
HOST = Path(__file__).parent / "host.py"
PHASES = ("layer 1", "layer aggregator", "layer 2", "stream", "write")
PROPOSERS = ("a", "b", "c")
PATIENCE = 300  # seconds for a run to end: a busy machine is no finding
NODES = [f"layer_{layer}_{name}" for layer in (1, 2) for name in PROPOSERS]


def reply(body: dict[str, Any]) -> str:
    """Answer what depends on all that was read, so that a run that went astray shows."""
    read = [(message["role"], message["content"]) for message in body["messages"]]
    digest = hashlib.sha256(str(read).encode()).hexdigest()[:8]
    return " ".join([body["model"], digest, *(f"word{n}" for n in range(12))])


class Trial:
    """One thread: started, killed, perhaps killed again, resumed to its end, and compared."""

    def __init__(self, harness: "Harness", number: int, phase: str) -> None:
        self.harness, self.phase = harness, phase
        self.thread = f"thread-{number}"
        self.program = ("moa", "host")[number % 2]
        self.database = ("sqlite", "postgres")[number // 2 % 2]
        self.db = harness.databases[self.database](number)
        self.kills = self.repeated = 0
        self.twice: list[str] = []
        self.mistakes: list[str] = []

    def run(self) -> None:
        """Kill and resume."""
        process = self.start()
        self.kill(process, self.phase)
        while self.harness.random.random() < 0.25:
            self.check_stored_are_not_asked_again(lambda: self.kill(self.start(), "any"))
        self.check_stored_are_not_asked_again(self.finish)
        self.compare()

    def start(self) -> subprocess.Popen:
        """Start or resume the program."""
        known = bool(self.calls())
        if self.program == "host":
            words = [sys.executable, HOST, self.harness.config, self.db, self.thread, self.thread]
            return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ask = ["ask", self.thread, "--config", self.harness.config, "--thread", self.thread]
        words = [MOA, *(["resume", self.thread] if known else ask), "--db", self.db]
        master, terminal = pty.openpty()
        process = subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.harness.drain(master)
        return process

    def kill(self, process: subprocess.Popen, phase: str) -> None:
        """Wait for a phase, and for a random moment in it; then kill."""
        answered = self.harness.random.randrange(7)
        begun = {
            "layer 1": lambda: len(self.calls()) >= 1,
            "layer aggregator": lambda: self.answered() >= 3,
            "layer 2": lambda: len(self.calls()) >= 4,
            "stream": lambda: any(call.model == "w" for call in self.calls()),
            "write": lambda: self.answered() > answered,
            "any": lambda: len(self.calls()) > 0,
        }[phase]
        spread = {"layer aggregator": 0.03, "write": 0.02, "any": 2.5}.get(phase, 0.25)
        while process.poll() is None and not begun():
            time.sleep(0.001)
        time.sleep(self.harness.random.uniform(0, spread))
        if process.poll() is None:
            process.kill()
            self.kills += 1
        process.wait()

    def finish(self) -> None:
        """Resume to the end."""
        process = self.start()
        try:
            if process.wait(PATIENCE):
                self.mistakes.append(f"exit code {process.returncode}")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            self.mistakes.append("did not end")

    def check_stored_are_not_asked_again(self, go_on: Callable[[], None]) -> None:
        """See what the database holds, let the program go on, and look at its calls."""
        self.harness.server.settle(self.calls)
        if self.database == "postgres":
            self.harness.wait_for_connections(self.thread)
        stored, before = self.stored(), Counter(map(node_of, self.calls()))
        go_on()
        after = Counter(map(node_of, self.calls()))
        for node in after:
            if before[node] and after[node] > before[node]:
                self.twice += [node] if node in stored else []
                self.repeated += node not in stored

    def stored(self) -> set[str]:
        """Name the nodes whose answers the database holds."""
        values, tasks = self.state()
        found = set(values.get("proposals", {}))
        for task in tasks:
            found |= set((task.result or {}).get("proposals", {}))
            found |= {"aggregator"} if (task.result or {}).get("messages") else set()
        if values.get("messages") and values["messages"][-1].type == "ai":
            found.add("aggregator")
        return found

    def state(self) -> tuple[dict[str, Any], tuple[Any, ...]]:
        """Read the mixture's state from the database."""
        saver_type = PostgresSaver if self.database == "postgres" else SqliteSaver
        config = {"configurable": {"thread_id": self.thread}}
        with saver_type.from_conn_string(self.db) as saver:
            if self.program == "moa":
                graph = MoAConfig.load(self.harness.config).graph().compile(checkpointer=saver)
                snapshot = graph.get_state(config)
                return snapshot.values, snapshot.tasks
            graph = host(self.harness.config).compile(checkpointer=saver)
            snapshot = graph.get_state(config, subgraphs=True)
            inner = snapshot.tasks[0].state if snapshot.tasks else None
            if inner is None:
                return snapshot.values, ()
            return inner.values, (*inner.tasks, *snapshot.tasks)

    def compare(self) -> None:
        """Hold the end against that of an undisturbed run."""
        values, _ = self.state()
        messages = values.get("messages", [])
        if [message.type for message in messages] != ["human", "ai"]:
            self.mistakes.append(f"messages: {[message.type for message in messages]}")
        elif messages[-1].text != expected(self.thread)["aggregator"]:
            self.mistakes.append(f"another answer: {messages[-1].text!r}")
        if self.program == "moa":
            proposals = {node: p["content"] for node, p in values["proposals"].items()}
            if proposals != {node: expected(self.thread)[node] for node in NODES}:
                self.mistakes.append(f"other proposals: {sorted(proposals)}")

    def calls(self) -> list[Call]:
        """Give the calls of this thread."""
        return [
            call
            for call in list(self.harness.server.calls)
            if call.messages[-1]["content"] == self.thread
        ]

    def answered(self) -> int:
        return sum(call.answered for call in self.calls())


def node_of(call: Call) -> str:
    """Tell which node made a call."""
    if call.model == "w":
        return "aggregator"
    return f"layer_{2 if call.messages[0]['role'] == 'system' else 1}_{call.model}"


def expected(question: str) -> dict[str, str]:
    """Work out what an undisturbed run gives: the same graph, over fake models."""

    class Replying(FakeModel):
        def _answer(self, messages: list[Any]) -> Any:
            return reply({"model": self.name, "messages": convert_to_openai_messages(messages)})

    layer = {name: Replying(name=name) for name in PROPOSERS}
    result = create_moa([layer] * 2, Replying(name="w")).compile().invoke({"messages": question})
    texts = {node: proposal["content"] for node, proposal in result["proposals"].items()}
    return texts | {"aggregator": result["messages"][-1].text}


class Harness:
    """The server, the databases, and the trials."""

    def __init__(self, folder: Path, server: ChatServer, postgres: str, seed: int) -> None:
        self.server, self.postgres, self.random = server, postgres, random.Random(seed)
        for model, latency in (("a", 0.02), ("b", 0.12), ("c", 0.25)):
            server.model(model, latency=latency, reply=reply)
        server.model("w", latency=0.05, chunk_delay=0.02, reply=reply)
        agents = "".join(
            f'{name} = {{ model = "openai:{name}", base_url = "{server.url}" }}\n'
            for name in (*PROPOSERS, "w")
        )
        layer = list(PROPOSERS)
        self.config = folder / "mixture.toml"
        self.config.write_text(f'layers = [{layer}, {layer}]\naggregator = "w"\n[agents]\n{agents}')
        with PostgresSaver.from_conn_string(postgres) as saver:
            saver.setup()
        self.databases = {
            "sqlite": lambda number: str(folder / f"{number}.sqlite"),
            "postgres": lambda number: f"{postgres}&application_name=thread-{number}",
        }

    def run(self, kills: int) -> list[Trial]:
        """Run trials until there were so many kills, two at a time."""
        trials: list[Trial] = []

        async def worker() -> None:
            while sum(trial.kills for trial in trials) < kills:
                number = len(trials)
                trials.append(trial := Trial(self, number, PHASES[number // 4 % len(PHASES)]))
                await asyncio.to_thread(trial.run)

        async def all_workers() -> None:
            await asyncio.gather(*(worker() for _ in range(os.cpu_count() or 1)))

        asyncio.run(all_workers())
        return trials

    def wait_for_connections(self, thread: str) -> None:
        """Wait until PostgreSQL knows that a program is dead: until then its thread is locked."""
        open_ones = "SELECT FROM pg_stat_activity WHERE application_name = %s"
        with psycopg.connect(self.postgres, autocommit=True) as database:
            wait_for(lambda: not database.execute(open_ones, (thread,)).rowcount)

    def drain(self, terminal: int) -> None:
        """Read what a terminal shows, so that its program does not block."""

        def read() -> None:
            with suppress(OSError):
                while os.read(terminal, 65536):
                    pass
            os.close(terminal)

        threading.Thread(target=read, daemon=True).start()


def report(trials: list[Trial]) -> int:
    """Print the figures; give the number of failures."""
    kills: Counter[tuple[str, str, str]] = Counter()
    for trial in trials:
        kills[trial.program, trial.database, trial.phase] += trial.kills
    for (program, database, phase), count in sorted(kills.items()):
        print(f"{program:5} {database:9} {phase:8} {count:4} kills")
    twice = [(trial.thread, node) for trial in trials for node in trial.twice]
    wrong = [(trial.thread, trial.mistakes) for trial in trials if trial.mistakes]
    print(f"kills: {sum(kills.values())} in {len(trials)} runs")
    repeated = sum(trial.repeated for trial in trials)
    print(f"calls in flight or not yet stored when killed, made again: {repeated}")
    print(f"calls made twice although their answer was stored: {len(twice)} {twice or ''}")
    print(f"runs that did not end the same: {len(wrong)} {wrong or ''}")
    return len(twice) + len(wrong)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        ChatServer() as server,
        postgres_server() as postgres,
    ):
        harness = Harness(Path(folder), server, postgres.address(), options.seed)
        sys.exit(bool(report(harness.run(options.kills))))


if __name__ == "__main__":
    main()
