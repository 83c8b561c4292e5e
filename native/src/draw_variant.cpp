// One row's draw, compiled once per variant, in vectors as wide as the variant's registers.
// Every operation is rounded as written (-ffp-contract=off) and sums have an order of their own, so
// all variants give the same bits.
#include <math.h>
#include <string.h>

#include "draw.h"

namespace gpt2edge {
namespace {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif
constexpr int64_t kBlock = 64;
constexpr int64_t kSums = 8;  // sums that are added at once, in every variant
constexpr float kNegligible = 1e-4f;

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef int64_t Longs __attribute__((vector_size(4 * kLanes)));
typedef double Doubles __attribute__((vector_size(4 * kLanes)));
typedef float Halves __attribute__((vector_size(2 * kLanes)));  // as many as Doubles

struct Scratch {
    float* weights;    // [2 * size]
    float* values;     // [size + 64]
    int32_t* indices;  // [size]
};

template <class Vector, class Number>
Vector load(const Number* from) {
    Vector vector;
    memcpy(&vector, from, sizeof vector);
    return vector;
}

template <class Vector, class Number>
void store(Number* to, Vector vector) {
    memcpy(to, &vector, sizeof vector);
}

template <class To, class From>
To same_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "the same number of bits");
    To bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

bool any(Ints mask) {
    const Longs pairs = same_bits<Longs>(mask);
    int64_t found = 0;
    for (int64_t j = 0; j < kLanes / 2; ++j) found |= pairs[j];
    return found != 0;
}

// exp(x) for x <= 0 in double, within a unit of the last place: x = n ln 2 + r, and a polynomial
// of 13 terms for |r| <= ln 2 / 2. Below -700, where a float is 0, it is exp(-700).
Doubles exp_of(Doubles x) {
    constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
    constexpr double kLog2E = 1.4426950408889634074;
    constexpr double kLn2High = 6.93147180369123816490e-01;  // with 32 trailing zeros
    constexpr double kLn2Low = 1.90821492927058770002e-10;
    const Doubles lowest = Doubles{} - 700.0;
    x = x < lowest ? lowest : x;  // also -inf
    const Doubles shifted = x * kLog2E + kShift;
    const Doubles n = shifted - kShift;
    const Doubles r = (x - n * kLn2High) - n * kLn2Low;
    Doubles p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * (r * r) + r;
    // the low bits of `shifted` are n; 2^n has n + 1023 in its exponent
    const Longs exponent = (same_bits<Longs>(shifted) - same_bits<int64_t>(kShift) + 1023) << 52;
    return (1.0 + p) * same_bits<Doubles>(exponent);
}

// weights = exp((logits - top) / temperature), the most likely token's is 1
void weigh(const float* logits, int64_t size, float top, float temperature, float* weights) {
    constexpr int64_t kStep = kLanes / 2;
    for (int64_t i = 0; i < size; i += kStep) {
        Halves few = {};
        const int64_t count = size - i < kStep ? size - i : kStep;
        if (count == kStep) few = load<Halves>(logits + i);
        else memcpy(&few, logits + i, count * sizeof(float));
        const Halves scaled = (few - top) / temperature;
        const Doubles exact = exp_of(__builtin_convertvector(scaled, Doubles));
        const Halves rounded = __builtin_convertvector(exact, Halves);
        if (count == kStep) store(weights + i, rounded);
        else memcpy(weights + i, &rounded, count * sizeof(float));
    }
}

// Largest value of each group: group g of `groups`, a multiple of 16, has the values at g,
// groups + g, 2 * groups + g and so on. Returns that of all, or NaN where any is NaN.
float group_maxima(const float* values, int64_t size, int64_t groups, float* maxima) {
    Ints odd = {};
    for (int64_t g = 0; g < groups; ++g) maxima[g] = -INFINITY;
    int64_t first = 0;
    for (; first + groups <= size; first += groups)
        for (int64_t g = 0; g < groups; g += kLanes) {
            const Floats value = load<Floats>(values + first + g);
            const Floats most = load<Floats>(maxima + g);
            odd |= value != value;
            store(maxima + g, value > most ? value : most);
        }
    bool is_nan = any(odd);
    for (int64_t g = 0; first + g < size; ++g) {
        const float value = values[first + g];
        is_nan |= value != value;
        if (value > maxima[g]) maxima[g] = value;
    }
    float top = -INFINITY;
    for (int64_t g = 0; g < groups; ++g) top = maxima[g] > top ? maxima[g] : top;
    return is_nan ? NAN : top;
}

// The k-th largest of values [size], which are put in another order; 1 <= k <= size.
float kth_largest(float* values, int64_t size, int64_t k) {
    int64_t low = 0, high = size - 1;
    const int64_t wanted = k - 1;
    while (low < high) {
        const float pivot = values[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (values[i] > pivot) ++i;
            while (values[j] < pivot) --j;
            if (i <= j) {
                const float held = values[i];
                values[i++] = values[j];
                values[j--] = held;
            }
        }
        if (wanted <= j) high = j;
        else if (wanted >= i) low = i;
        else break;
    }
    return values[wanted];
}

// Finds the values [size] >= bound and their indices, in order; returns their number.
int64_t gather(const float* values, int64_t size, float bound, float* found, int32_t* indices) {
    int64_t count = 0, i = 0;
    for (; i + kBlock <= size; i += kBlock) {
        Ints reached = {};
        for (int64_t j = 0; j < kBlock; j += kLanes)
            reached |= load<Floats>(values + i + j) >= bound;
        if (!any(reached)) continue;
        for (int64_t j = i; j < i + kBlock; j += kLanes) {
            if (!any(load<Floats>(values + j) >= bound)) continue;
            for (int64_t lane = j; lane < j + kLanes; ++lane) {
                found[count] = values[lane];
                indices[count] = static_cast<int32_t>(lane);
                count += values[lane] >= bound;
            }
        }
    }
    for (; i < size; ++i)
        if (values[i] >= bound) {
            found[count] = values[i];
            indices[count++] = static_cast<int32_t>(i);
        }
    return count;
}

// Sorts pairs by value, largest first; equal values keep their order. Few of them: by insertion.
void sort_pairs(float* values, int32_t* indices, int64_t count, float* spare) {
    constexpr int64_t kRun = 32;
    for (int64_t start = 0; start < count; start += kRun) {
        const int64_t end = start + kRun < count ? start + kRun : count;
        for (int64_t i = start + 1; i < end; ++i) {
            const float value = values[i];
            const int32_t index = indices[i];
            int64_t j = i;
            for (; j > start && values[j - 1] < value; --j) {
                values[j] = values[j - 1];
                indices[j] = indices[j - 1];
            }
            values[j] = value;
            indices[j] = index;
        }
    }
    for (int64_t run = kRun; run < count; run *= 2)
        for (int64_t start = 0; start + run < count; start += 2 * run) {
            // merges two runs; the first waits in `spare` (values, then indices)
            const int64_t end = start + 2 * run < count ? start + 2 * run : count;
            float* held = spare;
            int32_t* held_indices = reinterpret_cast<int32_t*>(spare + run);
            memcpy(held, values + start, run * sizeof(float));
            memcpy(held_indices, indices + start, run * sizeof(int32_t));
            int64_t i = 0, j = start + run, to = start;
            while (i < run && j < end) {
                if (values[j] > held[i]) {
                    values[to] = values[j];
                    indices[to++] = indices[j++];
                } else {
                    values[to] = held[i];
                    indices[to++] = held_indices[i++];
                }
            }
            memcpy(values + to, held + i, (run - i) * sizeof(float));
            memcpy(indices + to, held_indices + i, (run - i) * sizeof(int32_t));
        }
}

// Sorts numbers >= 0, largest first, by their bits: they are in the order of the numbers.
void sort_descending(float* values, int64_t count, float* spare) {
    constexpr int kBits = 11, kPasses = 3, kDigits = 1 << kBits;
    float* from = values;
    float* to = spare;
    for (int pass = 0; pass < kPasses; ++pass) {
        int32_t starts[kDigits] = {};
        const int shift = pass * kBits;
        for (int64_t i = 0; i < count; ++i)
            ++starts[(~same_bits<uint32_t>(from[i]) >> shift) & (kDigits - 1)];
        int32_t sum = 0;
        for (int digit = 0; digit < kDigits; ++digit) {
            const int32_t held = starts[digit];
            starts[digit] = sum;
            sum += held;
        }
        for (int64_t i = 0; i < count; ++i)
            to[starts[(~same_bits<uint32_t>(from[i]) >> shift) & (kDigits - 1)]++] = from[i];
        float* held = from;
        from = to;
        to = held;
    }
    memcpy(values, from, count * sizeof(float));  // an odd number of passes ends in `spare`
}

double target_of(double share, double total) {
    const double below = nextafter(total, 0.0);  // rounding may reach the total
    const double target = share * total;
    return target < below ? target : below;
}

// First index where the cumulative sum of amounts exceeds `share` of their total.
template <class Number>
int64_t first_above(const Number* amounts, int64_t count, double share, double* rest) {
    double total = 0.0;
    for (int64_t i = 0; i < count; ++i) total += static_cast<double>(amounts[i]);
    const double target = target_of(share, total);
    double running = 0.0;
    int64_t place = 0;
    for (; place < count; ++place) {
        running += static_cast<double>(amounts[place]);
        if (running > target) break;
    }
    const double amount = static_cast<double>(amounts[place]);
    *rest = (target - (running - amount)) / amount;
    return place;
}

double sum_of(const float* values, int64_t count) {
    constexpr int64_t kStep = kLanes / 2, kParts = kSums / kStep;
    Doubles parts[kParts] = {};
    int64_t i = 0;
    for (; i + kSums <= count; i += kSums)
        for (int64_t part = 0; part < kParts; ++part)
            parts[part] += __builtin_convertvector(load<Halves>(values + i + part * kStep), Doubles);
    double sums[kSums];
    memcpy(sums, parts, sizeof sums);
    for (; i < count; ++i) sums[0] += static_cast<double>(values[i]);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// Index at which the cumulative sum of weights [count] passes its share: first the block, by sums
// of blocks, then within it.
int64_t place_of(const float* weights, int64_t count, double share, float* spare) {
    double* sums = reinterpret_cast<double*>(spare);
    const int64_t blocks = (count + kBlock - 1) / kBlock;
    for (int64_t b = 0; b < blocks; ++b) {
        const int64_t first = b * kBlock;
        sums[b] = sum_of(weights + first, count - first < kBlock ? count - first : kBlock);
    }
    double rest;
    const int64_t first = first_above(sums, blocks, share, &rest) * kBlock;
    const int64_t inside = count - first < kBlock ? count - first : kBlock;
    return first + first_above(weights + first, inside, rest, &rest);
}

// The k largest logits and their indices, largest first; returns the largest, or NaN if any is.
float top_k_of(const float* logits, int64_t size, int64_t k, const Scratch& scratch) {
    const int64_t groups = k <= 64 ? 512 : (8 * k + 63) / 64 * 64;
    float top;
    float bound;
    if (2 * groups <= size) {
        // all of the k largest values reach the k-th largest maximum, and few others do
        top = group_maxima(logits, size, groups, scratch.values);
        if (!isfinite(top)) return top;
        bound = kth_largest(scratch.values, groups, k);
    } else {
        top = -INFINITY;
        for (int64_t i = 0; i < size; ++i) {
            if (logits[i] != logits[i]) return NAN;
            top = logits[i] > top ? logits[i] : top;
        }
        if (!isfinite(top)) return top;
        memcpy(scratch.values, logits, size * sizeof(float));
        bound = kth_largest(scratch.values, size, k);
    }
    const int64_t count = gather(logits, size, bound, scratch.values, scratch.indices);
    sort_pairs(scratch.values, scratch.indices, count, scratch.weights);
    return top;
}

// Draws from the k largest logits in descending order: truncation cuts off the end.
int64_t draw_of_top_k(const Gpt2edgeDraw& draw, const float* logits, int64_t size, double share,
                      const Scratch& scratch) {
    const int64_t k = draw.top_k;
    const float top = top_k_of(logits, size, k, scratch);
    if (!isfinite(top)) return -1;
    float* weights = scratch.weights;
    weigh(scratch.values, k, top, draw.temperature, weights);
    double total = 0.0;
    for (int64_t i = 0; i < k; ++i) total += static_cast<double>(weights[i]);
    int64_t end = k;
    if (draw.top_p < 1.0) {
        const double needed = draw.top_p * total;
        double running = 0.0;
        for (end = 0; end < k;) {
            running += static_cast<double>(weights[end++]);
            if (running >= needed) break;
        }
    }
    if (draw.min_p > 0.0f)
        while (end > 1 && !(weights[end - 1] >= draw.min_p)) --end;
    double kept = 0.0;
    for (int64_t i = 0; i < end; ++i) kept += static_cast<double>(weights[i]);
    const double target = target_of(share, kept);
    double running = 0.0;
    int64_t place = 0;
    for (; place + 1 < k; ++place) {
        running += static_cast<double>(weights[place]);
        if (running > target) break;
    }
    return scratch.indices[place];
}

// Sets the weights [size] outside the nucleus to 0: it is the smallest set of the largest weights
// with a sum of at least top_p of all; of equal weights the first ones are in it.
void cut_nucleus(double top_p, float* weights, int64_t size, const Scratch& scratch) {
    const double needed = top_p * sum_of(weights, size);
    float* largest = scratch.values;
    int32_t* indices = scratch.indices;
    int64_t count = gather(weights, size, kNegligible, largest, indices);
    if (sum_of(largest, count) < needed) {
        memcpy(largest, weights, size * sizeof(float));
        count = size;
    }
    sort_descending(largest, count, reinterpret_cast<float*>(indices));
    int64_t last = 0;
    double running = static_cast<double>(largest[0]);
    while (running < needed && last + 1 < count) running += static_cast<double>(largest[++last]);
    const float smallest = largest[last];
    for (int64_t i = 0; i < size; ++i) weights[i] = weights[i] < smallest ? 0.0f : weights[i];
    if (last + 1 == count || largest[last + 1] != smallest) return;
    int64_t above = last;  // how many of the nucleus are larger than its smallest
    while (above > 0 && largest[above - 1] == smallest) --above;
    int64_t equals = last + 1 - above;
    for (int64_t i = 0; i < size; ++i)
        if (weights[i] == smallest && equals-- <= 0) weights[i] = 0.0f;
}

int64_t draw_of_all(const Gpt2edgeDraw& draw, const float* logits, int64_t size, double share,
                    const Scratch& scratch) {
    const float top = group_maxima(logits, size, 64, scratch.values);
    if (!isfinite(top)) return -1;
    float* weights = scratch.weights;
    if (draw.top_p == 1.0 && draw.min_p > 0.0f) {
        const float bound = top + draw.min_p_bound;
        const int64_t count = gather(logits, size, bound, scratch.values, scratch.indices);
        weigh(scratch.values, count, top, draw.temperature, weights);
        for (int64_t i = 0; i < count; ++i)
            weights[i] = weights[i] < draw.min_p ? 0.0f : weights[i];
        return scratch.indices[place_of(weights, count, share, scratch.values)];
    }
    weigh(logits, size, top, draw.temperature, weights);
    if (draw.top_p < 1.0) {
        cut_nucleus(draw.top_p, weights, size, scratch);
        for (int64_t i = 0; draw.min_p > 0.0f && i < size; ++i)
            weights[i] = weights[i] < draw.min_p ? 0.0f : weights[i];
    }
    return place_of(weights, size, share, scratch.values);
}

}  // namespace

int64_t GPT2EDGE_NAME(draw_row)(const Gpt2edgeDraw& draw, const float* logits, int64_t size,
                                double share, float* spare) {
    const int64_t padded = size + (size & 1) + kBlock;  // even: what follows holds doubles, too
    const Scratch scratch{spare, spare + 2 * padded,
                          reinterpret_cast<int32_t*>(spare + 3 * padded)};
    if (0 < draw.top_k && draw.top_k < size)
        return draw_of_top_k(draw, logits, size, share, scratch);
    return draw_of_all(draw, logits, size, share, scratch);
}

}  // namespace gpt2edge
