"""One interpreter answers for many pieces of code, each in a fork of its own."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

INTERPRETER = """
import importlib, json, os, sys, tempfile

def run(code):
    stderr = tempfile.TemporaryFile()
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(stderr.fileno(), 2)
        try:
            exec(code, {"__name__": "__main__"})
        except SystemExit:
            pass
        os.write(writer, " ".join(sys.modules).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        modules = told.read().split()
    os.waitpid(child, 0)
    stderr.seek(0)
    return {"modules": modules, "stderr": stderr.read().decode()}

codes, modules = json.load(sys.stdin)
for name in modules:
    importlib.import_module(name)
print(json.dumps({name: run(code) for name, code in codes.items()}))
"""


@dataclass
class Fork:
    """What came of a piece of code."""

    modules: list[str]
    """What is loaded at its end; nothing if it failed."""
    stderr: str


def run_in_forks(codes: Mapping[str, str], modules: Sequence[str] = ()) -> dict[str, Fork]:
    """Run each piece of code, where some modules are there before."""
    words, given = [sys.executable, "-c", INTERPRETER], json.dumps([codes, modules])
    done = subprocess.run(words, input=given, stdout=subprocess.PIPE, text=True)
    return {name: Fork(**told) for name, told in json.loads(done.stdout).items()}
