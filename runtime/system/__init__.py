"""The machine: processors, threads, memory."""
