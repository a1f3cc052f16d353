# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# npm: @qwen-code/qwen-code
"""Qwen Code: an agent in the terminal."""

import probe
import program

SETTINGS = program.read_variables("Qwen Code")
RUN = ("qwen", "--auth-type", "openai", "--yolo", "--prompt")


def stream() -> None:
    probe.expect_answer(program.run(*RUN, probe.QUESTION, **SETTINGS))


def tool() -> None:
    call = (
        '[[call: run_shell_command {"command": "echo 21 degrees in Oslo", "is_background": false}]]'
    )
    probe.expect_tool_answer(program.run(*RUN, f"How warm is it? {call}", **SETTINGS))


program.report(("qwen", "--version"), stream, tool)
