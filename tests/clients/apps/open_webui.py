# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = [
#     "open-webui>=0.6",
# ]
# ///
"""Open WebUI with its defaults: a question of its page, as its own API takes it."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import probe
import program

PORT = "18741"
SETTINGS = {
    **program.read_variables("Open WebUI"),
    "WEBUI_AUTH": "false",
    "OFFLINE_MODE": "true",
    "HF_HUB_OFFLINE": "1",
    "DATA_DIR": str(program.HOME / "open-webui"),
    "WEBUI_SECRET_KEY": "a secret of this run",
    "RAG_EMBEDDING_ENGINE": "openai",
}
ADDRESS = f"http://127.0.0.1:{PORT}"


def call(path: str, body: object = None, token: str = "") -> str:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{ADDRESS}{path}", data, headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        return response.read().decode()


def wait_until_up(server: subprocess.Popen) -> None:
    for _ in range(400):
        assert server.poll() is None, "open-webui ended"
        try:
            call("/health")
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise AssertionError("open-webui does not answer")


def ask(text: str, *, streamed: bool, **more: object) -> str:
    Path(SETTINGS["DATA_DIR"]).mkdir(parents=True, exist_ok=True)
    command = ("open-webui", "serve", "--host", "127.0.0.1", "--port", PORT)
    log = (program.HOME / "open-webui.log").open("w")
    with subprocess.Popen(command, env=os.environ | SETTINGS, stdout=log, stderr=log) as server:
        try:
            wait_until_up(server)
            signed_in = call("/api/v1/auths/signin", {"email": "", "password": ""})
            token = json.loads(signed_in)["token"]
            assert probe.MODEL in call("/api/models", token=token)
            body = {
                "model": probe.MODEL,
                "stream": streamed,
                "messages": [{"role": "user", "content": text}],
            }
            return call("/api/chat/completions", body | more, token)
        finally:
            server.terminate()


def plain() -> None:
    said = json.loads(ask(probe.QUESTION, streamed=False))
    probe.expect_answer(said["choices"][0]["message"]["content"])


def stream() -> None:
    said = ask(probe.QUESTION, streamed=True)
    events = [line[6:] for line in said.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event).get("choices", ())]
    probe.expect_pieces([choice["delta"].get("content") or "" for choice in choices])


probe.run(plain, stream)
