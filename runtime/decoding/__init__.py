"""Decoding of sequences on the rows of a cache: forward calls, scheduler, beams, streams."""
