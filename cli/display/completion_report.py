"""What ``gpt2edge generate`` tells about completions: as JSON, and in words."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gpt2edge.cli.display.output import aligned, counted

if TYPE_CHECKING:
    from gpt2edge.cli.options.settings import Settings
    from gpt2edge.runtime.results import Completion

_ENDS: Final = {
    "eos": "the model, at the end of the text",
    "stop": "--stop",
    "length": "the limit of new tokens",
    "time": "the time limit",
    "cancelled": "Ctrl-C",
}


def report(completions: "Sequence[Completion]", settings: "Settings") -> dict[str, Any]:
    """Return the JSON object of one prompt's completions."""
    first = completions[0]
    values = {**settings.values, "seed": first.seed}
    if len(completions) == 1:
        return {**first.to_dict(), "settings": values}
    found = [completion.to_dict() for completion in completions]
    shared = {"prompt": first.prompt, "seed": first.seed, "settings": values}
    return {"completions": found, **shared}


def explain(completions: "Sequence[Completion]") -> str:
    """Tell how the completions ended, and what they took."""
    first = completions[0]
    timings = [completion.timing for completion in completions]
    tokens = sum(timing.completion_tokens for timing in timings)
    seconds = max(timing.ttft_s + timing.decode_s for timing in timings)
    speed = tokens / seconds if seconds else 0.0  # none where Ctrl-C came before the first token
    timing = first.timing
    facts = [
        ("seed", _seed(first.seed)),
        ("ended by", _ends(completions)),
        ("loading", f"{timing.load_s:.3f} s"),
        ("prompt", _prompt(completions)),
        ("first token", f"after {1e3 * timing.ttft_s:.1f} ms (TTFT)"),
        (
            "each later token",
            f"{timing.tpot_ms:.2f} ms (TPOT), {timing.decode_tps:,.1f} tokens/s",
        ),
        ("all", f"{counted(tokens, 'token')} in {seconds:.3f} s, {speed:,.1f} tokens/s"),
    ]
    guessed, right = timing.guessed_tokens, timing.accepted_tokens
    if guessed:
        facts.insert(-1, ("guessed ahead", f"{counted(guessed, 'token')}, {right:,} of them right"))
    return "\n".join(aligned(facts))


def _seed(seed: int | None) -> str:
    return "none: nothing was drawn" if seed is None else f"{seed}; --seed {seed} draws this again"


def _ends(completions: "Sequence[Completion]") -> str:
    ends = Counter(_ENDS[completion.finish_reason] for completion in completions)
    text = ", ".join(
        end if len(completions) == 1 else f"{end} ({count:,})" for end, count in ends.items()
    )
    cut = any(completion.truncated for completion in completions)
    return text + ("; older tokens were dropped to fit the context" if cut else "")


def _prompt(completions: "Sequence[Completion]") -> str:
    """Count the tokens of the prompts, each once however many samples it has."""
    own = [completion.timing for completion in completions if completion.index == 0]
    tokens = sum(timing.prompt_tokens for timing in own)
    known = sum(timing.reused_tokens for timing in own)
    return f"{counted(tokens, 'token')}, {known or 'none'} of them known from a cache"
