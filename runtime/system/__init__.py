"""Facts about the machine: processors, threads, memory."""
