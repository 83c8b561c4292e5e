"""The storyteller: books, tokenizer, training, evaluation, the bundled model."""
