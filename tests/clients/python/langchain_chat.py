# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "langchain-openai>=1.7",
#     "langchain>=1.2",
# ]
# ///
"""LangChain's ChatOpenAI, chat completions."""

import langchain_columns
import probe
from langchain_openai import ChatOpenAI

langchain_columns.run(ChatOpenAI(model=probe.MODEL, base_url=probe.BASE_URL, api_key=probe.KEY))
