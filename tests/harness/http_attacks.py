"""Attacks on `moa serve` by who has no key, or has one: raw sockets against a real process.

    python tests/harness/http_attacks.py

runs each attack at full size against a server of its own, and prints a line for each: how the
server answered, how often and within how many seconds at most `GET /health` was answered meanwhile,
how many seconds of processor time the server took, and how many megabytes of memory it took at most
and kept. It fails where an answer is wrong or missing, or where more memory was taken than allowed.
`--small` is the size of the tests.
"""

import argparse
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent.parent))

from waiting import PATIENCE, wait_for

MOA = Path(sys.executable).parent / "moa"
KEY = "the-key-of-the-attacked-server"
CHAT = "/v1/chat/completions"
ALLOWED_MB = 64
CONNECTED_AT_ONCE = 100


@dataclass
class Sizes:
    """How much is sent."""

    body: int = 9_900_000
    connections: int = 1100
    headers: int = 100_000_000
    pipelined: int = 500_000
    chunks: int = 500_000


SMALL = Sizes(body=2_000_000, connections=60, headers=2_000_000, pipelined=500, chunks=20_000)


@dataclass
class Target:
    """A server under attack."""

    process: subprocess.Popen
    port: int
    healthy: Counter = field(default_factory=Counter)
    slowest: float = 0.0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def send(self, data: bytes) -> bytes:
        """Send what may be refused in the middle of it, and read the answer to its end."""
        with self.connect() as connection:
            reader = threading.Thread(target=lambda: answers.append(read_all(connection)))
            answers: list[bytes] = []
            reader.start()
            with suppress(ConnectionError):
                connection.sendall(data)
            reader.join()
            return answers[0]

    def memory(self, name: str = "VmRSS") -> float:
        """Read the resident memory in megabytes: `VmRSS` now, `VmHWM` the most since the start."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1000

    def seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask_health(self, stop: threading.Event) -> None:
        while not (stop.is_set() and self.healthy):
            stop.wait(0.05)
            started = time.monotonic()
            try:
                with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=PATIENCE) as answer:
                    told = answer.status
            except OSError as error:
                told = repr(error)
            self.healthy[told] += 1
            self.slowest = max(self.slowest, time.monotonic() - started)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            data += part
    return data


def status_of(answer: bytes) -> int | None:
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else None


def head(method: str, path: str, *lines: str, key: str | None = KEY) -> bytes:
    authorization = [f"Authorization: Bearer {key}"] if key else []
    told = [f"{method} {path} HTTP/1.1", "Host: localhost", *authorization, *lines]
    return "\r\n".join([*told, "", ""]).encode()


def with_body(body: bytes) -> bytes:
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
    return head("POST", CHAT, *lines) + body


def send_items(begin: bytes, item: bytes, end: bytes) -> Callable[[Target, Sizes], None]:
    """Attack by a body of many small items."""

    def attack(target: Target, sizes: Sizes) -> None:
        expect(
            status_of(target.send(with_body(begin + item * (sizes.body // len(item)) + end))), 413
        )

    return attack


def send_text(target: Target, sizes: Sizes) -> None:
    """The same number of commas in a text is a question like any other."""
    question = json.dumps("1," * (sizes.body // 2)).encode()
    body = b'{"model": "offline", "messages": [{"role": "user", "content": %s}]}' % question
    expect(status_of(target.send(with_body(body))), 200)


def send_headers(line: bytes, *, begin: bytes = b"") -> Callable[[Target, Sizes], None]:
    """Attack by lines that never end."""

    def attack(target: Target, sizes: Sizes) -> None:
        begun = begin or head("GET", "/", key=None).removesuffix(b"\r\n")
        answer = target.send(begun + line * (sizes.headers // len(line)))
        expect(status_of(answer), 431, 400, 401, None)

    return attack


def send_chunks(begun: bytes, *statuses: int | None) -> Callable[[Target, Sizes], None]:
    """Attack by a body in pieces of one byte."""

    def attack(target: Target, sizes: Sizes) -> None:
        answer = target.send(begun + b"1\r\nx\r\n" * sizes.chunks + b"0\r\n\r\n")
        expect(status_of(answer), *statuses, None)

    return attack


def hold_connections(begun: bytes, *, idle: bool = False) -> Callable[[Target, Sizes], None]:
    """Attack by connections on which nothing more comes; an idle one was answered before."""

    def attack(target: Target, sizes: Sizes) -> None:
        with ExitStack() as held:
            for _ in range(sizes.connections):
                connection = held.enter_context(target.connect())
                with suppress(ConnectionError):
                    connection.sendall(begun)
                    if idle:
                        connection.recv(65536)
            for key, status in ((KEY, 200), (None, 401)):
                models = head("GET", "/v1/models", "Connection: close", key=key)
                expect(status_of(target.send(models)), status)

    return attack


def pipeline(target: Target, sizes: Sizes) -> None:
    """Ask for more and more, and read nothing."""
    with target.connect() as connection:
        connection.settimeout(0)
        data = memoryview(head("GET", "/page/page.js", key=None) * sizes.pipelined)
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_WRITE)
            while data and selector.select(timeout=3):
                data = data[connection.send(data) :]
        expect(status_of(target.send(head("GET", "/v1/models", "Connection: close"))), 200)


def trickle(begun: bytes, *statuses: int | None) -> Callable[[Target, Sizes], None]:
    """Attack by a byte now and then: the server closes, whatever still comes."""

    def attack(target: Target, _: Sizes) -> None:
        with target.connect() as connection, selectors.DefaultSelector() as selector:
            connection.sendall(begun)
            selector.register(connection, selectors.EVENT_READ)
            answer, end = b"", time.monotonic() + PATIENCE
            with suppress(ConnectionError):
                while time.monotonic() < end:
                    if selector.select(timeout=0.5):
                        if not (part := connection.recv(65536)):
                            break
                        answer += part
                    else:
                        connection.sendall(b"1")
            expect(status_of(answer) if time.monotonic() < end else "never", *statuses)

    return attack


def expect(found: object, *wanted: object) -> None:
    if found not in wanted:
        raise AssertionError(f"expected {wanted}, got {found}")


IN_CHUNKS = ("Content-Type: application/json", "Transfer-Encoding: chunked")
CHUNKED = head("POST", CHAT, *IN_CHUNKS)
LONG_BODY = ("Content-Type: application/json", "Content-Length: 1000000")
MESSAGE = b'{"model": "offline", "messages": [{"role": "user", "content": ['

ATTACKS: dict[str, Callable[[Target, Sizes], None]] = {
    "a message of many parts": send_items(MESSAGE, b"1,", b"1]}]}"),
    "a message of many empty objects": send_items(MESSAGE, b"{},", b"{}]}]}"),
    "many keys": send_items(b"{", b'"a":1,', b'"a":1}'),
    "many lists in lists": send_items(b"", b"[", b""),
    "as many commas in a text": send_text,
    "header lines without end": send_headers(b"X-A: 1\r\n"),
    "a header line without end": send_headers(b"x"),
    "an address without end": send_headers(b"x", begin=b"GET /"),
    "a chunk's line without end": send_headers(b"x", begin=CHUNKED + b"1;"),
    "trailers without end": send_headers(b"X-A: 1\r\n", begin=CHUNKED + b"0\r\n"),
    "a body in small chunks": send_chunks(CHUNKED, 400),
    "a body in small chunks, without the key": send_chunks(
        head("POST", CHAT, *IN_CHUNKS, key=None), 401, 400
    ),
    "a body in small chunks for who is healthy": send_chunks(
        head("POST", "/health", *IN_CHUNKS, key=None), 200, 400, 405
    ),
    "connections with half a head": hold_connections(b"GET / HTTP/1.1\r\nHost: "),
    "connections with nothing": hold_connections(b""),
    "connections that idle": hold_connections(head("GET", "/health", key=None), idle=True),
    "connections with half a body, without the key": hold_connections(
        head("POST", CHAT, *LONG_BODY, key=None)
    ),
    "answers that nobody reads": pipeline,
    "a head that trickles": trickle(b"GET / HTTP/1.1\r\nX-A: ", 408, None),
    "a second head that trickles": trickle(head("GET", "/health", key=None) + b"GET /", 200),
    "a body that trickles": trickle(head("POST", CHAT, *LONG_BODY), 408),
    "a body that trickles, without the key": trickle(head("POST", CHAT, *LONG_BODY, key=None), 401),
}
SLOW = {name for name in ATTACKS if "trickles" in name}  # what ends by the clock alone


@contextmanager
def attacked_server(*words: str, descriptors: int | None = None) -> Iterator[Target]:
    """Start a server, perhaps with so many file descriptors."""
    limit = ["prlimit", f"--nofile={descriptors}"] if descriptors else []
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log.txt").open("w+") as log:
        serve = [MOA, "serve", "--preset", "offline", "--port", "0", "--db", f"{folder}/db"]
        environment = os.environ | {"MOA_API_KEY": KEY}
        with subprocess.Popen([*limit, *serve, *words], stderr=log, env=environment) as process:
            try:
                path = Path(log.name)
                wait_for(lambda: process.poll() is not None or "is the page" in path.read_text())
                port = re.search(r"http://[\d.]+:(\d+)/v1", path.read_text())[1]
                yield Target(process, int(port))
                process.terminate()
                expect(process.wait(PATIENCE), 0)
                expect(path.read_text().count("Traceback"), 0)
            finally:
                process.kill()


def run_attack(name: str, target: Target, sizes: Sizes) -> dict[str, object]:
    """Attack a server, and say how it did."""
    expect(status_of(target.send(head("GET", "/v1/models", "Connection: close"))), 200)
    before, seconds, stop = target.memory(), target.seconds(), threading.Event()
    target.healthy, target.slowest = Counter(), 0.0
    asker = threading.Thread(target=target.ask_health, args=[stop])
    asker.start()
    try:
        ATTACKS[name](target, sizes)
        outcome = "withstood"
    except AssertionError as error:
        outcome = str(error)
    finally:
        stop.set()
        asker.join()
    peak = target.memory("VmHWM") - before
    if set(target.healthy) != {200}:
        outcome = f"{outcome}; not healthy"
    if peak > ALLOWED_MB + 10 * sizes.body / 1e6:
        outcome = f"{outcome}; too much memory"
    return {
        "attack": name,
        "outcome": outcome,
        "health": dict(target.healthy),
        "slowest health, s": round(target.slowest, 2),
        "processor, s": round(target.seconds() - seconds, 2),
        "memory at most, MB": round(peak),
        "memory kept, MB": round(target.memory() - before),
    }


def run_attacks(names: list[str], *, small: bool, descriptors: int | None) -> Iterator[dict]:
    """Run attacks: the small ones against one server, which has few connections."""
    if small:
        words = ("--max-connections", str(SMALL.connections // 2))
        with attacked_server(*words, descriptors=descriptors) as target:
            for name in names:
                yield run_attack(name, target, SMALL)
        return
    for name in names:
        with attacked_server(descriptors=descriptors) as target:
            yield run_attack(name, target, Sizes())


def main() -> None:
    """Run the attacks that are chosen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="the size of the tests")
    parser.add_argument("--descriptors", type=int, help="file descriptors that the server may have")
    parser.add_argument("--only", nargs="*", default=[], help="attacks by words of their names")
    options = parser.parse_args()
    chosen = [n for n in ATTACKS if not options.only or any(word in n for word in options.only)]
    names = [n for n in chosen if options.only or not (options.small and n in SLOW)]
    failed = 0
    for told in run_attacks(names, small=options.small, descriptors=options.descriptors):
        print(json.dumps(told), flush=True)
        failed += told["outcome"] != "withstood"
    print(f"attacks that the server did not withstand: {failed}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
