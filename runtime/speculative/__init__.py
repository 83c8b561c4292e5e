"""Speculative decoding: who guesses, how far, and what it costs."""
