"""Searches over trees: Tree of Thoughts, Monte Carlo, looms, and how they are shown."""
