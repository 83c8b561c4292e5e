"""Training of the bundled models, run from the repository's root."""
