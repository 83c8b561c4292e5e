// The draw that Python calls: rows of logits to tokens.
#include "draw.h"

#include <math.h>
#include <string.h>

namespace gpt2edge {
namespace {

constexpr DrawRow* kDrawRow[] = {GPT2EDGE_TABLE(draw_row)};
constexpr int kMostHeld = 64;

// Logits of banned tokens are -inf while it lives.
struct Bans {
    float* logits;
    const int64_t* ids;
    int count;
    float held[kMostHeld];

    Bans(float* row, const int64_t* banned, int number) : logits(row), ids(banned), count(number) {
        for (int i = 0; i < count; ++i) held[i] = logits[ids[i]];
        for (int i = 0; i < count; ++i) logits[ids[i]] = -INFINITY;
    }
    ~Bans() {
        for (int i = 0; i < count; ++i) logits[ids[i]] = held[i];
    }
};

}  // namespace
}  // namespace gpt2edge

// Draws a token of each row of logits [rows, size] by its share, a random number in [0, 1), and
// writes it to chosen [rows]; a row begins `stride` logits after the one before. Tokens of banned
// [n_banned], at most 64, are not drawn; their logits change during the call. scratch holds 4 * (size + 65) numbers of 4 bytes, aligned to 8. Returns
// the first row whose largest logit is not finite, else -1.
GPT2EDGE_EXPORT int64_t gpt2edge_draw(const Gpt2edgeDraw* draw, float* logits, int64_t rows,
                                      int64_t size, int64_t stride, const double* shares,
                                      const int64_t* banned, int64_t n_banned, float* scratch,
                                      int64_t* chosen) {
    using namespace gpt2edge;
    DrawRow* const draw_row = kDrawRow[variant()];
    for (int64_t row = 0; row < rows; ++row) {
        const Bans bans(logits + row * stride, banned, static_cast<int>(n_banned));
        chosen[row] = draw_row(*draw, logits + row * stride, size, shares[row], scratch);
        if (chosen[row] < 0) return row;
    }
    return -1;
}
