"""The server of `moa serve`: mixtures over OpenAI's and Anthropic's APIs."""
