"""Fuzz one target for a while: python -m tests.hostile.fuzz TARGET [--minutes M].

Coverage-guided, by atheris (libFuzzer); the corpus is kept under runs/fuzz. Exit code 0: nothing
was found. The input that made a finding is written to runs/fuzz.
"""

import argparse
import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gpt2edge", "json", "safetensors"]):
    from tests.hostile.targets import TARGETS, seeds


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[*TARGETS])
    parser.add_argument("--minutes", type=float, default=1.0)
    args = parser.parse_args()
    corpus = Path("runs", "fuzz", args.target)
    os.environ["GPT2EDGE_CACHE"] = str(corpus.parent / "cache")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(args.target)):
        (corpus / f"seed-{number}").write_bytes(data)
    flags = [
        f"-max_total_time={max(1, round(args.minutes * 60))}",
        f"-artifact_prefix={corpus.parent}/{args.target}-",
        "-rss_limit_mb=2048",
        "-timeout=20",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], TARGETS[args.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
