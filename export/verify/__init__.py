"""Verification: compare the exported graph with a numpy reference of GPT-2."""
