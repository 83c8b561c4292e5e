"""Tokenizers: turn a checkpoint's tokenizer files into one tokenizer.json."""
