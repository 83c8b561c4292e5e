"""llama.cpp through llama-cpp-python's low-level calls, so that little Python is in its time."""

import ctypes
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.worker import (
    TEMPERATURE,
    TOP_K,
    Measurement,
    StepClock,
    newer,
    parser,
    serve,
    versions,
)

_FILE_TYPES: Final = {
    "f32": llama_cpp.LLAMA_FTYPE_ALL_F32,
    "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}

Choose = Callable[[int], int]
"""A row's next token, from the logits at a place in the batch."""


@llama_cpp.llama_log_callback
def _silent(_level: int, _text: bytes, _data: object) -> None:
    """Swallow llama.cpp's report of every tensor and graph."""


class LlamaRunner:
    """A GGUF model. Contexts are made on first use and kept; a cache is cleared before each."""

    def __init__(self, gguf: Path, variant: str, *, threads: int, rows: int, samples: int) -> None:
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), params)
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self._length = llama_cpp.llama_model_n_ctx_train(self._model)
        self._variant, self._threads, self._rows = variant, threads, rows
        self._contexts: dict[tuple[int, int], Any] = {}
        self._batch = llama_cpp.llama_batch_init(max(rows * self._length, samples), 0, 1)
        self._context(1)

    def facts(self) -> dict[str, object]:
        info = llama_cpp.llama_print_system_info().decode().strip(" |\n")
        return {
            "system": "llama.cpp",
            "variant": self._variant.upper(),
            "settings": f"f16 cache (its default); {info}".replace(" | ", ", "),
            "versions": versions("llama-cpp-python"),
        }

    def measure(self, prompts: Sequence[Sequence[int]], new: int) -> Measurement:
        context = self._context(1 if len(prompts) == 1 else self._rows)
        length = len(prompts[0])
        tokens: list[list[int]] = [[] for _ in prompts]
        clock = StepClock()
        for row, prompt in enumerate(prompts):
            tokens[row].append(self._prefill(context, row, prompt))
        clock.mark()
        choose = [lambda place: self._argmax(context, place)] * len(prompts)
        self._steps(context, tokens, length, new, choose, clock)
        return clock.measurement(tokens)

    def sample(self, prompt: Sequence[int], samples: int, new: int) -> Measurement:
        """The prompt enters one sequence, and the others share its cells of a unified cache."""
        cells = len(prompt) + samples * (new + 1)
        context = self._context(samples, unified=-(-cells // 256) * 256)
        chains = [_sampler(seed) for seed in range(samples)]
        choose = [partial(llama_cpp.llama_sampler_sample, chain, context) for chain in chains]
        clock = StepClock()
        self._prefill(context, 0, prompt)
        memory = llama_cpp.llama_get_memory(context)
        for row in range(1, samples):
            llama_cpp.llama_memory_seq_cp(memory, 0, row, -1, -1)
        tokens = [[draw(len(prompt) - 1)] for draw in choose]
        clock.mark()
        self._steps(context, tokens, len(prompt), new, choose, clock)
        for chain in chains:
            llama_cpp.llama_sampler_free(chain)
        return clock.measurement(tokens)

    def score(self, token_ids: Sequence[int]) -> list[float]:
        context = self._context(1)
        self._fill((token, place, 0) for place, token in enumerate(token_ids))
        for place in range(len(token_ids)):
            self._batch.logits[place] = 1
        self._decode(context)
        rows = np.stack([self._logits(context, place) for place in range(len(token_ids) - 1)])
        rows = rows - rows.max(-1, keepdims=True)
        rows -= np.log(np.exp(rows).sum(-1, keepdims=True))
        values: list[float] = rows[np.arange(len(rows)), token_ids[1:]].tolist()
        return values

    def _steps(
        self,
        context: Any,
        tokens: list[list[int]],
        length: int,
        new: int,
        choose: Sequence[Choose],
        clock: StepClock,
    ) -> None:
        """Decode ``new`` steps of all rows after ``length`` tokens of prompt."""
        for step in range(new):
            self._fill((ids[-1], length + step, row) for row, ids in enumerate(tokens))
            for row in range(len(tokens)):
                self._batch.logits[row] = 1
            self._decode(context)
            for row, ids in enumerate(tokens):
                ids.append(choose[row](row))
            clock.mark()

    def _context(self, rows: int, unified: int = 0) -> Any:
        """The emptied context of ``rows`` sequences, on ``unified`` cells or each on its own."""
        key = rows, unified
        if key not in self._contexts:
            params = llama_cpp.llama_context_default_params()
            params.n_ctx = unified or rows * self._length
            params.kv_unified = bool(unified)
            params.n_batch = self._length
            params.n_seq_max = rows
            params.n_threads = params.n_threads_batch = self._threads
            self._contexts[key] = llama_cpp.llama_init_from_model(self._model, params)
        context = self._contexts[key]
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        return context

    def _prefill(self, context: Any, row: int, prompt: Sequence[int]) -> int:
        """Enter a prompt, with logits of its last position only; the likeliest next token."""
        self._fill((token, place, row) for place, token in enumerate(prompt))
        self._batch.logits[len(prompt) - 1] = 1
        self._decode(context)
        return self._argmax(context, len(prompt) - 1)

    def _fill(self, entries: Iterable[tuple[int, int, int]]) -> None:
        """Make the batch out of (token id, position, row); no logits are asked for yet."""
        batch, count = self._batch, 0
        for token, place, row in entries:
            batch.token[count], batch.pos[count] = token, place
            batch.n_seq_id[count], batch.seq_id[count][0], batch.logits[count] = 1, row, 0
            count += 1
        batch.n_tokens = count

    def _decode(self, context: Any) -> None:
        if llama_cpp.llama_decode(context, self._batch):
            raise RuntimeError("llama_decode failed")

    def _argmax(self, context: Any, place: int) -> int:
        return int(self._logits(context, place).argmax())

    def _logits(self, context: Any, place: int) -> NDArray[np.float32]:
        logits = llama_cpp.llama_get_logits_ith(context, place)
        return np.ctypeslib.as_array(logits, (self._n_vocab,))


def _sampler(seed: int) -> Any:
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for part in (
        llama_cpp.llama_sampler_init_top_k(TOP_K),
        llama_cpp.llama_sampler_init_temp(TEMPERATURE),
        llama_cpp.llama_sampler_init_dist(seed),
    ):
        llama_cpp.llama_sampler_chain_add(chain, part)
    return chain


def convert(checkpoint: Path, out: Path, variant: str, *, words: bool) -> None:
    """Write the checkpoint as GGUF, in F32, and from that in fewer bits."""
    from benchmarks.peers.gguf_file import write_gguf

    source = out if variant == "f32" else checkpoint / file_name("f32", words=words)
    if not newer(source, checkpoint):
        write_gguf(checkpoint, source, words=words)
    if variant != "f32":
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype = _FILE_TYPES[variant]
        paths = str(source).encode(), str(out).encode()
        if llama_cpp.llama_model_quantize(*paths, ctypes.byref(params)):
            raise RuntimeError(f"llama.cpp could not quantize {source} to {variant}")


def file_name(variant: str, *, words: bool) -> str:
    """The GGUF file of a variant, with a vocabulary or without."""
    return f"model-{variant}{'-words' if words else ''}.gguf"


def main() -> None:
    """Serve the checkpoint named on the command line, as GGUF written beside it."""
    arguments = parser(*_FILE_TYPES)
    arguments.add_argument("--words", action="store_true", help="a file with a vocabulary of bytes")
    args = arguments.parse_args()
    gguf = args.model / file_name(args.variant, words=args.words)
    if not newer(gguf, args.model):
        convert(args.model, gguf, args.variant, words=args.words)
    if not args.prepare:
        serve(
            lambda: LlamaRunner(
                gguf, args.variant, threads=args.threads, rows=args.rows, samples=args.samples
            )
        )


if __name__ == "__main__":
    main()
