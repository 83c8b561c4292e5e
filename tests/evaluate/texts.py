"""What the models of these tests read, and evaluations made by hand."""

from gpt2edge.evaluate import EvaluatedModel, Evaluation, Machine, Quality, Spread
from gpt2edge.evaluate.estimates import Estimate

TEXT = "A small boat came over the water at night, and nobody saw it. The king was asleep. " * 3


def quality(perplexity: float, change: tuple[float, float] | None) -> Quality:
    """Figures of a model, compared with a reference if ``change`` is given."""
    return Quality(
        tokens=1000,
        perplexity=Estimate(perplexity, 0.5),
        bits_per_byte=Estimate(perplexity / 10, 0.01),
        increase=change and Estimate(*change),
        kl=change and Estimate(0.0052, 0.00013),
        top1=change and Estimate(0.93, 0.0012),
    )


def model(name: str, nbytes: int, measured: Quality | None, decode: float) -> EvaluatedModel:
    """A row."""
    return EvaluatedModel(
        name=name,
        path=f"models/{name}",
        recipe=name,
        digest=f"digest of {name}",
        nbytes=nbytes,
        quality=measured,
        prefill_ts=Spread(10 * decode, 9 * decode, 11 * decode),
        decode_ts=Spread(decode, decode - 1, decode + 1),
        first_token_ms=Spread(12.5, 12, 13),
        peak_rss_bytes=150_000_000,
    )


def evaluation(*models: EvaluatedModel, cpu: str = "a processor") -> Evaluation:
    """Rows with what belongs to them; without models, float32 and a quantized one."""
    two = (
        model("fp32", 24_000_000, quality(50, None), 400),
        model("int4", 4_100_000, quality(50.5, (0.0081, 0.0012)), 1200),
    )
    return Evaluation(
        models=models or two,
        machines=(Machine(cpu=cpu, threads=2, onnxruntime="1.24.0"),),
        text="book.txt",
        text_sha256="0" * 64,
        context=512,
        stride=256,
        prefill="pp512",
        decode="tg64 @ d128",
        repetitions=5,
    )
