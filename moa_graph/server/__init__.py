"""The server behind `moa serve`: mixtures behind OpenAI's chat completions."""
