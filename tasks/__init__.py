"""Tasks for search and training, as examples: the package ``gpt2edge`` does without them."""
