"""Inside: a model's forward pass with every value inside it to read and to change."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpt2edge._checks import check_int
from gpt2edge.errors import (
    Argument,
    ArgumentError,
    ContextLengthError,
    InsideError,
)
from gpt2edge.graph.names import Block
from gpt2edge.inside.cache import ActivationCache, Source
from gpt2edge.inside.edits import Edit, Edits, Positions
from gpt2edge.inside.hooks import (
    MLP,
    Hook,
    Name,
    NamesFilter,
    chosen_names,
    full_name,
    needs,
)
from gpt2edge.inside.passes import GraphEdits, Pass
from gpt2edge.inside.sessions import Sessions
from gpt2edge.inside.shapes import edited_columns, hook_shape, positions_of, split_value
from gpt2edge.model_dir import ModelDir
from gpt2edge.runtime.arrays import FloatArray
from gpt2edge.runtime.decoding.decoder import chunk_bounds
from gpt2edge.runtime.decoding.request import Prompt, RequestBuilder
from gpt2edge.runtime.options import RuntimeOptions

DEFAULT_BYTES: Final = 1 << 30
HookFunction: TypeAlias = Callable[[FloatArray, str], "FloatArray | None"]
"""Takes a value and its name, and returns what to put in its place; None leaves it."""


class Inside:
    """Look inside a model and change what it computes; ``Engine.inside`` makes one.

    Sessions of its own are opened on first use, on the CPU, each with a packed copy of the weights:
    one to read values, one to change them, one for the head. ``close``, or that of the engine,
    frees them. Any number of threads may use it.
    """

    def __init__(self, model: ModelDir, options: RuntimeOptions, builder: RequestBuilder) -> None:
        self.model, self.config = model, model.config
        self._builder = builder
        self._sessions = Sessions(model, options)
        self._stored = self._sessions.hooks
        self.tensors = self._sessions.tensors
        """The model's weights by name."""

    def __repr__(self) -> str:
        return f"Inside({str(self.model.path)!r})"

    def __enter__(self) -> "Inside":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the sessions; later calls raise EngineClosedError."""
        self._sessions.close()

    def encode(self, prompt: Prompt, *, prepend_bos: bool = False) -> list[int]:
        """Return the token ids of a prompt, as ``Engine.logits`` reads it.

        ``prepend_bos`` puts the begin-of-text token before them. Raises ContextLengthError for more
        tokens than the context holds, ValueError where the model has no begin-of-text token.
        """
        token_ids = self._builder.encode(prompt, ends=True)
        if prepend_bos:
            if self.config.bos_token_id is None:
                raise ArgumentError(
                    Argument("prepend_bos", True), ": the model has no begin-of-text token"
                )
            token_ids = [self.config.bos_token_id, *token_ids]
        if len(token_ids) > self.config.n_positions:
            raise ContextLengthError(
                f"{len(token_ids)} tokens do not fit the model's context of "
                f"{self.config.n_positions}: give a shorter prompt"
            )
        return token_ids

    def token(self, token_id: int) -> str:
        """Return a token's text; U+FFFD stands for bytes that are part of a character."""
        tokenizer = self._builder.tokenizer
        return str(token_id) if tokenizer is None else tokenizer.piece(token_id)

    def token_id(self, token: str | int) -> int:
        """Return the id of a token, given by its text or as it is.

        Raises ValueError for a text that is not one token.
        """
        if not isinstance(token, str):
            return check_int("token", token, 0, self.config.vocab_size - 1)
        found = self._builder.encode_text(token, "token")
        if len(found) != 1:
            pieces = " ".join(repr(self.token(each)) for each in found)
            raise ArgumentError(
                Argument("token"),
                f" is {token!r}, which is {len(found)} tokens ({pieces}); give one",
            )
        return found[0]

    def run_with_cache(
        self,
        prompt: Prompt,
        names_filter: NamesFilter = None,
        *,
        positions: Positions = None,
        prepend_bos: bool = False,
        max_bytes: int = DEFAULT_BYTES,
    ) -> tuple[FloatArray, ActivationCache]:
        """Return the logits [pos, vocab_size or labels] after every token, and values inside.

        The logits are those of ``Engine.logits`` to the bit. ``names_filter`` says which values:
        all, a name or shorthand, a list of them, or a function of the name. Of tokens outside
        ``positions`` nothing is kept once the pass is done. Raises ValueError for an unknown name,
        and where the values would take more than ``max_bytes``.
        """
        token_ids = self.encode(prompt, prepend_bos=prepend_bos)
        names = chosen_names(names_filter, self.config.n_layer)
        done = self._read(token_ids, names, {}, max_bytes)
        cache = self._cache_of(token_ids, names, done, positions)
        at = positions_of(positions, len(token_ids))
        return (done.logits[0] if positions is None else done.logits[0, at]), cache

    def run_with_edits(
        self,
        prompt: Prompt,
        edits: Edits,
        names_filter: NamesFilter | bool = False,
        *,
        prepend_bos: bool = False,
        max_bytes: int = DEFAULT_BYTES,
    ) -> tuple[FloatArray, ActivationCache]:
        """Return the logits [pos, vocab_size] of a pass in which ``edits`` change values.

        The cache has the values that ``names_filter`` takes, after the edits; False is none.
        Raises ValueError for a name that cannot be edited, or an edit that does not fit its value.
        """
        token_ids = self.encode(prompt, prepend_bos=prepend_bos)
        names = (
            ()
            if names_filter is False
            else chosen_names(None if names_filter is True else names_filter, self.config.n_layer)
        )
        done = self._read(token_ids, names, self._graph_edits(edits, len(token_ids)), max_bytes)
        return done.logits[0], self._cache_of(token_ids, names, done, None)

    def run_with_hooks(
        self,
        prompt: Prompt,
        fwd_hooks: Sequence[tuple[Name, HookFunction]],
        *,
        prepend_bos: bool = False,
    ) -> FloatArray:
        """Return the logits [pos, vocab_size] where functions change values: TransformerLens' call.

        A graph cannot call Python. So each hook in the order of the model costs one more pass: the
        value is read with the earlier edits in force, and what the function returns replaces it.
        """
        token_ids = self.encode(prompt, prepend_bos=prepend_bos)
        order = {name: at for at, name in enumerate(chosen_names(None, self.config.n_layer))}
        named = [(full_name(name, self.config.n_layer), function) for name, function in fwd_hooks]
        edits: dict[Name, Edit] = {}
        for name, function in sorted(named, key=lambda pair: order[pair[0]]):
            _, cache = self.run_with_edits(token_ids, edits, [name])
            value = np.array(cache[name])
            changed = function(value, name)
            edits[name] = Edit.replace(value if changed is None else np.asarray(changed))
        return self.run_with_edits(token_ids, edits)[0]

    def readout(self, vectors: FloatArray) -> FloatArray:
        """Return logits [..., vocab_size] of residual vectors [..., d_model]: norm and projection.

        The graph's own last nodes compute them, in its own precision and in the engine's chunks.
        Raises InsideError for a classifier.
        """
        self.require_language_model()
        flat = np.ascontiguousarray(vectors, np.float32).reshape(-1, self.config.n_embd)
        session, hidden, logits = self._sessions.head()
        pieces = [
            session.run({hidden: flat[start:end]}, [logits])[0].reshape(end - start, -1)
            for start, end in self.chunks(len(flat))
        ]
        whole = np.concatenate(pieces) if pieces else np.zeros((0, self.config.vocab_size))
        return np.asarray(whole, np.float32).reshape(*vectors.shape[:-1], -1)

    def chunks(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield start and end of the pieces in which the engine computes ``rows`` rows."""
        return chunk_bounds(rows, self._sessions.prefill_chunk)

    def run_rows(
        self,
        token_ids: NDArray[np.int64],
        edits: GraphEdits,
        values: Sequence[str] = (),
        *,
        last: bool = True,
    ) -> Pass:
        """Run rows of token ids [rows, tokens] at once, with edits of the graph's own values.

        For sweeps of one's own: ``graph_value`` names a value, ``Pass`` says what comes back.
        """
        return self._sessions.passes(edits=True).run(token_ids, values, edits=edits, last=last)

    def graph_value(self, name: Name) -> Hook:
        """Return where the graph keeps a value that can be edited.

        Raises ValueError for a value that the graph does not hold.
        """
        full = full_name(name, self.config.n_layer)
        if full not in self._stored:
            raise ArgumentError(
                Argument("name"),
                f" is {full!r}, which is derived and cannot be edited; edit what it is made of: "
                f"{', '.join(needs(full))}",
            )
        return self._stored[full]

    def graph_shape(
        self, hook: Hook, keep: FloatArray, add: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Turn ``keep`` and ``add`` of a value's shape into the graph's, for ``run_rows``."""
        return edited_columns(self.config, hook, keep, add, self.tensors.head_width)

    def _graph_edits(self, edits: Edits, tokens: int) -> GraphEdits:
        """Return the edits by the graph's values; those of q, k and v share one."""
        found: dict[str, tuple[FloatArray, FloatArray]] = {}
        for name, edit in edits.items():
            hook = self.graph_value(name)
            keep, add = edit.arrays(hook_shape(self.config, hook, self._width(hook), tokens))
            keep, add = self.graph_shape(hook, keep, add)  # [1, pos, n]
            if hook.value in found:  # x * keep + add, twice
                before = found[hook.value]
                keep, add = before[0] * keep, before[1] * keep + add
            found[hook.value] = (keep, add)
        return found

    def _width(self, hook: Hook) -> int:
        """Return the columns of a value without heads."""
        return self.config.n_inner if hook.part == MLP else self.config.n_embd

    def _read(
        self, token_ids: Sequence[int], names: Sequence[str], edits: GraphEdits, max_bytes: int
    ) -> Pass:
        """Run one prompt and return the values of the graph that ``names`` are made of."""
        hooks = {self._stored[self._full(each)] for name in names for each in needs(name)}
        values = sorted({hook.value for hook in hooks})
        self._check_bytes(values, len(token_ids), max_bytes)
        ids = np.asarray(token_ids, np.int64)[None]
        return self._sessions.passes(edits=bool(edits)).run(ids, values, edits=edits)

    def _check_bytes(self, values: Sequence[str], tokens: int, limit: int) -> None:
        config = self.config
        widths = {
            hook.value: 3 * config.n_embd if hook.part in ("q", "k", "v") else self._width(hook)
            for hook in self._stored.values()
        }
        needed = 4 * tokens * sum(widths[value] for value in values)
        check_int("max_bytes", limit, 0, 2**63)
        if needed > limit:
            kinds = "all values" if len(values) == len(widths) else "these values"
            raise ArgumentError(
                f"{kinds} of {tokens:,} tokens take {needed / 1e6:,.1f} MB, and the limit is ",
                Argument("max_bytes", limit),
                ": name what you want, such as names_filter=['resid_post'], or raise the limit",
            )

    def _cache_of(
        self, token_ids: Sequence[int], names: Sequence[str], done: Pass, positions: Positions
    ) -> ActivationCache:
        """Split the graph's values into those that have names, and wrap them."""
        stored: dict[str, FloatArray] = {}
        for part in {each for name in names for each in needs(name)}:
            full = self._full(part)
            hook = self._stored[full]
            stored[full] = split_value(self.config, hook, done.values[hook.value][0])
        self._read_keys(stored, done)
        source = Source(
            self.config, self.tensors, tuple(token_ids), tuple(map(self.token, token_ids))
        )
        return ActivationCache(stored, names, source, positions)

    def _read_keys(self, stored: dict[str, FloatArray], done: Pass) -> None:
        """Put the keys that attention reads in place of the exact ones, where the cache is int8."""
        if done.keys.dtype == np.float32:
            return
        for layer in range(self.config.n_layer):
            name = f"blocks.{layer}.attn.hook_k"
            if name in stored:
                shape = (self.config.n_head, 1, done.keys.shape[-1])
                scale = self.tensors.raw(f"{Block(layer).attention}/k_scale").reshape(shape)
                keys = done.keys[layer, 0] * scale  # [head, pos, padded]
                stored[name] = keys.transpose(1, 0, 2)[..., : self.config.head_dim]

    def _full(self, name: str) -> str:
        """Return the stored name of a value; the last norm reads the last residual."""
        return f"blocks.{self.config.n_layer - 1}.hook_resid_post" if name == "ln_final" else name

    def require_language_model(self) -> None:
        """Raise InsideError for a classifier, whose hidden states lead to labels."""
        if self.model.manifest.task != "text-generation":
            raise InsideError(
                f"{self.model.path} is a classifier ({self.model.manifest.task}): its hidden "
                "states lead to labels, not to tokens. Values and attention can be read, not the "
                "lens"
            )
