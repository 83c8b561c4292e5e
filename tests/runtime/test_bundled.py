"""The model in the wheel: whole, and able to tell a story."""

import pytest

import gpt2edge
from gpt2edge import Engine, SamplingParams
from gpt2edge.runtime.bundled import BUNDLED_MODEL

TALE = (
    "Once upon a time there was a little girl who lived with her grandmother in a small house "
    'near the forest. One day the old woman said to her, "My dear child, take this basket of '
    'bread to the King, and do not stop upon the way."'
)


@pytest.fixture(scope="module")
def storyteller() -> Engine:
    return gpt2edge.load()


def test_every_file_is_as_it_was_made(storyteller: Engine) -> None:
    assert storyteller.model.path == BUNDLED_MODEL
    assert storyteller.model.damaged_files() == []
    assert storyteller.model.nbytes < 20_000_000
    assert storyteller.model.manifest.variant.startswith("int")


def test_it_knows_the_language_of_tales(storyteller: Engine) -> None:
    told = storyteller.perplexity(TALE)
    words = TALE.split()
    shuffled = storyteller.perplexity(" ".join(sorted(words)))
    assert told.bits_per_byte is not None
    assert told.bits_per_byte < 2.5
    assert shuffled.perplexity > 4 * told.perplexity


def test_its_defaults_sample_without_loops(storyteller: Engine) -> None:
    defaults = storyteller.defaults.sampling
    assert not defaults.is_greedy
    stories = storyteller.generate_batch(["Once upon a time"], n=4, max_new_tokens=120)
    for story in stories:
        words = story.text.split()
        fours = list(zip(words, words[1:], words[2:], words[3:], strict=False))
        assert len(set(fours)) > 0.8 * len(fours)


def test_a_seed_tells_the_same_story_twice(storyteller: Engine) -> None:
    sampling = SamplingParams(temperature=0.8, top_k=50, seed=4)
    first, second = (storyteller.generate("The King", sampling=sampling) for _ in range(2))
    assert first.text == second.text
    assert first.text
