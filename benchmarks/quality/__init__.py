"""How near to float32, beside peers: perplexity, divergence, agreement."""
