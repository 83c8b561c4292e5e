"""Between text and tokens: tokenizer, detokenizer, end conditions."""
