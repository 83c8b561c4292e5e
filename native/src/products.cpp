// Products: packing of weights, and the division of work among threads.
#include "products.h"

#include <stdlib.h>
#include <string.h>

namespace gpt2edge {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;

int64_t rounded_up(int64_t number, int64_t unit) { return (number + unit - 1) / unit * unit; }

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t numbers_in(const PackedShape& shape, int block) {
  return least(shape.block, shape.padded_k - static_cast<int64_t>(block) * shape.block);
}

// Eight numbers of 4 bits in their order, to four bytes of the first four and the last four.
uint32_t halves(uint32_t word) {
  uint32_t first = word & 0xffff, second = word >> 16;
  first = (first | first << 8) & 0x00ff00ff;
  second = (second | second << 8) & 0x00ff00ff;
  first = (first | first << 4) & 0x0f0f0f0f;
  second = (second | second << 4) & 0x0f0f0f0f;
  return first | second << 4;
}

uint32_t word_at(const uint8_t* bytes) {
  uint32_t word;
  memcpy(&word, bytes, sizeof(word));
  return word;
}

// One panel of MatMulNBits' weights. Columns beyond n repeat the last one, with scales of 0.
void pack_panel(const PackedShape& shape, const uint8_t* blocks, const float* scales,
                int64_t panel, uint8_t* out) {
  const int64_t blob = static_cast<int64_t>(shape.block) * shape.bits / 8;
  const uint8_t* column[kPanel];
  for (int c = 0; c < kPanel; ++c) {
    const int64_t at = least(panel * kPanel + c, shape.n - 1);
    column[c] = blocks + at * shape.blocks * blob;
  }
  for (int b = 0; b < shape.blocks; ++b) {
    float scale[kPanel] = {};
    for (int64_t c = 0; c < kPanel && panel * kPanel + c < shape.n; ++c) {
      scale[c] = scales[(panel * kPanel + c) * shape.blocks + b];
    }
    memcpy(out, scale, sizeof(scale));
    out += kLine;
    const int64_t bytes = numbers_in(shape, b) * shape.bits / 8;
    for (int64_t at = 0; at < bytes; at += 4, out += kLine) {
      uint32_t words[kPanel];
      for (int c = 0; c < kPanel; ++c) words[c] = word_at(column[c] + at);
      if (shape.bits == 4) {
        for (int c = 0; c < kPanel; ++c) words[c] = halves(words[c]);
      }
      memcpy(out, words, sizeof(words));
    }
    for (int c = 0; c < kPanel; ++c) column[c] += blob;
  }
}

}  // namespace

bool packed_shape(int64_t n, int64_t k, int64_t bits, int64_t block, PackedShape* shape) {
  const bool known = block == 16 || block == 32 || block == 64 || block == 128 || block == 256;
  if (n < 1 || k < 1 || n > kMost || k > kMost || (bits != 4 && bits != 8) || !known) return false;
  shape->n = n;
  shape->k = k;
  shape->bits = static_cast<int>(bits);
  shape->block = static_cast<int>(block);
  shape->padded_k = rounded_up(k, kGroup);
  shape->blocks = static_cast<int>((k + block - 1) / block);
  shape->panels = (n + kPanel - 1) / kPanel;
  shape->group_bytes = static_cast<size_t>(kLine * bits / 4);
  shape->panel_bytes = static_cast<size_t>(shape->blocks) * kLine +
                       static_cast<size_t>(shape->padded_k / kGroup) * shape->group_bytes;
  return true;
}

void pack_blocks(const PackedShape& shape, const uint8_t* blocks, const float* scales,
                 uint8_t* packed) {
  for (int64_t panel = 0; panel < shape.panels; ++panel) {
    pack_panel(shape, blocks, scales, panel, packed + static_cast<size_t>(panel) * shape.panel_bytes);
  }
}

void pack_columns(const PackedShape& shape, const int8_t* columns, const float* scales,
                  uint8_t* packed) {
  for (int64_t panel = 0; panel < shape.panels; ++panel) {
    uint8_t* out = packed + static_cast<size_t>(panel) * shape.panel_bytes;
    const int64_t first = panel * kPanel, count = least(kPanel, shape.n - first);
    for (int b = 0; b < shape.blocks; ++b) {
      float scale[kPanel] = {};
      memcpy(scale, scales + first, static_cast<size_t>(count) * sizeof(float));
      memcpy(out, scale, sizeof(scale));
      out += kLine;
      const int64_t begin = static_cast<int64_t>(b) * shape.block;
      for (int64_t k = begin; k < begin + numbers_in(shape, b); k += 4, out += kLine) {
        memset(out, 128, kLine);
        for (int64_t i = 0; i < least(4, shape.k - k); ++i) {
          const int8_t* row = columns + (k + i) * shape.n + first;
          for (int64_t c = 0; c < count; ++c) out[4 * c + i] = static_cast<uint8_t>(row[c] ^ -128);
        }
      }
    }
  }
}

// ---- a call

namespace {

// Memory between calls: as many pieces as calls run at once, up to kSpare.
constexpr int kSpare = 8;

struct Piece {
  size_t bytes;
};

Piece* spare[kSpare];

constexpr size_t kHeader = 64;

Piece* new_piece(size_t bytes) {
  void* memory = malloc(kHeader + bytes + kLine);
  if (!memory) return nullptr;
  auto* piece = static_cast<Piece*>(memory);
  piece->bytes = bytes;
  return piece;
}

Piece* take(size_t bytes) {
  for (auto& place : spare) {
    Piece* piece = __atomic_exchange_n(&place, nullptr, __ATOMIC_ACQUIRE);
    if (!piece) continue;
    if (piece->bytes >= bytes) return piece;
    free(piece);
    break;
  }
  return new_piece(bytes);
}

void give_back(Piece* piece) {
  for (auto& place : spare) {
    Piece* nothing = nullptr;
    if (__atomic_compare_exchange_n(&place, &nothing, piece, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED)) {
      return;
    }
  }
  free(piece);
}

constexpr int64_t kRowsTogether = 96;       // their activations stay in the second-level cache
constexpr int64_t kWorth = 1 << 16;         // bytes of weights times tiles of rows for one thread
constexpr int64_t kNumbersToSplit = 1 << 13;  // of x, to be quantized by one thread

struct Work {
  const ProductCall* call;
  const ProductKernels* kernels;
  QuantizedRows rows;
  int64_t rows_together, panels_together, panel_groups;

  void quantize(int64_t item) const {
    const int64_t first = item * rows_together;
    kernels->quantize(*call, rows, first, least(first + rows_together, call->rows));
  }
  void multiply(int64_t item) const {
    const int64_t first = item / panel_groups * kRowsTogether;
    const int64_t begin = item % panel_groups * panels_together;
    kernels->multiply(*call, rows, first, least(first + kRowsTogether, call->rows), begin,
                      least(begin + panels_together, call->shape.panels));
  }
};

// Panels for one piece of work: a multiple of 4, which the kernels take together.
int64_t panels_together(const ProductCall& call) {
  const int64_t rows = least(call.rows, kRowsTogether);
  const int64_t bytes = static_cast<int64_t>(call.shape.panel_bytes) * ((rows + 7) / 8);
  return least(rounded_up((kWorth + bytes - 1) / bytes, 4), rounded_up(call.shape.panels, 4));
}

void quantize_all(Work* work, const Parallel& parallel) {
  const ProductCall& call = *work->call;
  const int64_t together = kNumbersToSplit / call.shape.k + 1;
  if (call.rows <= together) {
    work->kernels->quantize(call, work->rows, 0, call.rows);
    return;
  }
  work->rows_together = together;
  parallel.run(parallel.context,
               [](void* w, size_t i) { static_cast<Work*>(w)->quantize(static_cast<int64_t>(i)); },
               static_cast<size_t>((call.rows + together - 1) / together), work);
}

}  // namespace

bool multiply(const ProductCall& call, const ProductKernels& kernels, const Parallel& parallel) {
  if (call.rows == 0) return true;
  Work work{};
  work.call = &call;
  work.kernels = &kernels;
  QuantizedRows& rows = work.rows;
  rows.stride = rounded_up(call.shape.padded_k, kLine);
  rows.blocks = call.shape.blocks;
  const size_t count = static_cast<size_t>(call.rows) * static_cast<size_t>(rows.blocks);
  const size_t values = static_cast<size_t>(call.rows * rows.stride);
  Piece* piece = take(values + 2 * count * sizeof(float));
  if (!piece) return false;
  auto* memory = reinterpret_cast<uint8_t*>(piece) + kHeader;
  memory += (kLine - reinterpret_cast<uintptr_t>(memory) % kLine) % kLine;
  rows.values = reinterpret_cast<int8_t*>(memory);
  rows.scales = reinterpret_cast<float*>(memory + values);
  rows.zeros = reinterpret_cast<int32_t*>(memory + values + count * sizeof(float));
  quantize_all(&work, parallel);
  work.panels_together = panels_together(call);
  work.panel_groups = (call.shape.panels + work.panels_together - 1) / work.panels_together;
  const int64_t row_groups = (call.rows + kRowsTogether - 1) / kRowsTogether;
  parallel.run(parallel.context,
               [](void* w, size_t i) { static_cast<Work*>(w)->multiply(static_cast<int64_t>(i)); },
               static_cast<size_t>(row_groups * work.panel_groups), &work);
  give_back(piece);
  return true;
}

}  // namespace gpt2edge

// ---- for tests, by ctypes: one thread, the pieces of work from `first` on, round about

namespace {

constexpr const gpt2edge::ProductKernels* kKernels[] = {GPT2EDGE_TABLE(&gpt2edge::kProducts)};

}  // namespace

// Bytes of packed weights, or -1 where such weights are not known.
GPT2EDGE_EXPORT int64_t gpt2edge_packed_bytes(int64_t n, int64_t k, int bits, int block) {
  gpt2edge::PackedShape shape;
  if (!gpt2edge::packed_shape(n, k, bits, block, &shape)) return -1;
  return shape.panels * static_cast<int64_t>(shape.panel_bytes);
}

GPT2EDGE_EXPORT void gpt2edge_pack(int64_t n, int64_t k, int bits, int block, int columns,
                                   const void* weights, const float* scales, uint8_t* packed) {
  gpt2edge::PackedShape shape;
  if (!gpt2edge::packed_shape(n, k, bits, block, &shape)) return;
  if (columns) {
    gpt2edge::pack_columns(shape, static_cast<const int8_t*>(weights), scales, packed);
  } else {
    gpt2edge::pack_blocks(shape, static_cast<const uint8_t*>(weights), scales, packed);
  }
}

// Returns 0, or -1 where the variant or the weights are not known, or there is no memory.
GPT2EDGE_EXPORT int gpt2edge_multiply(int variant, int64_t rows, int64_t n, int64_t k, int bits,
                                      int block, const uint8_t* packed, const float* x,
                                      const float* gain, const float* norm_bias, float epsilon,
                                      const float* bias, const float* residual, int activation,
                                      float alpha, int64_t first, float* y) {
  using namespace gpt2edge;
  ProductCall call{};
  if (variant < 0 || variant >= static_cast<int>(sizeof(kKernels) / sizeof(*kKernels))) return -1;
  if (!packed_shape(n, k, bits, block, &call.shape)) return -1;
  call.packed = packed, call.x = x, call.y = y, call.rows = rows;
  call.norm = {gain, norm_bias, epsilon};
  call.epilogue = {bias, residual, activation, alpha};
  Parallel round{[](void* context, void (*fn)(void*, size_t), size_t count, void* data) {
                   const auto begin = static_cast<size_t>(*static_cast<int64_t*>(context));
                   for (size_t i = 0; i < count; ++i) fn(data, (i + begin) % count);
                 },
                 &first};
  return multiply(call, *kKernels[variant], round) ? 0 : -1;
}
