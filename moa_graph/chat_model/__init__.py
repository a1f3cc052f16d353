"""A mixture as a LangChain chat model."""
