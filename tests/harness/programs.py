"""The programs that the kill harness starts and kills, and how each is started again.

What the server answers depends on all that was read (`reply`), and no two agents of one model read
the same, so a text identifies the call that gave it: a program has stored a call where its text is
found in what the program keeps.
"""

import hashlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psycopg
from fakes import FakeModel
from langchain_core.messages import BaseMessage, convert_to_openai_messages
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from moa_graph import MoAConfig, create_moa

MOA = Path(sys.executable).parent / "moa"
HOST = Path(__file__).parent / "host.py"
PROPOSERS = ("a", "b", "c")
NODES = [f"layer_{layer}_{name}" for layer in (1, 2) for name in PROPOSERS]
RECORDS = 5  # questions of a batch, or of an evaluation
KEY = "harness"  # of `moa serve`


def reply(body: dict[str, Any]) -> str:
    """Answer what depends on all that was read, so that a run that went astray shows."""
    read = [(message["role"], message["content"]) for message in body["messages"]]
    digest = hashlib.sha256(str(read).encode()).hexdigest()[:8]
    verdict = ["m"] if body["model"] == "judge" else []  # the first answer is the better one
    return " ".join([*verdict, body["model"], digest, *(f"word{n}" for n in range(12))])


def expected(question: str) -> dict[str, str]:
    """Work out what an undisturbed run gives: the same graph, over fake models."""

    class Replying(FakeModel):
        def _answer(self, messages: list[Any]) -> Any:
            return reply({"model": self.name, "messages": convert_to_openai_messages(messages)})

    layer = {name: Replying(name=name) for name in PROPOSERS}
    result = create_moa([layer] * 2, Replying(name="w")).compile().invoke({"messages": question})
    texts = {node: proposal["content"] for node, proposal in result["proposals"].items()}
    return texts | {"aggregator": result["messages"][-1].text}


class Program:
    """A program, its files and its database.

    Args:
        name: What is asked; it tells its files from those of other programs.
        folder: Where its files are.
        config: The mixture, as a TOML file.
        db: An SQLite file, or the address of a PostgreSQL database.
    """

    allowed_tracebacks = re.compile("(?!)")
    """What it may say when it is interrupted: nothing, by default."""

    def __init__(self, name: str, folder: Path, config: Path, db: str) -> None:
        self.name, self.folder, self.config, self.db = name, folder, config, db
        self.started = False
        self.said: list[bytes] = []

    @property
    def questions(self) -> list[str]:
        """What the models are asked."""
        return [self.name]

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; once it was started, have it go on."""
        words = [str(word) for word in self.words()]
        self.started = True
        master, terminal = pty.openpty()  # so that answers stream, as they do for a person
        try:
            return subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal)
        finally:
            os.close(terminal)
            self._collect(master)

    def words(self) -> list[Any]:
        """Give the command."""
        raise NotImplementedError

    def stored(self) -> set[str]:
        """Give the texts that it keeps."""
        with self.open_saver() as saver:
            return {text for thread in self.threads(saver) for text in stored_texts(saver, thread)}

    def find_mistakes(self) -> Iterator[str]:
        """Tell what is wrong at its end."""
        said = self.allowed_tracebacks.sub("", b"".join(self.said).decode(errors="replace"))
        if "Traceback" in said:
            yield "a traceback: " + said[said.index("Traceback") :][:2000]

    def open_saver(self) -> Any:
        """Open its database."""
        saver_type = PostgresSaver if self.db.startswith("postgresql:") else SqliteSaver
        return saver_type.from_conn_string(self.db)

    def threads(self, saver: BaseCheckpointSaver[Any]) -> set[str]:
        """Name its threads; a database has those of one program alone."""
        with suppress(sqlite3.OperationalError, psycopg.errors.UndefinedTable):
            return {each.config["configurable"]["thread_id"] for each in saver.list(None)}
        return set()

    def _collect(self, terminal: int) -> None:
        """Read what a terminal shows, so that its program does not block."""

        def read() -> None:
            with suppress(OSError):
                while text := os.read(terminal, 65536):
                    self.said.append(text)
            os.close(terminal)

        threading.Thread(target=read, daemon=True).start()


class Ask(Program):
    """`moa ask`, then `moa resume`."""

    def words(self) -> list[Any]:
        known = self.started and self.read_thread()
        ask = ["ask", self.name, "--config", self.config, "--thread", self.name]
        return [MOA, *(["resume", self.name] if known else ask), "--db", self.db]

    def read_thread(self) -> str | None:
        """Name its thread, once it has one."""
        with self.open_saver() as saver:
            return next(iter(self.threads(saver)), None)

    def find_mistakes(self) -> Iterator[str]:
        yield from super().find_mistakes()
        right = expected(self.name)
        with self.open_saver() as saver:
            graph = MoAConfig.load(self.config).graph().compile(checkpointer=saver)
            values = graph.get_state({"configurable": {"thread_id": self.read_thread()}}).values
        messages = values.get("messages", [])
        if [message.type for message in messages] != ["human", "ai"]:
            yield f"messages: {[message.type for message in messages]}"
        elif messages[-1].text != right["aggregator"]:
            yield f"another answer: {messages[-1].text!r}"
        proposals = {node: each["content"] for node, each in values.get("proposals", {}).items()}
        if proposals != {node: right[node] for node in NODES}:
            yield f"other proposals: {sorted(proposals)}"


class Page(Ask):
    """`moa serve`: the page asks, and resumes after the server was killed."""

    def start(self) -> subprocess.Popen[bytes]:
        words = [MOA, "serve", "--config", self.config, "--db", self.db, "--port", "0"]
        process = subprocess.Popen(
            [*words, "--api-key", KEY], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        threading.Thread(target=self._visit, args=[process], daemon=True).start()
        return process

    def _visit(self, process: subprocess.Popen[bytes]) -> None:
        """Begin a run, look on until it has ended, and stop the server."""
        assert process.stderr
        for line in process.stderr:
            self.said.append(line)
            if b" is the page" in line:
                address = line.split(b" is the page")[0].decode().split()[-1]
                threading.Thread(target=self._run, args=[address, process], daemon=True).start()

    def _run(self, address: str, process: subprocess.Popen[bytes]) -> None:
        with suppress(OSError, HTTPException):  # it was killed, or the thread is answered
            thread = self.read_thread()
            body = {"thread": thread} if thread else {"question": self.name}
            answer = send(f"{address}/api/{'resume' if thread else 'ask'}", body)
            thread = json.loads(answer)["thread"]
            send(f"{address}/api/events?{urlencode({'id': thread})}")
        process.terminate()


class Nested(Program):
    """A host whose mixture has a quorum, grace, and a mixture among its proposers."""

    kind = "nested"
    # A host is no command: Python tells that it was interrupted.
    allowed_tracebacks = re.compile(
        r"(?ms)^Traceback (?:(?!^KeyboardInterrupt|^Traceback).)*+"
        r"(?:^Traceback (?:(?!^KeyboardInterrupt|^Traceback).)*+)*+^KeyboardInterrupt"
    )

    def words(self) -> list[Any]:
        return [sys.executable, HOST, self.config, self.db, self.name, self.name, self.kind]

    def find_mistakes(self) -> Iterator[str]:
        yield from super().find_mistakes()
        with self.open_saver() as saver:
            found = saver.get_tuple({"configurable": {"thread_id": self.name}})
            messages = found.checkpoint["channel_values"].get("messages", []) if found else []
        if [message.type for message in messages] != ["human", "ai"]:
            yield f"messages: {[message.type for message in messages]}"
        elif not self.is_right(messages[-1].text):
            yield f"another answer: {messages[-1].text!r}"

    def is_right(self, answer: str) -> bool:
        """Who is cut off differs from run to run: look at who has written it alone."""
        return answer.startswith("w ")


class Host(Nested):
    """A host that embeds a mixture."""

    kind = "plain"

    def is_right(self, answer: str) -> bool:
        return answer == expected(self.name)["aggregator"]


class Batch(Program):
    """`moa batch`."""

    @property
    def questions(self) -> list[str]:
        return [f"{self.name}.{number}" for number in range(RECORDS)]

    @property
    def out(self) -> Path:
        return self.folder / f"{self.name}.out.jsonl"

    def words(self) -> list[Any]:
        prompts = self.folder / f"{self.name}.jsonl"
        rows = [json.dumps({"prompt": question}) for question in self.questions]
        prompts.write_text("\n".join(rows), encoding="utf-8")
        files = [prompts, "--out", self.out, "--config", self.config]
        return [MOA, "batch", *files, "--db", self.db, "--concurrency", "2"]

    def stored(self) -> set[str]:
        rows = read_rows(self.out)
        return super().stored() | {row["answer"] for row in rows if "answer" in row}

    def find_mistakes(self) -> Iterator[str]:
        yield from super().find_mistakes()
        found = [row.get("answer") for row in read_rows(self.out)]
        if found != [expected(question)["aggregator"] for question in self.questions]:
            yield f"other answers: {found}"


class Generate(Program):
    """`moa eval generate`."""

    @property
    def questions(self) -> list[str]:
        return [f"{self.name}.{number}" for number in range(RECORDS)]

    @property
    def out(self) -> Path:
        return self.folder / self.name

    @property
    def answers(self) -> Path:
        return self.out / self.name / "system"

    def write_questions(self) -> Path:
        """Write the benchmark."""
        path = self.folder / f"{self.name}.jsonl"
        rows = [{"instruction": question, "output": "?"} for question in self.questions]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return path

    def words(self) -> list[Any]:
        benchmark = ["--benchmark", self.write_questions(), "--config", self.config]
        out = ["--out", self.out, "--name", "system", "--concurrency", "2"]
        return [MOA, "eval", "generate", *benchmark, *out]

    def stored(self) -> set[str]:
        path = self.out / "ledger.sqlite"
        if not path.exists():
            return set()
        with closing(sqlite3.connect(path)) as calls, suppress(sqlite3.OperationalError):
            rows = calls.execute("SELECT message FROM answers").fetchall()
            return {json.loads(message)["data"]["content"] for (message,) in rows}
        return set()

    def find_mistakes(self) -> Iterator[str]:
        yield from super().find_mistakes()
        found = [row["answers"] for row in read_rows(self.answers / "answers.jsonl")]
        if found != [[expected(question)["aggregator"]] for question in self.questions]:
            yield f"other answers: {found}"


class Judge(Generate):
    """`moa eval judge`, of answers that the offline models gave."""

    @property
    def questions(self) -> list[str]:
        return [f"{self.name}.{number} " for number in range(RECORDS)]

    def words(self) -> list[Any]:
        if not self.started:
            benchmark = ["--benchmark", self.write_questions(), "--preset", "offline"]
            out = ["--out", self.out, "--name", "system"]
            words = [MOA, "eval", "generate", *benchmark, *out]
            subprocess.run(words, check=True, capture_output=True)
        judge = ["--judge", self.config.with_name("judge.toml"), "--builtin-prompt"]
        return [MOA, "eval", "judge", self.answers, *judge, "--concurrency", "2"]

    def find_mistakes(self) -> Iterator[str]:
        yield from Program.find_mistakes(self)
        rows = read_rows(self.answers / "judgements.jsonl")
        if sorted(row["id"] for row in rows if not row["error"]) != [*range(RECORDS)]:
            yield f"judgements: {rows}"


PROGRAMS = {
    "ask": Ask,
    "page": Page,
    "host": Host,
    "nested": Nested,
    "batch": Batch,
    "generate": Generate,
    "judge": Judge,
}
ON_SQLITE_ALONE = {"generate", "judge"}
# A host opens its own, and so decides for how long it waits for a server that says nothing.
USING_OUR_CONNECTIONS = ("ask", "page", "batch")


def stored_texts(saver: BaseCheckpointSaver[Any], thread: str) -> Iterator[str]:
    """Give the texts of a thread's answers and proposals, those of mixtures in it too."""
    for found in saver.list({"configurable": {"thread_id": thread}}):
        for _, _, value in found.pending_writes or ():
            yield from texts_in(value)
        yield from texts_in(found.checkpoint["channel_values"])


def texts_in(value: object) -> Iterator[str]:
    """Give the texts of the messages and proposals in a value."""
    match value:
        case BaseMessage(type="ai"):
            yield value.text
        case {"agent": _, "content": str(text)}:
            yield text
        case dict():
            for each in value.values():
                yield from texts_in(each)
        case list() | tuple():
            for each in value:
                yield from texts_in(each)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the whole rows of a file; one that is half written is none."""
    rows = list[dict[str, Any]]()
    with suppress(FileNotFoundError, json.JSONDecodeError):
        rows.extend(map(json.loads, path.read_text(encoding="utf-8").splitlines()))
    return rows


def send(url: str, body: dict[str, Any] | None = None) -> bytes:
    """Ask `moa serve`."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, headers)) as answer:
        return answer.read()
