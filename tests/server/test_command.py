"""`moa serve` as a person starts and stops it: a real process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from forked import Forked, run_forked
from full_disk import full_disk
from waiting import PATIENCE, wait_for

pytestmark = pytest.mark.process

MOA = Path(sys.executable).parent / "moa"
CHAT = "/v1/chat/completions"
BODY = {"model": "test", "messages": [{"role": "user", "content": "q"}]}
KEY = "MARKED-9f3b77c1d2-KEY"

get, post = partial(httpx.get, timeout=PATIENCE), partial(httpx.post, timeout=PATIENCE)


class Process:
    """A `moa serve` and what it said so far."""

    def __init__(self, *words, env=None):
        command = [MOA, "serve", "--port", 0, *words]
        self.started = self.start(command, os.environ | (env or {}))
        self.said = ""
        while "is the page" not in self.said:  # its last line: what is read ahead would be lost
            line = self.started.stderr.readline()
            assert line, self.said
            self.said += line
        self.url = re.search(r"(http://\S+)/v1 serves", self.said)[1]

    def start(self, command, environment):
        return Forked(command, env=environment)

    def end(self, sign=signal.SIGINT):
        """Stop it, and give its exit code and what it said in all."""
        self.started.send_signal(sign)
        out, rest = self.started.communicate(timeout=PATIENCE)
        assert out == ""
        return self.started.returncode, self.said + rest


class FreshProcess(Process):
    """One that is started anew: under another program, or with options of `Popen`."""

    def __init__(self, *words, under=(), **options):
        self.under, self.options = under, options
        super().__init__(*words)

    def start(self, command, environment):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        words = [*self.under, *map(str, command)]
        return subprocess.Popen(words, **{"env": environment, **pipes, **self.options})


@contextmanager
def served(*words, kind=Process, **options):
    process = kind(*words, **options)
    try:
        yield process
    finally:
        if process.started.poll() is None:
            process.started.kill()
            process.started.communicate()


open_to_all = partial(served, "--no-auth")


@pytest.fixture
def config(tmp_path, server):
    def write(name="test"):
        path = tmp_path / f"{name}.toml"
        url = f'base_url = "{server.url}"'
        path.write_text(
            f'name = "{name}"\n'
            f'layers = [[{{ model = "openai:a", {url} }}, {{ model = "openai:b", {url} }}]]\n'
            f'aggregator = {{ model = "openai:w", {url} }}\n'
        )
        return path

    return write


def failed(*words):
    """Run the command, which is to fail, and give its one line."""
    done = run_forked([MOA, "serve", *words])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("moa: ")
    return done.stderr


def test_it_says_where_it_listens_and_what_it_serves_and_logs_a_line_a_request_and_stores_none(
    config, server
):
    words = ["--config", config("one"), "-c", config("two"), "-p", "offline"]
    with open_to_all(*words, kind=FreshProcess) as process:
        models = get(f"{process.url}/v1/models").json()["data"]
        post(process.url + CHAT, json=BODY | {"model": "two"})
        get(f"{process.url}/health")
        get(f"{process.url}/%1b%5b31m{'x' * 200}")
        code, said = process.end()
    assert json.loads(run_forked([MOA, "threads", "--json"]).stdout) == []
    assert [model["id"] for model in models] == ["offline", "one", "two"]
    warning, first, page, *lines = said.splitlines()
    assert warning.startswith(f"moa: --no-auth: anyone who can reach {process.url}, ")
    assert re.fullmatch(r"moa: http://127.0.0.1:\d+/v1 serves offline, one, two", first)
    assert page == f"moa: {process.url} is the page, to ask questions and watch runs"
    who = r"moa: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z req_[0-9a-f]{32} - 127\.0\.0\.1"
    took = r"\d+\.\d\d s"
    ran = r"[\d,]+ \+ \d+ tokens, cost unknown"
    assert re.fullmatch(rf"{who} GET /v1/models - 200 {took}", lines[0])
    assert re.fullmatch(rf"{who} POST {CHAT} two 200 {took}, {ran}", lines[1])
    assert re.fullmatch(rf"{who} GET /\?\[31mx{{94}} - 404 unknown_url {took}", lines[2])
    assert lines[3:] == ["moa: stopped"]
    assert code == 0


def test_unknown_parameters_are_ignored_and_logged_unless_the_server_is_strict(config, server):
    body = BODY | {"min_p": 0.1}
    with open_to_all("--config", config(), "--usage", "aggregator") as process:
        answers = [post(process.url + CHAT, json=body) for _ in range(2)]
        _, said = process.end()
    assert [each.headers["x-moa-ignored-parameters"] for each in answers] == ["min_p"] * 2
    told = answers[0].json()
    assert told["moa"]["usage"]["prompt_tokens"] > told["usage"]["prompt_tokens"]
    assert said.count("'min_p'") == 1
    with open_to_all("--config", config(), "--strict") as process:
        refused = post(process.url + CHAT, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "min_p")


@pytest.mark.parametrize(("sign", "stream"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_signal_ends_the_runs_and_the_server(stream, sign, config, server):
    server.model("b", always="hang")
    with open_to_all("--config", config()) as process, ThreadPoolExecutor() as pool:
        body = BODY | {"stream": stream}
        asked = pool.submit(post, process.url + CHAT, json=body)
        wait_for(lambda: server.calls_of("b"))
        code, said = process.end(sign)
        assert '"stopping"' in asked.result().text
    assert code == 0
    assert said.splitlines()[-1] == "moa: stopped"
    assert "Traceback" not in said
    assert "never awaited" not in said
    server.settle()
    assert not server.calls_of("b")[0].answered


def test_runs_end_after_sigterm_where_they_are_given_time(config, server):
    gate = threading.Event()
    server.model("b", until=gate.is_set)
    with (
        open_to_all("--config", config(), "--drain", PATIENCE) as process,
        ThreadPoolExecutor() as pool,
    ):
        asked = pool.submit(post, process.url + CHAT, json=BODY)
        wait_for(lambda: server.calls_of("b"))
        process.started.send_signal(signal.SIGTERM)
        wait_for(lambda: get(f"{process.url}/health").status_code == 503)
        gate.set()
        assert asked.result().status_code == 200
        _, said = process.started.communicate(timeout=PATIENCE)
    assert process.started.returncode == 0
    assert f" no more runs are started; running ones have {PATIENCE:g} s\n" in said
    assert said.endswith("moa: stopped\n")


def test_where_it_stands_is_options(config, server):
    words = ["--allow-origin", "http://localhost:3000", "--allow-origin", "*"]
    words += ["--allow-host", "moa", "--root-path", "/moa/"]
    words += [
        "--queue",
        "0",
        "--heartbeat",
        "20",
        "--rejoin",
        "30",
        "--single",
        "titles=aggregator",
    ]
    with open_to_all("--config", config(), *words) as process:
        assert process.url.endswith("/moa")
        assert "--allow-origin '*' with --no-auth: every page" in process.said
        headers = {"host": "moa", "origin": "app://obsidian.md"}
        answer = post(process.url + CHAT, json=BODY | {"model": "titles"}, headers=headers)
    assert answer.json()["choices"][0]["message"]["content"] == "w on q"
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("given", ["option", "variable"])
def test_key_and_limits_are_options_and_the_key_is_never_said(given, config):
    words = ["--max-messages", "2", "--max-body", "1"]
    words += ["--api-key", KEY] if given == "option" else []
    env = {"MOA_API_KEY": KEY} if given == "variable" else {}
    with served("--config", config(), *words, env=env) as process:
        assert get(f"{process.url}/v1/models").status_code == 401
        headers = {"authorization": f"Bearer {KEY}"}
        response = post(process.url + CHAT, json=BODY, headers=headers)
        assert response.status_code == 200
        for limited, status in (({"messages": [{}] * 3}, 400), ({"user": "x" * 1_000_000}, 413)):
            body = BODY | limited
            response = post(process.url + CHAT, json=body, headers=headers)
            assert response.status_code == status
        assert KEY not in process.end()[1]


def test_all_keys_are_let_in_and_the_log_names_those_of_the_file(config, tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(f'ada = "{KEY}-ada"\n"ci@example.org" = "{KEY}-ci"\n')
    words = ["--api-key", f"{KEY}-1", "--api-key", f"{KEY}-2", "--api-key-file", file]
    with served("--config", config(), *words) as process:
        for key in ("1", "2", "ada", "ci"):
            headers = {"authorization": f"Bearer {KEY}-{key}", "x-request-id": f"from-{key}"}
            response = get(f"{process.url}/v1/models", headers=headers)
            assert response.status_code == 200
            assert response.headers["x-request-id"] == f"from-{key}"
        assert get(f"{process.url}/v1/models").status_code == 401
        _, said = process.end()
    lines = [line.split(" ") for line in said.splitlines() if "/v1/models - 200" in line]
    named = ["from-1 -", "from-2 -", "from-ada ada", "from-ci ci@example.org"]
    assert [" ".join(words[2:4]) for words in lines] == named
    assert KEY not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no keys; expected lines such as: ada = 'a long text'"),
        (f"ada = {KEY}", "not valid TOML; expected lines such as"),
        (f'ada = "{KEY}"\nbob = "{KEY}"', "a key is given twice"),
        ("ada = 5", "ada: expected a text in quotes"),
        ('ada = " "', "ada: empty"),
        (f'"a b" = "{KEY}"', "a name is invalid"),
    ],
)
def test_file_of_keys_that_is_wrong_is_refused_in_a_line_without_them(text, says, tmp_path):
    file = tmp_path / "keys.toml"
    file.write_text(text)
    message = failed("--api-key-file", file)
    assert says in message
    assert KEY not in message


def test_without_a_choice_it_serves_offline_and_what_has_its_keys():
    with served() as process:
        assert "/v1 serves offline\n" in process.said
    with served(env={"OPENAI_API_KEY": "x"}) as process:
        assert "/v1 serves openai, economical, offline, self-moa\n" in process.said


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_server_without_a_key_is_warned_of(host):
    with open_to_all("--host", host) as process:
        warning, where, _ = process.said.splitlines()
        assert "--no-auth: anyone who can reach" in warning
        assert f"http://{host}:" in where
        address = process.url.replace("0.0.0.0", "127.0.0.1")
        assert get(f"{address}/v1/models").status_code == 200


def test_without_a_key_a_token_is_made_anew_and_printed_once():
    tokens = set()
    for _ in range(2):
        with served() as process:
            (token,) = re.findall(
                r"/\?token=(\S+) is the page, to ask questions and watch runs$", process.said
            )
            headers = {"authorization": f"Bearer {token}"}
            for path in ("/v1/models", "/api/threads"):
                assert get(process.url + path).status_code == 401
                assert get(f"{process.url}{path}?token={token}").status_code == 401
                assert get(process.url + path, headers=headers).status_code == 200
            page = get(f"{process.url}/?token={token}")
            assert page.status_code == 200
            assert "set-cookie" not in page.headers
            assert token not in page.text
            get(f"{process.url}/{token}/x", headers=headers)
            code, said = process.end()
            assert code == 0
            assert said.count(token) == 1
            tokens.add(token)
    assert len(tokens) == 2
    assert all(len(token) >= 48 for token in tokens)


def test_token_is_stored_nowhere(tmp_path):
    db = tmp_path / "threads.sqlite"
    with served("-p", "offline", "--db", db) as process:
        token = re.search(r"token=(\S+)", process.said)[1]
        headers = {"authorization": f"Bearer {token}"}
        body = {"question": "Who built it? Ada built it."}
        thread = post(f"{process.url}/api/ask", json=body, headers=headers).json()["thread"]
        address = f"{process.url}/api/thread?id={thread}"
        wait_for(lambda: not get(address, headers=headers).json()["running"])
        assert process.end()[0] == 0
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert db in stored
    assert not [path for path in stored if token.encode() in path.read_bytes()]


def test_key_and_no_auth_exclude_each_other(monkeypatch):
    setters = "--api-key, --api-key-file or MOA_API_KEY"
    wanted = f"moa: --no-auth: a key is set, by {setters}; choose one\n"
    assert failed("--no-auth", "--api-key", KEY) == wanted
    monkeypatch.setenv("MOA_API_KEY", KEY)
    assert failed("--no-auth") == wanted


def test_few_open_files_leave_fewer_connections():
    limit = ("prlimit", "--nofile=200:200")
    with open_to_all(kind=FreshProcess, under=limit) as process:
        assert "moa: --max-connections 512: the limit of open files allows 100" in process.said
        address = urlsplit(process.url)
        with ExitStack() as held:
            for _ in range(250):
                place = (address.hostname, address.port)
                held.enter_context(socket.create_connection(place, timeout=PATIENCE))
            assert get(f"{process.url}/v1/models").status_code == 200


def test_more_open_files_are_taken_where_they_are_granted():
    limit = ("prlimit", "--nofile=200:4000")
    with open_to_all(kind=FreshProcess, under=limit) as process:
        assert "limit of open files" not in process.said
        limits = Path(f"/proc/{process.started.pid}/limits").read_text()
        assert re.search(r"Max open files +4000 +4000 ", limits)


def test_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        wanted = f"127.0.0.1:{port} is taken by another program; choose another --port"
        assert failed("--port", port) == f"moa: {wanted}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-p", "nope"], "no preset 'nope'; expected one of: economical, moa, "),
        (["-p", "offline", "-p", "openai"], "'openai' needs a key: set OPENAI_API_KEY"),
        (["-c", "/nowhere.toml"], "no preset or file '/nowhere.toml'"),
        (["--host", "192.0.2.1", "--port", "0"], "cannot listen on 192.0.2.1:0: "),
        (["--api-key", " "], "--api-key: empty"),
        (["--api-key-file", "/nowhere.toml"], "--api-key-file /nowhere.toml: No such file"),
        (["--db", "/dev/null/x"], "cannot use the database /dev/null/x"),
        (["--allow-origin", "localhost"], "--allow-origin: expected an origin such as"),
        (["--allow-host", "http://moa"], "--allow-host: expected a name such as 'moa'"),
        (["--root-path", "moa"], "--root-path: expected a path such as '/moa', got 'moa'"),
    ],
)
def test_mistakes_are_one_line(words, says):
    assert says in failed(*words)


@pytest.mark.parametrize("key", ["", "  "])
def test_blank_key_in_the_environment_opens_no_server(key, monkeypatch):
    monkeypatch.setenv("MOA_API_KEY", key)
    assert failed() == "moa: MOA_API_KEY: empty; expected a key, or leave it out\n"


def watch(events, watching):
    """Read a stream to its end; say when it has begun."""
    with httpx.stream("GET", events, timeout=PATIENCE) as response:
        watching.set()
        return response.read().decode()


def test_ctrl_c_in_the_middle_of_a_page_s_run_says_nothing_else(config, server):
    server.model("b", always="hang")
    with open_to_all("--config", config()) as process, ThreadPoolExecutor() as pool:
        asked = post(f"{process.url}/api/ask", json={"question": "q"}).json()
        events = f"{process.url}/api/events?id={asked['thread']}"
        watching = threading.Event()
        watched = pool.submit(watch, events, watching)
        assert watching.wait(PATIENCE)
        wait_for(lambda: server.calls_of("b"))
        code, said = process.end()
        assert '"status":"stopped"' in watched.result()
    requests = [re.search(r"(GET|POST) (\S+) \S+ (\d+)", each) for each in said.splitlines()[3:]]
    assert sorted(found.groups() for found in requests if found) == [
        ("GET", "/api/events", "200"),
        ("POST", "/api/ask", "200"),
    ]
    assert said.endswith("moa: stopped\n")
    assert code == 0


def test_two_mixtures_of_one_name_are_refused(config):
    assert "two mixtures are named 'test'" in failed("-c", config(), "-c", config())


def test_missing_package_is_named(config, tmp_path):
    path = tmp_path / "other.toml"
    path.write_text('layers = [["nobody:x"]]\naggregator = "offline:consensus"\n')
    assert "nobody" in failed("-c", path)


def test_help_teaches():
    done = run_forked([MOA, "serve", "--help"])
    for part in ("MOA_API_KEY", "--max-runs", "http://127.0.0.1:8000/v1", "Repeatable", "--host"):
        assert part in done.stdout


def ask_and_wait(url, question, **fields):
    """Ask as the page does, and give what becomes of the thread."""
    asked = post(f"{url}/api/ask", json={"question": question, **fields})
    assert asked.status_code == 200, asked.text
    thread = asked.json()["thread"]
    get(f"{url}/api/events?id={thread}")  # until it is over
    return get(f"{url}/api/thread?id={thread}").json()


@pytest.mark.parametrize("home", ["/dev/null", "/proc/1/none"])
def test_server_without_a_home_serves_and_warns(home, config, server, monkeypatch):
    monkeypatch.delenv("MOA_DB")
    monkeypatch.setenv("XDG_DATA_HOME", f"{home}/.local/share")
    server.model("w", reply="final")
    with open_to_all("--config", config()) as process:
        path = f"{home}/.local/share/moa_graph/runs.sqlite"
        assert f"moa: cannot use the database {path}: " in process.said
        assert process.said.splitlines()[0].endswith("; runs are not stored")
        assert "final" in json.dumps(ask_and_wait(process.url, "q"))
        assert len(get(f"{process.url}/api/threads").json()["threads"]) == 1


def test_server_goes_on_where_the_disk_is_full(config, server, tmp_path):
    server.model("w", reply="final")
    db = tmp_path / "full.sqlite"
    with open_to_all("--config", config(), "--db", db) as process:
        for question in ("first", "second"):
            ask_and_wait(process.url, question)
        process.end()  # which takes the write-ahead log into the file

    options = {"kind": FreshProcess, **full_disk(db.stat().st_size)}
    with open_to_all("--config", config(), "--db", db, **options) as process:
        old = get(f"{process.url}/api/threads").json()["threads"]
        for number in range(2):
            new = ask_and_wait(process.url, f"{number}" * 9000)
            assert "final" in json.dumps(new)
        listed = get(f"{process.url}/api/threads").json()["threads"]
        assert [each["id"] for each in listed[2:]] == [each["id"] for each in old]
        gone_on = ask_and_wait(process.url, "and then?", thread=old[0]["id"])
        assert "second" in json.dumps(gone_on)
        assert len(get(f"{process.url}/api/threads").json()["threads"]) == 4
        _, said = process.end()
    assert said.count("moa: cannot write to the database: ") == 1
    assert "runs continue and are not stored" in said
    assert "Traceback" not in said
