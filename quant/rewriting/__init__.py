"""From a float graph to one over quantized weights."""
