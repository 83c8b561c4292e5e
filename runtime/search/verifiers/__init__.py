"""Verifiers: score a completion or its steps."""
