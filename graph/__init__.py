"""The graph file: ``export`` writes it, ``quant`` rewrites it and ``runtime`` edits it at load."""
