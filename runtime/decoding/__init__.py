"""Sequences on the rows of a cache: forward calls, scheduler, beam search, streams."""
