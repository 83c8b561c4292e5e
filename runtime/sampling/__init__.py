"""From logits to a token: parameters, processors, truncation, random numbers."""
