# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "pydantic-ai-slim[openai]>=2",
# ]
# ///
"""Pydantic AI, Responses."""

import pydantic_ai_columns
from pydantic_ai.models.openai import OpenAIResponsesModel

pydantic_ai_columns.run(OpenAIResponsesModel)
