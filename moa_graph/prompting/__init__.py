"""The layout of prompts, their size in tokens, and the parsing of answers."""
