"""AlpacaEval 2.0."""
