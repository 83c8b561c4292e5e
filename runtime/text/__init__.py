"""Convert between text and tokens: tokenizer, detokenizer, end conditions."""
