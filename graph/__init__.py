"""The graph file that ``export`` writes, ``quant`` rewrites and ``runtime`` edits as it loads."""
