"""The systems under test: each module is a worker that runs in its own environment."""
