"""Make ``tests/data/tiny``: random GPT-2 weights with a real byte-level BPE tokenizer.

python -m tests.data.make_tiny PATH_TO_TINYSHAKESPEARE
"""

import json
import sys
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tests.checkpoints import write_checkpoint

FOLDER: Final = Path(__file__).parent / "tiny"
VOCABULARY: Final = 512
KEYS: Final = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 32,
    "n_positions": 128,
    "vocab_size": VOCABULARY,
    "bos_token_id": VOCABULARY - 1,
    "eos_token_id": VOCABULARY - 1,
}


def train_tokenizer(text: str) -> Tokenizer:
    """256 bytes, 255 merges, and ``<|endoftext|>`` as the last id, as in GPT-2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def main(corpus: Path) -> None:
    """Write the folder anew."""
    write_checkpoint(FOLDER, KEYS, seed=512)
    tokenizer = train_tokenizer(corpus.read_text(encoding="utf-8")[:200_000])
    tokenizer.save(str(FOLDER / "tokenizer.json"), pretty=False)
    generation = {"bos_token_id": VOCABULARY - 1, "eos_token_id": VOCABULARY - 1}
    (FOLDER / "generation_config.json").write_text(json.dumps(generation) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
