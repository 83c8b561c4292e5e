// Draws: logits to token, as runtime/sampling/truncation.py does it in numpy, which is the oracle.
#pragma once
#include <stdint.h>

#include "isa.h"

extern "C" {

// What a draw needs of SamplingParams. top_k 0, top_p 1 and min_p 0 keep every token.
struct Gpt2edgeDraw {
    double top_p;
    int64_t top_k;
    float temperature;
    float min_p;
    float min_p_bound;  // temperature * log(min_p), how far below the largest logit one of weight min_p is
};
}

namespace gpt2edge {

// Returns the index drawn from logits [size], or -1 where the largest logit is not finite. share is
// a random number in [0, 1); scratch holds 4 * (size + 65) numbers of 4 bytes,
// aligned to 8.
using DrawRow = int64_t(const Gpt2edgeDraw&, const float* logits, int64_t size, double share,
                        float* scratch);

GPT2EDGE_DECLARE(DrawRow, draw_row);

}  // namespace gpt2edge
