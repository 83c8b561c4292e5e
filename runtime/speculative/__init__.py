"""Speculative decoding: drafters, the number of tokens to guess, and its cost."""
