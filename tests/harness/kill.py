"""Kill real programs at random moments, start them again, and compare.

    python tests/harness/kill.py --kills 600 --faults 30

runs `moa ask` and `moa batch` (in a pseudo-terminal, so that answers stream), `moa serve` with a
run of its page, `moa eval generate` and `judge`, and two host programs against the test server,
over SQLite and PostgreSQL. It sends SIGKILL, SIGTERM or SIGINT in layer 1, in the layer aggregator,
in layer 2, in the aggregator's stream, and while an answer is being stored. Then it takes the
database away from programs that run: PostgreSQL is stopped without warning, its connections are
cut, or they stay open and say nothing any more. After each of these it reads what was stored, has
the program go on, and checks: no call whose answer was stored is made again, nothing is lost or
doubled, and the end is that of an undisturbed run.
"""

import argparse
import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import psycopg
from postgres import PostgresServer, postgres_server
from postgres_proxy import PostgresProxy
from programs import ON_SQLITE_ALONE, PROGRAMS, PROPOSERS, USING_OUR_CONNECTIONS, reply
from server import Call, ChatServer
from waiting import wait_for

PHASES = ("layer 1", "layer aggregator", "layer 2", "stream", "write")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FAULTS = ("stopped", "cut off", "half-open")
PATIENCE = 300  # seconds for a run to end: a busy machine is no finding


class Trial:
    """One program: started, disturbed, perhaps again, then run to its end, and compared."""

    def __init__(self, harness: "Harness", number: int, program: str, database: str) -> None:
        self.harness, self.database = harness, database
        self.kind = program
        self.proxy: PostgresProxy | None = None
        db = harness.make_database(number, database)
        self.program = PROGRAMS[program](f"q{number}", harness.folder, harness.config, db)
        self.kills: Counter[str] = Counter()
        self.repeated = 0
        self.twice: list[str] = []
        self.mistakes: list[str] = []

    def run(self, phase: str) -> None:
        """Kill it, and have it go on."""
        self.kill(self.program.start(), phase)
        while self.harness.random.random() < 0.25:
            self.check_stored_are_not_asked_again(lambda: self.kill(self.program.start(), "any"))
        self.check_stored_are_not_asked_again(self.finish)
        self.mistakes += self.program.find_mistakes()

    def lose_database(self, fault: str, server: PostgresServer, phase: str) -> None:
        """Take the database away while it runs; bring it back, and have it go on."""
        own = self.program.db
        with PostgresProxy(server.socket) as proxy:
            self.program.db = proxy.address(own)
            process = self.program.start()
            self.wait_for_phase(process, phase)
            self.kills[fault] += process.poll() is None
            with lost(fault, server, proxy):
                self.wait_for_end(process)
        self.program.db = own
        self.check_stored_are_not_asked_again(self.finish)
        self.mistakes += self.program.find_mistakes()

    def kill(self, process: subprocess.Popen[bytes], phase: str) -> None:
        """Wait for a moment, and send a signal."""
        self.wait_for_phase(process, phase)
        number = self.harness.random.choice(SIGNALS)
        if process.poll() is None:
            process.send_signal(number)
            self.kills[number.name] += 1
        self.wait_for_end(process)

    def wait_for_phase(self, process: subprocess.Popen[bytes], phase: str) -> None:
        """Wait for a phase, and for a random moment in it."""
        answered = self.harness.random.randrange(7)
        begun = {
            "layer 1": lambda: len(self.calls()) >= 1,
            "layer aggregator": lambda: self.answered() >= 3,
            "layer 2": lambda: len(self.calls()) >= 4,
            "stream": lambda: any(call.model in {"w", "judge"} for call in self.calls()),
            "write": lambda: self.answered() > answered,
            "any": lambda: len(self.calls()) > 0,
        }[phase]
        spread = {"layer aggregator": 0.03, "write": 0.02, "any": 2.5}.get(phase, 0.25)
        while process.poll() is None and not begun():
            time.sleep(0.001)
        time.sleep(self.harness.random.uniform(0, spread))

    def finish(self) -> None:
        """Have it go on to its end."""
        if code := self.wait_for_end(self.program.start()):
            self.mistakes.append(f"exit code {code}")

    def wait_for_end(self, process: subprocess.Popen[bytes]) -> int:
        """Give its exit code."""
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            self.mistakes.append("did not end")
            return process.wait()

    def check_stored_are_not_asked_again(self, go_on: Callable[[], None]) -> None:
        """See what is stored, let the program go on, and look at its calls."""
        self.harness.server.settle(self.calls)
        if self.database == "postgres":
            self.harness.wait_for_connections(self.program.db)
        stored, before = self.program.stored(), self.count_calls()
        go_on()
        again = {text for text, count in self.count_calls().items() if 0 < before[text] < count}
        self.twice += sorted(again & stored)
        self.repeated += len(again - stored)

    def count_calls(self) -> Counter[str]:
        """Count how often each answer was asked for."""
        return Counter(reply(call.body) for call in self.calls())

    def calls(self) -> list[Call]:
        """Give its calls."""
        return [
            call
            for call in list(self.harness.server.calls)
            if any(self.is_about(question, call) for question in self.program.questions)
        ]

    def is_about(self, question: str, call: Call) -> bool:
        """Tell whether a call is about a question; a judge reads it among other text."""
        content = str(call.messages[-1]["content"])
        return content == question or (call.model == "judge" and question in content)

    def answered(self) -> int:
        return sum(call.answered for call in self.calls())


@contextmanager
def lost(fault: str, server: PostgresServer, proxy: PostgresProxy) -> Iterator[None]:
    """Take a database away meanwhile."""
    if fault == "stopped":
        server.crash()
        proxy.cut()
    elif fault == "cut off":
        proxy.cut()
    else:
        proxy.stall()
    try:
        yield
    finally:
        if fault == "stopped":
            server.start()


class Harness:
    """The server, the databases, and the trials."""

    def __init__(
        self, folder: Path, server: ChatServer, postgres: PostgresServer, seed: int
    ) -> None:
        self.folder, self.server, self.postgres = folder, server, postgres
        self.random = random.Random(seed)
        for model, latency in (("a", 0.02), ("b", 0.12), ("c", 0.25), ("judge", 0.2)):
            server.model(model, latency=latency, reply=reply)
        server.model("w", latency=0.05, chunk_delay=0.02, reply=reply)
        agents = "".join(
            f'{name} = {{ model = "openai:{name}", base_url = "{server.url}" }}\n'
            for name in (*PROPOSERS, "w")
        )
        layer = list(PROPOSERS)
        self.config = folder / "mixture.toml"
        self.config.write_text(f'layers = [{layer}, {layer}]\naggregator = "w"\n[agents]\n{agents}')
        judge = f'model = "openai:judge"\nbase_url = "{server.url}"\ntext_verdict = true\n'
        (folder / "judge.toml").write_text(judge)
        self.trials: list[Trial] = []

    def run_kills(self, kills: int, programs: Collection[str]) -> None:
        """Run trials until there were so many kills, as many at a time as there are processors."""
        plans = [
            (phase, program, database)
            for phase, program, database in product(PHASES, programs, ("sqlite", "postgres"))
            if database == "sqlite" or program not in ON_SQLITE_ALONE
        ]
        self.random.shuffle(plans)

        async def worker() -> None:
            while sum(trial.kills.total() for trial in self.trials) < kills:
                phase, program, database = plans[len(self.trials) % len(plans)]
                trial = self.add_trial(program, database)
                await asyncio.to_thread(trial.run, phase)
                self.tell_progress(trial)

        async def all_workers() -> None:
            count = min(kills, os.cpu_count() or 1)
            await asyncio.gather(*(worker() for _ in range(count)))

        asyncio.run(all_workers())

    def run_faults(self, count: int) -> None:
        """Run trials whose database goes away, one at a time."""
        plans = list(product(USING_OUR_CONNECTIONS, FAULTS))
        for program, fault in (plans * count)[:count]:
            trial = self.add_trial(program, "postgres")
            trial.lose_database(fault, self.postgres, self.random.choice(PHASES))
            self.tell_progress(trial)

    def add_trial(self, program: str, database: str) -> Trial:
        """Begin a trial."""
        trial = Trial(self, len(self.trials), program, database)
        self.trials.append(trial)
        return trial

    def tell_progress(self, trial: Trial) -> None:
        """Say on standard error how far it is, and what a trial has just found."""
        count = sum(each.kills.total() for each in self.trials)
        found = " ".join([*trial.twice, *trial.mistakes])
        print(f"{count} kills and faults; {trial.kind}, {trial.database} {found}", file=sys.stderr)

    def make_database(self, number: int, database: str) -> str:
        """Give a trial a database of its own."""
        if database == "sqlite":
            return str(self.folder / f"{number}.sqlite")
        self.postgres.execute(f'CREATE DATABASE "trial{number}"')
        return self.postgres.address(f"trial{number}")

    def wait_for_connections(self, db: str) -> None:
        """Wait until PostgreSQL knows that a program is dead: until then its thread is locked."""
        with psycopg.connect(db, autocommit=True) as database:
            others = (
                "SELECT FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            wait_for(lambda: not database.execute(others).rowcount)


def report(trials: list[Trial]) -> int:
    """Print the figures; give the number of failures."""
    kills: Counter[tuple[str, str, str]] = Counter()
    for trial in trials:
        for how, count in trial.kills.items():
            kills[trial.kind, trial.database, how] += count
    for (program, database, how), count in sorted(kills.items()):
        print(f"{program:8} {database:8} {how:9} {count:4}")
    twice = [(trial.kind, trial.program.name, text) for trial in trials for text in trial.twice]
    wrong = [
        (trial.kind, trial.database, trial.program.name, trial.mistakes)
        for trial in trials
        if trial.mistakes
    ]
    print(f"kills and faults: {sum(kills.values())} in {len(trials)} runs")
    repeated = sum(trial.repeated for trial in trials)
    print(f"calls in flight or not yet stored when killed, made again: {repeated}")
    print(f"calls made twice although their answer was stored: {len(twice)} {twice or ''}")
    print(f"runs that did not end the same: {len(wrong)} {wrong or ''}")
    return len(twice) + len(wrong)


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--faults", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=[*PROGRAMS])
    options = parser.parse_args()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of clients that were killed
    with (
        tempfile.TemporaryDirectory() as folder,
        ChatServer() as server,
        postgres_server() as postgres,
    ):
        harness = Harness(Path(folder), server, postgres, options.seed)
        harness.run_kills(options.kills, options.programs)
        harness.run_faults(options.faults)
        sys.exit(bool(report(harness.trials)))


if __name__ == "__main__":
    main()
