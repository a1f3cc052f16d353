# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "openai-agents>=0.6",
# ]
# ///
"""OpenAI's Agents SDK, chat completions."""

import agents
import openai_agents_columns

openai_agents_columns.run(agents.OpenAIChatCompletionsModel)
