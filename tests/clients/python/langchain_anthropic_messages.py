# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "langchain-anthropic>=1",
#     "langchain>=1.2",
# ]
# ///
"""LangChain's ChatAnthropic."""

import langchain_columns
import probe
from langchain_anthropic import ChatAnthropic

langchain_columns.run(ChatAnthropic(model=probe.MODEL, base_url=probe.ROOT_URL, api_key=probe.KEY))
