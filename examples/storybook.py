"""The engine inside an application: several readers of one model, each with its own story.

    python examples/storybook.py "The wolf" "The king"

An application has its own event loop, limits and shutdown. Here one engine serves all readers, a
reader who leaves frees the model after the token in the making, and no story takes too long.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from types import TracebackType

import gpt2edge
from gpt2edge import SamplingParams, StopParams


class Storybook:
    """Stories from one engine, which is loaded once and closed at the end."""

    def __init__(self, *, longest: int = 40, patience_s: float = 10.0) -> None:
        self._engine = gpt2edge.load()
        self._longest = longest
        self._stop = StopParams(strings=("\n\n",), max_time=patience_s)

    async def __aenter__(self) -> "Storybook":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.close()

    async def pages(self, opening: str, *, seed: int) -> AsyncIterator[str]:
        """The story that begins with ``opening``, piece by piece."""
        yield opening
        stream = self._engine.stream(
            opening,
            max_new_tokens=self._longest,
            sampling=SamplingParams(temperature=0.7, top_k=40, seed=seed),
            stop=self._stop,
        )
        async for chunk in stream:
            yield chunk.text


async def read(book: Storybook, opening: str, seed: int) -> str:
    """A patient reader."""
    return "".join([piece async for piece in book.pages(opening, seed=seed)])


async def glance(book: Storybook, opening: str, pieces: int) -> str:
    """A reader who leaves after a few pieces."""
    text = ""
    async for piece in book.pages(opening, seed=0):
        text += piece
        pieces -= 1
        if not pieces:
            break
    return text


async def main(openings: list[str]) -> None:
    """All readers at once, and one who only glances."""
    async with Storybook() as book:
        readers = [read(book, opening, seed) for seed, opening in enumerate(openings)]
        *stories, glimpse = await asyncio.gather(*readers, glance(book, openings[0], pieces=3))
    for story in stories:
        print(f"{story}\n")
    print(f"{glimpse} ...")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["The wolf", "The king"]))
