# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# npm: opencode-ai
"""opencode: an agent in the terminal."""

import probe
import program

SETTINGS = '{"autoupdate": false, "permission": {"bash": "allow"},' + program.read_settings(
    "opencode"
).removeprefix("{")
program.write_setting(".config/opencode/opencode.json", SETTINGS)
RUN = ("opencode", "run", "--model", f"moa/{probe.MODEL}")


def stream() -> None:
    probe.expect_answer(program.run(*RUN, probe.QUESTION))


def tool() -> None:
    call = '[[call: bash {"command": "echo 21 degrees in Oslo", "description": "Say"}]]'
    probe.expect_tool_answer(program.run(*RUN, f"How warm is it? {call}"))


program.report(("opencode", "--version"), stream, tool)
