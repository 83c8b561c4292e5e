"""How well models predict a text, and how far each is from the first of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2edge._checks import check_callable, check_list, check_text, check_type
from gpt2edge._progress import Progress, silent
from gpt2edge.evaluate.estimates import Estimate, bits_per_byte_of
from gpt2edge.evaluate.predictions import Predictions, predict
from gpt2edge.runtime.decoding.request import RequestBuilder
from gpt2edge.runtime.decoding.scoring import Window
from gpt2edge.runtime.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a model predicts a text, and how far it is from a reference model.

    The last three are None for the reference, and for a model of another vocabulary: ``increase``
    of the perplexity is relative, with the standard error of the paired difference; ``kl`` is the
    mean of KL(reference || model) in nats a token; ``top1`` is the share of tokens where both have
    the same most probable token. ``bits_per_byte`` compares models of different vocabularies; it
    is None where the tokens do not spell the text.
    """

    tokens: int
    perplexity: Estimate
    bits_per_byte: Estimate | None
    increase: Estimate | None = None
    kl: Estimate | None = None
    top1: Estimate | None = None


def measure_quality(
    engines: Sequence[Engine],
    text: str,
    *,
    context: int,
    stride: int | None = None,
    progress: Progress | None = None,
) -> list[Quality]:
    """Measure all models on a text; the first one is the reference of the others.

    A window of ``context`` tokens moves by ``stride``, by default half of it, as in
    ``Engine.perplexity``, whose figures these equal. Models of one vocabulary read each window in
    turn; a model of another vocabulary reads the text by itself. Raises ValueError for a text of
    fewer than two tokens, or windows beyond a model's context.
    """
    for engine in check_list("engines", engines, "a list of Engine"):
        check_type("engines", engine, Engine, "a list of Engine")
        engine.model.require_language_model()
    check_text("text", text)
    check_callable("progress", progress)
    if not engines:
        raise ValueError("engines is empty; give at least one")
    window = Window.of(context, stride, min(engine.config.n_positions for engine in engines))
    found: dict[int, Quality] = {}
    for group in _groups(engines):
        members = [engines[index] for index in group]
        with_reference = group[0] == 0
        measured = _measure(members, text, window, with_reference, progress or silent)
        found.update(zip(group, measured, strict=True))
    return [found[index] for index in range(len(engines))]


def _groups(engines: Sequence[Engine]) -> list[list[int]]:
    """Put the models of the first one's vocabulary together, and each other one by itself."""
    alike = [index for index, engine in enumerate(engines) if _same_tokens(engines[0], engine)]
    return [alike, *([index] for index in range(len(engines)) if index not in alike)]


def _same_tokens(a: Engine, b: Engine) -> bool:
    if a is b:
        return True
    if a.config.vocab_size != b.config.vocab_size or a.tokenizer is None or b.tokenizer is None:
        return False
    return a.tokenizer.agrees_with(b.tokenizer)


def _measure(
    engines: Sequence[Engine], text: str, window: Window, with_reference: bool, tell: Progress
) -> list[Quality]:
    """Measure models of one vocabulary; the first is the reference if ``with_reference``."""
    first = engines[0]
    builder = RequestBuilder(first.model, first.tokenizer, first.defaults, first.load_s)
    token_ids, nbytes = builder.encode_to_score(text)
    length = min(window.context, len(token_ids))
    decoders = [engine.decoder(rows=1, max_length=length) for engine in engines]
    found = predict(decoders, token_ids, window, tell)
    if found[0].losses.size < len(token_ids) - 1:
        nbytes = None  # windows side by side leave out the first token of each
    return [
        _quality(own, nbytes, paired=with_reference and place > 0)
        for place, own in enumerate(found)
    ]


def _quality(found: Predictions, nbytes: int | None, *, paired: bool) -> Quality:
    losses = found.losses
    return Quality(
        tokens=losses.size,
        perplexity=found.perplexity,
        bits_per_byte=bits_per_byte_of(losses, nbytes) if nbytes else None,
        increase=found.perplexity_increase if paired else None,
        kl=found.kl if paired else None,
        top1=found.top1_agreement if paired else None,
    )
