# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "openai-agents>=0.6",
# ]
# ///
"""OpenAI's Agents SDK, Responses (its default)."""

import agents
import openai_agents_columns

openai_agents_columns.run(agents.OpenAIResponsesModel)
