// The kernels of products, compiled once for each variant.
#include "products_sums.h"

namespace gpt2edge {
namespace {

GPT2EDGE_INLINE int groups_of(const PackedShape& shape, int block) {
  const int64_t left = shape.padded_k - static_cast<int64_t>(block) * shape.block;
  return static_cast<int>((left < shape.block ? left : shape.block) / kGroup);
}

// ---- rows to int8

constexpr float kSmallest = 1e-30f;  // a block of no larger numbers counts as zeros

// Sixteen numbers of a row from `at` on, zero beyond its end.
GPT2EDGE_INLINE Lanes numbers_at(const float* row, int64_t at, int64_t k) {
  if (at + kLanes <= k) return load(row + at);
  float part[kLanes] = {};
  for (int64_t i = at; i < k; ++i) part[i - at] = row[i];
  return load(part);
}

struct Moments {
  float mean, scale;
};

Moments moments(const float* row, int64_t k, float epsilon) {
  Lanes total = zero();
  for (int64_t i = 0; i < k; i += kLanes) total = add(total, numbers_at(row, i, k));
  const float mean = sum(total) / static_cast<float>(k);
  Lanes squares = zero();
  for (int64_t i = 0; i < k; i += kLanes) {
    Lanes off = sub(numbers_at(row, i, k), broadcast(mean));
    if (i + kLanes > k) off = first_of(static_cast<int>(k - i), off, zero());
    squares = fma(off, off, squares);
  }
  return {mean, 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(k) + epsilon)};
}

GPT2EDGE_INLINE Lanes normed(const ProductCall& call, Moments m, Lanes x, int64_t at) {
  const int64_t k = call.shape.k;
  x = mul(sub(x, broadcast(m.mean)), broadcast(m.scale));
  Lanes gain = numbers_at(call.norm.gain, at, k);  // zero beyond k, and so is the result
  return call.norm.bias ? fma(x, gain, numbers_at(call.norm.bias, at, k)) : mul(x, gain);
}

void quantize_row(const ProductCall& call, const QuantizedRows& out, int64_t row) {
  const PackedShape& shape = call.shape;
  const float* x = call.x + row * shape.k;
  const Moments m = call.norm.gain ? moments(x, shape.k, call.norm.epsilon) : Moments{};
  const int zero_point = shape.bits == 4 ? 8 : 128;
  for (int b = 0; b < shape.blocks; ++b) {
    const int64_t begin = static_cast<int64_t>(b) * shape.block;
    const int count = (groups_of(shape, b) * kGroup + kLanes - 1) / kLanes;
    Lanes held[kLargestBlock / kLanes], size = zero(), broken = zero();
    for (int i = 0; i < count; ++i) {
      Lanes v = numbers_at(x, begin + i * kLanes, shape.k);
      held[i] = call.norm.gain ? normed(call, m, v, begin + i * kLanes) : v;
      size = max(size, magnitude(held[i]));
      broken = fma(held[i], zero(), broken);  // no number where one of them is not finite
    }
    const float most = largest(size) + sum(broken);
    const Lanes inverse = broadcast(most > kSmallest ? 127.0f / most : 0.0f);
    Lanes total = zero();  // of whole numbers below 2^15: exact
    int8_t* values = out.values + row * out.stride + begin;
    for (int i = 0; i < count; ++i) {
      const Lanes whole = nearest(mul(held[i], inverse));
      total = add(total, whole);
      store(values + i * kLanes, whole);
    }
    const int64_t at = row * out.blocks + b;
    out.scales[at] = most / 127.0f;
    out.zeros[at] = most > kSmallest ? -zero_point * static_cast<int32_t>(sum(total)) : 0;
  }
}

void quantize(const ProductCall& call, const QuantizedRows& out, int64_t first, int64_t last) {
  for (int64_t row = first; row < last; ++row) quantize_row(call, out, row);
}

// ---- activations

// x / (1 + e^-slope)
GPT2EDGE_INLINE Lanes gated(Lanes x, Lanes slope) {
  const Lanes e = exp_of_negative(sub(zero(), max(slope, broadcast(-86.0f))));
  return div(x, add(broadcast(1.0f), e));
}

// e^(-x^2) times a polynomial of 1 / (1 + p x), for x of at least 0: 1 - erf(x), Abramowitz and
// Stegun 7.1.26, within 1.5e-7.
GPT2EDGE_INLINE Lanes rest_of_erf(Lanes x) {
  const Lanes t = div(broadcast(1.0f), fma(x, broadcast(0.3275911f), broadcast(1.0f)));
  Lanes p = broadcast(1.061405429f);
  p = fma(p, t, broadcast(-1.453152027f));
  p = fma(p, t, broadcast(1.421413741f));
  p = fma(p, t, broadcast(-0.284496736f));
  p = fma(p, t, broadcast(0.254829592f));
  return mul(mul(p, t), exp_of_negative(sub(zero(), mul(x, x))));
}

GPT2EDGE_INLINE Lanes activated(const Epilogue& epilogue, Lanes x) {
  switch (epilogue.activation) {
    case kTanhGelu: {  // x (1 + tanh(u)) / 2 = x / (1 + e^-2u)
      const Lanes bend = fma(mul(mul(x, x), x), broadcast(0.044715f), x);
      return gated(x, mul(bend, broadcast(1.5957691216f)));  // 2 sqrt(2 / pi)
    }
    case kSigmoidGate:
      return gated(x, mul(x, broadcast(epilogue.alpha)));
    case kRelu:
      return max(x, zero());
    case kGelu: {  // x - x (1 - erf(|x| / sqrt(2))) / 2 where x > 0, else the second part alone
      const Lanes size = magnitude(x);
      const Lanes rest = mul(rest_of_erf(mul(size, broadcast(0.70710678f))), broadcast(0.5f));
      return sub(max(x, zero()), mul(size, rest));
    }
    default:
      return x;
  }
}

// ---- products

GPT2EDGE_INLINE void finish(const ProductCall& call, int64_t row, int64_t panel, Lanes x) {
  const int64_t column = panel * kPanel, at = row * call.shape.n + column;
  const int64_t left = call.shape.n - column;
  const Epilogue& epilogue = call.epilogue;
  if (epilogue.bias) x = add(x, numbers_at(epilogue.bias, column, call.shape.n));
  x = activated(epilogue, x);
  if (left >= kPanel) {
    if (epilogue.residual) x = add(x, load(epilogue.residual + at));
    store(call.y + at, x);
    return;
  }
  float part[kPanel];
  store(part, x);
  for (int64_t i = 0; i < left; ++i) {
    call.y[at + i] = epilogue.residual ? part[i] + epilogue.residual[at + i] : part[i];
  }
}

template <int bits, int rows>
void tile(const ProductCall& call, const QuantizedRows& q, int64_t row, int64_t panel) {
  const PackedShape& shape = call.shape;
  const int8_t* a = q.values + row * q.stride;
  const float* scales = q.scales + row * q.blocks;
  const int32_t* zeros = q.zeros + row * q.blocks;
  const uint8_t* w = call.packed + static_cast<size_t>(panel) * shape.panel_bytes;
  Lanes total[rows];
  for (int i = 0; i < rows; ++i) total[i] = zero();
  for (int b = 0; b < shape.blocks; ++b) {
    const int groups = groups_of(shape, b);
    Sums sums[rows];
    for (int i = 0; i < rows; ++i) sums[i] = sums_of(kSigned<bits> ? 0 : zeros[i * q.blocks + b]);
    add_block<bits, rows>(sums, a, q.stride, w + kLine, groups);
    const Lanes scale = load(reinterpret_cast<const float*>(w));
    for (int i = 0; i < rows; ++i) {
      total[i] = fma(mul(to_lanes(sums[i]), scale), broadcast(scales[i * q.blocks + b]), total[i]);
    }
    a += groups * kGroup;
    w += kLine + static_cast<size_t>(groups) * shape.group_bytes;
  }
  for (int i = 0; i < rows; ++i) finish(call, row + i, panel, total[i]);
}

using Tiles = void (*)(const ProductCall&, const QuantizedRows&, int64_t row, int64_t begin,
                       int64_t end);

// `rows` rows of panels [begin, end).
template <int bits, int rows>
void tiles(const ProductCall& call, const QuantizedRows& q, int64_t row, int64_t begin,
           int64_t end) {
  for (int64_t panel = begin; panel < end; ++panel) tile<bits, rows>(call, q, row, panel);
}

template <int bits, int rows>
struct Fill {
  static constexpr void in(Tiles* table) {
    table[rows] = tiles<bits, rows>;
    Fill<bits, rows - 1>::in(table);
  }
};
template <int bits>
struct Fill<bits, 0> {
  static constexpr void in(Tiles*) {}
};

template <int bits>
struct Table {
  Tiles rows[kMostRows + 1];
  constexpr Table() : rows() { Fill<bits, kMostRows>::in(rows); }
};

constexpr Table<4> kFour;
constexpr Table<8> kEight;

constexpr int64_t kPanelsInCache = 4;

void multiply_rows(const ProductCall& call, const QuantizedRows& q, int64_t first, int64_t last,
                   int64_t begin, int64_t end) {
  const Tiles* table = call.shape.bits == 4 ? kFour.rows : kEight.rows;
  const int64_t count = last - first, parts = (count + kMostRows - 1) / kMostRows;
  const int64_t step = parts > 1 ? kPanelsInCache : end - begin;
  for (int64_t panel = begin; panel < end; panel += step) {
    const int64_t stop = panel + step < end ? panel + step : end;
    for (int64_t t = 0; t < parts; ++t) {
      const int64_t row = first + count * t / parts, next = first + count * (t + 1) / parts;
      table[next - row](call, q, row, panel, stop);
    }
  }
}

}  // namespace

extern const ProductKernels GPT2EDGE_NAME(kProducts) = {quantize, multiply_rows};

}  // namespace gpt2edge
