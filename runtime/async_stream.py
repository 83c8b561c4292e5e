"""AsyncStream: the chunks of one call, for code that awaits."""

import threading
from collections.abc import AsyncIterator

from gpt2edge.runtime.stream import Stream
from gpt2edge.runtime.types import Chunk, Completion


class AsyncStream(AsyncIterator[Chunk]):
    """A ``Stream`` whose every chunk is computed in a worker thread of the event loop.

    Between chunks no thread is held. A task that is cancelled goes on at once, and the thread is
    free after the token in the making: nothing is generated behind its back.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._one_at_a_time = threading.Lock()

    async def __anext__(self) -> Chunk:
        import asyncio  # slow to load; who awaits has it already

        try:
            chunk = await asyncio.to_thread(self._next)
        except asyncio.CancelledError:
            self.cancel()
            raise
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def _next(self) -> Chunk | None:
        with self._one_at_a_time:
            return next(self._stream, None)

    def cancel(self) -> None:
        """End everything after the tokens in the making; see ``Stream.cancel``."""
        self._stream.cancel()

    @property
    def completions(self) -> list[Completion]:
        """What was generated; what was left before its end counts as cancelled."""
        return self._stream.completions

    @property
    def completion(self) -> Completion:
        """The completion of a stream of one."""
        return self._stream.completion
