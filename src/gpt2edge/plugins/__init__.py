"""gpt2edge inside other programs; each module is found by an entry point of its program."""
