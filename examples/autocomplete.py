"""A terminal autocomplete: write, and take one of three suggestions by its number.

    python examples/autocomplete.py [MODEL]

Every line that you enter is added to the text; a line that is a number from 1 to 3 takes that
suggestion; an empty one ends the program and prints the text.
"""

import sys
from collections.abc import Iterator

import gpt2edge
from gpt2edge import Engine, SamplingParams, StopParams

BEAMS = SamplingParams(num_beams=6, no_repeat_ngram_size=3)
WITHIN = StopParams(strings=("\n",), max_time=10.0)
SHOWN = 3


def suggestions(engine: Engine, text: str) -> list[str]:
    """The likeliest continuations of a few tokens, the best first, none twice."""
    found = engine.generate_batch(
        [text],
        n=SHOWN,
        max_new_tokens=6,
        sampling=BEAMS,
        stop=WITHIN,
        overflow="truncate-left",
    )
    return list(dict.fromkeys(completion.text for completion in found if completion.text.strip()))


def lines() -> Iterator[str]:
    """What is typed, until an empty line or the end."""
    while True:
        try:
            line = input("> ")
        except EOFError:
            return
        if not line:
            return
        yield line


def main() -> None:
    """Read lines, suggest, and print the text at the end."""
    text = ""
    offered: list[str] = []
    with gpt2edge.load(*sys.argv[1:2]) as engine:
        for line in lines():
            if line.isdecimal() and 1 <= int(line) <= len(offered):
                text += offered[int(line) - 1]
            else:
                text += line if not text or text.endswith(" ") else f" {line}"
            offered = suggestions(engine, text)
            print(text, file=sys.stderr)
            for number, suggestion in enumerate(offered, 1):
                print(f"  {number} ...{suggestion}", file=sys.stderr)
    print(text)


if __name__ == "__main__":
    main()
