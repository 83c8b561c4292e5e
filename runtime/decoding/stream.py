"""Stream: the chunks of one call, for code that iterates and for code that awaits."""

import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

from gpt2edge.runtime.decoding.decoder import Decoder
from gpt2edge.runtime.decoding.generation import Generation
from gpt2edge.runtime.decoding.request import Request
from gpt2edge.runtime.results import Chunk, Completion

ResultT = TypeVar("ResultT", Completion, list[Completion])


class Stream(Iterator[Chunk], AsyncIterator[Chunk], Generic[ResultT]):
    """The chunks of one call as they are decoded; ``result`` is the completion.

    ``for chunk in stream`` computes each chunk in the calling thread; ``async for chunk in stream``
    computes it in a worker thread of the event loop, one chunk at a time. ``finish()`` and
    ``await stream`` decode to the end and return ``result``. Cancelling a task returns at once; its
    worker thread is free after the current token. The end of a ``with`` block cancels the rest.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        tokens: Iterator[Generation],
        decoder: Decoder,
        *,
        single: bool,
    ) -> None:
        self.requests = tuple(requests)
        self._tokens = tokens  # yields a generation at every token that it takes
        self._decoder = weakref.ref(decoder)  # _tokens owns it until the last token
        self._single = single
        self._one_at_a_time = threading.Lock()

    def __repr__(self) -> str:
        return f"Stream({list(self.requests)!r})"

    def __next__(self) -> Chunk:
        return next(self._tokens).chunk()

    def finish(self) -> ResultT:
        """Decode to the end without creating chunks, and return ``result``."""
        deque(self._tokens, maxlen=0)
        return self.result

    @property
    def result(self) -> ResultT:
        """The completion, or the list of completions of a batch; partial ones if not ended."""
        result: Any = self.completion if self._single else self.completions
        return result  # type: ignore[no-any-return]

    @property
    def completions(self) -> list[Completion]:
        """All completions; reading them cancels those that have not ended."""
        return [completion for request in self.requests for completion in request.completions]

    @property
    def completion(self) -> Completion:
        """The completion, where the stream has only one."""
        (completion,) = self.completions
        return completion

    def cancel(self) -> None:
        """End all completions after the current token; safe from any thread or signal handler.

        No chunk follows: text held back for a possible stop string is in the completion only.
        """
        for request in self.requests:
            request.cancel()

    def on_prefill(self, progress: Callable[[int, int], None]) -> "Stream[ResultT]":
        """Call ``progress`` during each prefill, with the number of tokens done and the total.

        Neither counts tokens reused from a prompt cache or another sample.
        """
        decoder = self._decoder()
        if decoder is not None:
            decoder.on_prefill = progress
        return self

    def __enter__(self) -> "Stream[ResultT]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    async def __anext__(self) -> Chunk:
        import asyncio  # slow to load; code that awaits has loaded it already

        try:
            chunk = await asyncio.to_thread(self._next)
        except asyncio.CancelledError:
            self.cancel()
            raise
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def __await__(self) -> Generator[Any, None, ResultT]:
        return self._finished().__await__()

    async def _finished(self) -> ResultT:
        async for _ in self:
            pass
        return self.result

    def _next(self) -> Chunk | None:
        with self._one_at_a_time:
            return next(self, None)
