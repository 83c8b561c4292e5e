"""Logits of llama.cpp: the checkpoint as GGUF, quantized by llama.cpp itself (q8_0, q4_0, ...)."""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.gguf_file import write_gguf
from benchmarks.peers.logits import serve, versions


class LlamaLogits:
    """A GGUF file with one context as long as the model's own."""

    def __init__(self, gguf: Path, variant: str) -> None:
        params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), params)
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
        self._length = llama_cpp.llama_model_n_ctx_train(self._model)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = self._length
        settings.n_threads = settings.n_threads_batch = len(os.sched_getaffinity(0))
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._batch = llama_cpp.llama_batch_init(self._length, 0, 1)
        self.facts: dict[str, Any] = {
            "system": f"llama.cpp {variant.upper()}",
            "bytes": gguf.stat().st_size,
            "n_vocab": self._n_vocab,
            "settings": "f16 cache, its default",
            "versions": versions("llama-cpp-python", "gguf"),
        }

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """[tokens, n_vocab], in one call."""
        batch, count = self._batch, len(token_ids)
        for place, token in enumerate(token_ids):
            batch.token[place], batch.pos[place] = token, place
            batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, 0, 1
        batch.n_tokens = count
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        if llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError("llama_decode failed")
        found = llama_cpp.llama_get_logits(self._context)
        logits: NDArray[np.float32] = np.ctypeslib.as_array(found, (count, self._n_vocab)).copy()
        return logits


def load(checkpoint: Path, variant: str, work: Path) -> LlamaLogits:
    """Write the checkpoint in F32 and let llama.cpp quantize that file."""
    llama_cpp.llama_backend_init()
    full = write_gguf(checkpoint, work / "model-f32.gguf")
    if variant == "f32":
        return LlamaLogits(full, variant)
    out = work / f"model-{variant}.gguf"
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{variant.upper()}")
    paths = str(full).encode(), str(out).encode()
    if llama_cpp.llama_model_quantize(*paths, ctypes.byref(params)):
        raise RuntimeError(f"llama.cpp could not quantize {full} to {variant}")
    return LlamaLogits(out, variant)


if __name__ == "__main__":
    serve(load)
