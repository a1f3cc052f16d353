# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "pydantic-ai-slim[openai]>=2",
# ]
# ///
"""Pydantic AI, chat completions."""

import pydantic_ai_columns
from pydantic_ai.models.openai import OpenAIChatModel

pydantic_ai_columns.run(OpenAIChatModel)
