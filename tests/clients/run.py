"""Ask `moa serve` by the clients that people have, and print what each of them can do.

    python tests/clients/run.py                    # packages of Python, each in its environment
    python tests/clients/run.py --node --apps      # also packages of npm, and whole programs
    python tests/clients/run.py --only openai_chat --only anthropic_messages

Each client is a script in `python`, `node` or `apps` that says at its top what it needs. `uv` and
`npm` install that. A scripted local model stands behind the server; `--upstream` names another
OpenAI-compatible address, whose model `--upstream-model` writes the answers.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from scripted_model import reply  # noqa: E402
from server import ChatServer  # noqa: E402

COLUMNS = ("plain", "stream", "tool", "structured")
KEY = "moa-key-of-the-clients"
MODEL = "panel"
KINDS = {"python": ".py", "node": ".mjs", "apps": ".py"}

PANEL = """
name = "{model}"
layers = [["first", "second"]]
aggregator = "writer"

[agents.first]
model = "openai:first"
base_url = "{proposers}"
[agents.second]
model = "openai:second"
base_url = "{proposers}"
[agents.writer]
model = "openai:{writer}"
base_url = "{upstream}"
"""

CI_CLIENTS = (
    *("openai_chat", "openai_responses", "anthropic_messages", "langchain_chat"),
    *("litellm_package", "llm_command", "openai_agents_responses", "pydantic_ai_chat"),
)
"""Small ones, of each dialect."""

_NPM = re.compile(r"^(?://|#) npm: (.+)$", re.MULTILINE)
_NEEDS = re.compile(rf"^# /// script$|{_NPM.pattern}", re.MULTILINE)


class Client(NamedTuple):
    """A script, and what it is called."""

    path: Path
    kind: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def packages(self) -> list[str]:
        """What npm installs for it."""
        found = _NPM.search(self.path.read_text("utf-8"))
        return found[1].split() if found else []


def main() -> None:
    """Run the clients, print the table, and fail if one of them does."""
    options = read_options()
    options.only += CI_CLIENTS if options.ci else []
    clients = [client for client in find_clients(options) if is_wanted(client, options.only)]
    if unknown := set(options.only) - {client.name for client in clients}:
        raise SystemExit(f"--only {', '.join(sorted(unknown))}: no such client")
    with serve(options) as address, ThreadPoolExecutor(options.jobs) as pool:
        rows = list(pool.map(partial(try_client, address=address, options=options), clients))
    print_table(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1), "utf-8")
    failed = [row for row in rows if not is_well(row)]
    for row in failed:
        print(f"\n{row['client']}: {json.dumps(row['results'], indent=1)}\n{row['said']}")
    raise SystemExit(bool(failed))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--node", action="store_true", help="packages of npm too")
    parser.add_argument("--apps", action="store_true", help="whole programs too")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--ci", action="store_true", help=f"as CI does: {', '.join(CI_CLIENTS)}")
    parser.add_argument("--json", type=Path, help="a file for the results")
    parser.add_argument("--jobs", type=int, default=2, help="clients at the same time")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one client")
    parser.add_argument("--upstream", help="address of the aggregator, with /v1")
    parser.add_argument("--upstream-model", default="writer")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "moa-clients"
    parser.add_argument("--cache", type=Path, default=cache, help="where npm's packages are kept")
    return parser.parse_args()


def find_clients(options: argparse.Namespace) -> Iterator[Client]:
    for kind in KINDS:
        if kind == "python" or options.only or getattr(options, kind):
            yield from list_clients(kind)


def list_clients(kind: str) -> Iterator[Client]:
    """List the scripts of a kind that say what is installed for them; the others help them."""
    for path in list_scripts(kind):
        if _NEEDS.search(path.read_text("utf-8")):
            yield Client(path, kind)


def list_scripts(kind: str) -> list[Path]:
    return sorted((HERE / kind).glob(f"*{KINDS[kind]}"))


def is_wanted(client: Client, only: list[str]) -> bool:
    return not only or client.name in only


@contextmanager
def serve(options: argparse.Namespace) -> Iterator[str]:
    """Start a panel of local models behind `moa serve`, and give its address."""
    with ChatServer(logs=False) as models, tempfile.TemporaryDirectory() as home:
        models.model("first", reply="Paris.")
        models.model("second", reply="It is Paris.")
        models.model("writer", reply=reply)
        config = Path(home) / "panel.toml"
        config.write_text(
            PANEL.format(
                model=MODEL,
                proposers=models.url,
                upstream=options.upstream or models.url,
                writer=options.upstream_model,
            ),
            "utf-8",
        )
        command = [Path(sys.executable).parent / "moa", "serve", "--config", config, "--port", "0"]
        environment = os.environ | {"MOA_API_KEY": KEY, "HOME": home, "OPENAI_API_KEY": "none"}
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=environment
        ) as server:
            try:
                yield _read_address(server)
            finally:
                server.terminate()
                server.communicate()


def _read_address(server: "subprocess.Popen[str]") -> str:
    said = ""
    for line in server.stderr or ():
        said += line
        if found := re.search(r"http://[\w.:\[\]]+", line):
            ThreadPoolExecutor(1).submit(server.stderr.read)  # its log, lest the pipe is full
            return found[0]
    raise SystemExit(f"moa serve did not start: {said}")


def try_client(client: Client, address: str, options: argparse.Namespace) -> dict[str, Any]:
    """Install a client, and run its script."""
    with tempfile.TemporaryDirectory() as home:
        try:
            command, variables = install(client, options, Path(home))
        except subprocess.CalledProcessError as error:
            return _row(client, {}, {}, f"not installed: {error.stderr}")
        variables |= {
            "MOA_BASE_URL": f"{address}/v1",
            "MOA_KEY": KEY,
            "MOA_MODEL": MODEL,
            "MOA_SCRIPTED": "" if options.upstream else "1",
            "MOA_DOCS": str(HERE.parents[1] / "docs"),
            "OPENAI_API_KEY": KEY,
        }
        try:
            done = subprocess.run(
                command,
                env=_environment() | variables,
                cwd=home,
                capture_output=True,
                text=True,
                timeout=options.timeout,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            return _row(client, {}, {}, f"not ready in {error.timeout:.0f} s: {error.stderr!r}")
    results, versions, rest = {}, {}, done.stderr
    for line in done.stdout.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            rest += f"{line}\n"
            continue
        versions |= said.get("versions", {})
        if "column" in said:
            results[said["column"]] = said["result"]
    return _row(client, results, versions, rest)


def _environment() -> dict[str, str]:
    """Give what every program needs, and nothing that names another server or key."""
    kept = ("HOME", "LANG", "PATH", "UV_CACHE_DIR", "SSL_CERT_FILE", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


def install(
    client: Client, options: argparse.Namespace, home: Path
) -> tuple[list[str | Path], dict[str, str]]:
    """Install what a script needs; give the command, and variables of its environment."""
    folder = options.cache / client.name
    if client.packages:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", folder]
        subprocess.run([*command, *client.packages], check=True, capture_output=True, text=True)
    if client.kind == "node":
        for script in list_scripts("node"):
            shutil.copy(script, folder)
        return ["node", folder / client.path.name], {}
    binaries = f"{folder / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": binaries, "PYTHONPATH": str(HERE / "python")}
    if client.kind == "apps":  # a program writes its settings where it likes
        variables |= {"HOME": str(home), "UV_CACHE_DIR": _uv_cache()}
    return ["uv", "run", "--quiet", "--no-project", "--script", client.path], variables


def _uv_cache() -> str:
    command = ["uv", "cache", "dir"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _row(client: Client, results: dict, versions: dict, said: str) -> dict[str, Any]:
    return {
        "client": client.name,
        "results": results,
        "versions": versions,
        "said": said[-2000:],
    }


def is_well(row: dict[str, Any]) -> bool:
    """Whether a client can do all that it has."""
    return bool(row["results"]) and set(row["results"].values()) == {"ok"}


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print what each client can do; a column that it does not have is a dash."""
    print(f"| client | {' | '.join(COLUMNS)} | versions |")
    print(f"| --- | {' | '.join('---' for _ in COLUMNS)} | --- |")
    for row in rows:
        cells = [_cell(row["results"].get(column)) for column in COLUMNS]
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        print(f"| {row['client']} | {' | '.join(cells)} | {versions} |")


def _cell(result: str | None) -> str:
    return "–" if result is None else "ok" if result == "ok" else "**fails**"


if __name__ == "__main__":
    main()
