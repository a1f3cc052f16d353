# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "litellm[proxy]>=1.70",
#     "openai",
# ]
# ///
"""LiteLLM's proxy before the server: chat completions and Messages through it."""

import os
import subprocess
import time
import urllib.request

import openai
import probe
import program

PORT = "18742"
ADDRESS = f"http://127.0.0.1:{PORT}"
program.write_setting("litellm.yaml", program.read_settings("LiteLLM"))
client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key="sk-of-this-proxy")


def ask(**more: object):
    messages = [{"role": "user", "content": probe.QUESTION}]
    return client.chat.completions.create(model=probe.MODEL, messages=messages, **more)


def plain() -> None:
    probe.expect_answer(ask().choices[0].message.content)


def stream() -> None:
    chunks = list(ask(stream=True))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    probe.expect_pieces([delta.content or "" for delta in deltas])


def tool() -> None:
    definition = {
        "type": "function",
        "function": {
            "name": "get_temperature",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    messages: list = [{"role": "user", "content": probe.TOOL_QUESTION}]
    completions = client.chat.completions
    first = completions.create(model=probe.MODEL, messages=messages, tools=[definition])
    call = first.choices[0].message.tool_calls[0]
    result = probe.get_temperature("Oslo")
    messages += [
        first.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": result},
    ]
    second = completions.create(model=probe.MODEL, messages=messages, tools=[definition])
    probe.expect_tool_answer(second.choices[0].message.content)


command = ("litellm", "--config", str(program.HOME / "litellm.yaml"), "--port", PORT)
log = (program.HOME / "litellm.log").open("w")
environment = os.environ | {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MASTER_KEY": "sk-of-this-proxy",
}
with subprocess.Popen(command, stdout=log, stderr=log, env=environment) as proxy:
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"{ADDRESS}/health/liveliness", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            print((program.HOME / "litellm.log").read_text("utf-8")[-1500:])
        probe.run(plain, stream, tool)
    finally:
        proxy.terminate()
