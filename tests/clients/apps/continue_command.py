# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# npm: @continuedev/cli
"""Continue's command: an agent in the terminal."""

import probe
import program

program.write_setting("continue.yaml", program.read_settings("Continue"))
RUN = ("cn", "--config", str(program.HOME / "continue.yaml"), "--auto", "-p")


def stream() -> None:
    probe.expect_answer(program.run(*RUN, probe.QUESTION))


def tool() -> None:
    call = '[[call: Bash {"command": "echo 21 degrees in Oslo"}]]'
    probe.expect_tool_answer(program.run(*RUN, f"How warm is it? {call}"))


program.report(("cn", "--version"), stream, tool)
