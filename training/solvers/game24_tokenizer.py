"""A byte-level BPE whose tokens are numbers up to 99 and the marks between them."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END = "<|endoftext|>"
SPACE, NEWLINE = "Ġ", "Ċ"  # as byte-level BPE writes them
MARKS = ("+", "-", "*", "/", "=")


def build_tokenizer() -> Tokenizer:
    """Merges written down, not learnt: a number is one token, " 144" is " 14" and "4"; lossless.

    Every number has a token with the space before it and one without, for the start of a line.
    """
    merges = [(SPACE, digit) for digit in "0123456789"]
    merges += [(SPACE + str(n // 10), str(n % 10)) for n in range(10, 100)]
    merges += [(str(n // 10), str(n % 10)) for n in range(10, 100)]
    merges += [(SPACE, mark) for mark in MARKS]
    merges += [(SPACE, "("), ("l", "e"), ("le", "f"), ("lef", "t"), (SPACE + "(", "left")]
    merges += [(SPACE + "(left", ":"), (")", NEWLINE)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [END, *alphabet, *(first + second for first, second in merges)]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: at for at, token in enumerate(vocabulary)}, merges=merges)
    )
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
