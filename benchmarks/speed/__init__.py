"""How fast, beside peers: latency, start-up, products, overhead, memory."""
