"""The scorer of code: what runs, what is refused, and what bounds it."""

import os
import signal
import sys

import pytest
from waiting import PATIENCE

from moa_graph.evals.scorers import code as code_scorer
from moa_graph.evals.scorers.code import find_code

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.name != "posix", reason="only Linux and macOS bound a process"),
]


def run_python(code, tests, seconds=PATIENCE):
    return code_scorer.run_python(code, tests, seconds=seconds)


def test_code_that_passes_its_tests_is_right():
    assert run_python("def add(a, b):\n    return a + b", "assert add(1, 2) == 3") is None


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def add(a, b):\n    return a - b", "AssertionError"),
        ("def add(a, b", "SyntaxError"),
        ("import sys\nsys.exit(0)", "ended with exit code 0"),
        ("import os\nos._exit(0)", "ended with exit code 0"),
        ("raise ValueError('x' * 10_000)", "ValueError: xxx"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "not allowed here: socket"),
        ("import subprocess\nsubprocess.run(['id'])", "not allowed here"),
        ("import os\nos.fork()", "not allowed here: os.fork"),
        ("import os\nos.system('id')", "not allowed here: os.system"),
        ("open('/etc/passwd').read()", "not allowed here: open '/etc/passwd'"),
        ("open('/tmp/moa-was-here', 'w')", "not allowed here: open"),
        ("import os\nos.remove('/tmp/moa-was-here')", "not allowed here: os.remove"),
        ("import ctypes\nctypes.CDLL(None)", "not allowed here: ctypes"),
        ("x = bytearray(4 << 30)", "MemoryError"),
        ("import os\nassert 'SECRET_KEY' in os.environ", "AssertionError"),
    ],
)
def test_code_that_fails_or_reaches_out_says_why(code, why, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "sk-1")
    if "bytearray" in code and sys.platform == "darwin":
        pytest.skip("macOS does not bound memory")
    found = run_python(code, "assert add(1, 2) == 3")
    assert why in found
    assert len(found) <= 300


def test_code_may_use_files_of_its_own_folder_and_modules_of_python():
    code = (
        "import json, random, zoneinfo, decimal, threading\n"
        "open('a.txt', 'w').write('1')\nvalue = open('a.txt').read()"
    )
    assert run_python(code, "assert value == '1'") is None


LOOP = "while True: pass"
LEAST = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\n"
DEAF = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import time\ntime.sleep(60)", id="by the clock"),
        pytest.param(LOOP, id="by its processor time"),
        pytest.param(LEAST + LOOP, id="by the system's last means"),
        pytest.param(DEAF + LOOP, id="though it hears no warning"),
    ],
)
def test_code_that_goes_on_for_ever_is_ended(code):
    assert run_python(code, "", seconds=0.2) == "took more than 0.2 s"


def test_code_that_kills_itself_took_no_time():
    code = "import signal\nsignal.raise_signal(signal.SIGKILL)"
    assert run_python(code, "") == f"ended with exit code {-signal.SIGKILL}"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("x = 1", "x = 1"),
        ("Use this:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\na\n```\n```py\nb\n```\n```bash\nc\n```", "b\n"),
        ("```python\nx = 1", "x = 1"),
    ],
)
def test_the_last_block_of_python_is_run(answer, code):
    assert find_code(answer) == code
