"""The types of the arrays that most modules pass on."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
"""Weights, activations or scales, of any shape."""

Logits: TypeAlias = FloatArray
"""Logits over the vocabulary: [vocab_size] or [rows, vocab_size]."""
