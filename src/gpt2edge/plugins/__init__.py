"""Plugins: gpt2edge inside other programs, each found by an entry point of its program."""
