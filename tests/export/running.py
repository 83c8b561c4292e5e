"""Run an exported graph without the engine: past in, present out, nothing shared."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.ort.library import ort

SORTER: Final = "models/llmviz-gpt-nano-sort-85k"  # in the folder that ``shared_data`` gives
TOY_CHAT: Final = "models/gpt2basic-pack-chat-691k"

Cache = dict[str, NDArray[np.float32]]


def open_session(model: ModelDir) -> ort.InferenceSession:
    """A session on two threads that says nothing."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return ort.InferenceSession(model.graph_path, options, providers=["CPUExecutionProvider"])


def run(
    session: ort.InferenceSession,
    token_ids: Sequence[int],
    cache: Cache | None = None,
    *,
    keep: Sequence[int] | None = None,
) -> tuple[NDArray[np.float32], Cache]:
    """Logits [n, size] of one row of ``token_ids`` after ``cache``, and the cache after them."""
    cache = cache if cache is not None else _empty_cache(session)
    past = next(iter(cache.values())).shape[2]
    total = past + len(token_ids)
    feeds = {
        "input_ids": np.asarray([token_ids], np.int64),
        "attention_mask": np.ones((1, total), np.int64),
        "position_ids": np.arange(past, total)[None],
        **cache,
    }
    if keep is not None:
        feeds["logits_to_keep"] = np.asarray([keep], np.int64)
    logits, *present = session.run(None, feeds)
    return logits[0], dict(zip(cache, present, strict=True))


def greedy(session: ort.InferenceSession, prompt: Sequence[int], count: int) -> list[int]:
    """``count`` tokens after ``prompt``, each the one of the largest logit."""
    logits, cache = run(session, prompt)
    tokens = [int(logits[-1].argmax())]
    while len(tokens) < count:
        logits, cache = run(session, tokens[-1:], cache, keep=[0])
        tokens.append(int(logits[-1].argmax()))
    return tokens


def _empty_cache(session: ort.InferenceSession) -> Cache:
    return {
        value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32)
        for value in session.get_inputs()
        if value.name.startswith("past_key_values.")
    }
