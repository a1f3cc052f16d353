"""Middleware that runs layers of proposers before the model of a LangChain agent."""
