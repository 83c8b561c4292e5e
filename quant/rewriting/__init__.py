"""Rewriting: replace the operators of a float32 graph by those over quantized weights."""
