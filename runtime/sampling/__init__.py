"""Choose a token from logits: parameters, processors, truncation, random numbers."""
