"""Judging of answers: published prompts and stored judgements."""
