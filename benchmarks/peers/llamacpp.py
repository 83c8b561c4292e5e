"""llama.cpp through llama-cpp-python's low-level calls, so that little Python is in its time."""

import ctypes
from collections.abc import Iterable, Sequence
from pathlib import Path

import llama_cpp
import numpy as np
from gguf_file import write_gguf
from worker import Measurement, StepClock, parser, serve, versions


@llama_cpp.llama_log_callback
def _silent(_level: int, _text: bytes, _data: object) -> None:
    """Swallow llama.cpp's report of every tensor and graph."""


class LlamaRunner:
    """A GGUF model, one context for all requests; its cache is cleared before each."""

    def __init__(self, gguf: Path, *, threads: int, rows: int) -> None:
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        path = str(gguf).encode()
        self._model = llama_cpp.llama_model_load_from_file(
            path, llama_cpp.llama_model_default_params()
        )
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self._length = llama_cpp.llama_model_n_ctx_train(self._model)
        self._threads = threads
        self._contexts = {size: self._context(size) for size in {1, rows}}
        self._batch = llama_cpp.llama_batch_init(rows * self._length, 0, 1)

    def facts(self) -> dict[str, object]:
        info = llama_cpp.llama_print_system_info().decode().strip(" |\n")
        return {
            "system": "llama.cpp",
            "variant": "fp32",
            "settings": f"f16 cache (its default); {info}".replace(" | ", ", "),
            "versions": versions("llama-cpp-python"),
        }

    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        size = min(size for size in self._contexts if size >= len(prompts))
        context = self._contexts[size]
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        length, tokens = len(prompts[0]), [[] for _ in prompts]
        clock = StepClock()
        for row, prompt in enumerate(prompts):  # logits of each prompt's last position only
            self._fill((token, place, row) for place, token in enumerate(prompt))
            self._batch.logits[length - 1] = 1
            tokens[row].append(*self._decode(context, [length - 1]))
        clock.mark()
        for step in range(new):
            self._fill((ids[-1], length + step, row) for row, ids in enumerate(tokens))
            for row in range(len(tokens)):
                self._batch.logits[row] = 1
            for ids, token in zip(tokens, self._decode(context, range(len(tokens))), strict=True):
                ids.append(token)
            clock.mark()
        return clock.measurement(tokens)

    def _context(self, rows: int) -> object:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = rows * self._length
        params.n_batch = self._length
        params.n_seq_max = rows
        params.n_threads = params.n_threads_batch = self._threads
        return llama_cpp.llama_init_from_model(self._model, params)

    def _fill(self, entries: Iterable[tuple[int, int, int]]) -> None:
        """Make the batch out of (token id, position, row); no logits are asked for yet."""
        batch, count = self._batch, 0
        for token, place, row in entries:
            batch.token[count], batch.pos[count] = token, place
            batch.n_seq_id[count], batch.seq_id[count][0], batch.logits[count] = 1, row, 0
            count += 1
        batch.n_tokens = count

    def _decode(self, context: object, places: Iterable[int]) -> list[int]:
        """One forward call; the likeliest token at each of ``places`` in the batch."""
        if llama_cpp.llama_decode(context, self._batch):
            raise RuntimeError("llama_decode failed")
        return [self._argmax(llama_cpp.llama_get_logits_ith(context, place)) for place in places]

    def _argmax(self, logits: ctypes.Array[ctypes.c_float]) -> int:
        return int(np.ctypeslib.as_array(logits, (self._n_vocab,)).argmax())


def main() -> None:
    """Serve the checkpoint named on the command line, as GGUF written beside it."""
    args = parser().parse_args()
    gguf = write_gguf(args.model, args.model / "model-f32.gguf")
    serve(lambda: LlamaRunner(gguf, threads=args.threads, rows=args.rows))


if __name__ == "__main__":
    main()
