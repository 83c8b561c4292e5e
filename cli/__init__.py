"""The Click command line: one module a command, loaded on use."""
