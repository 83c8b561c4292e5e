"""Whether the graph computes what GPT-2 is defined to compute."""
