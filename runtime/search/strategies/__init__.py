"""Searches over whole completions and steps: votes, best of n, step beams."""
