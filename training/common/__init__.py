"""GPT-2 in PyTorch, its optimizer, its files."""
