// Products of activations and weights of 4 or 8 bits: what their parts share.
//
// y [rows, n] = x [rows, k] W, then bias, activation and residual. Each row of x is quantized to
// int8, with a scale for each block of k; W has a scale for each block and column. Sums over a block
// are whole numbers, hence exact; the blocks are added up in their order. So a row has the same bits
// alone, in any batch and on any variant.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "isa.h"
#include "parallel.h"

namespace gpt2edge {

constexpr int kPanel = 16;         // columns that lie together
constexpr int kGroup = 8;          // numbers of k that lie together
constexpr int kLine = 64;          // bytes of a line: 16 columns of 4 bytes
constexpr int kLargestBlock = 256;  // sums of more would not fit a float's 24 bits

enum Activation : int { kLinear = 0, kTanhGelu = 1, kRelu = 2, kSigmoidGate = 3, kGelu = 4 };

// Packed weights: panels of 16 columns; in a panel, one block of k after the other; in a block
//     16 floats    the scales of the columns
//     lines        4 bits: one for 8 of k, four bytes a column, k to k + 3 in the low half and k + 4
//                  to k + 7 in the high one; 8 bits: two, for k to k + 3 and k + 4 to k + 7
// Numbers are unsigned, above a zero point of 8 or 128. What is beyond k and n is the zero point.
struct PackedShape {
  int64_t n, k;
  int bits, block;
  int blocks;         // the last one may be shorter
  int64_t panels;
  int64_t padded_k;   // rounded up to a group
  size_t group_bytes;
  size_t panel_bytes;
};

// Quantized rows: int8 [rows, stride], scales [rows, blocks], and minus the zero point times the sum
// of each block [rows, blocks].
struct QuantizedRows {
  int8_t* values;
  float* scales;
  int32_t* zeros;
  int64_t stride;
  int blocks;
};

// LayerNorm before the product, none where `gain` is null; `bias` may be null.
struct Norm {
  const float* gain;
  const float* bias;
  float epsilon;
};

// What is done to a sum before it is stored.
struct Epilogue {
  const float* bias;      // [n] or null
  const float* residual;  // [rows, n] or null
  int activation;
  float alpha;            // of kSigmoidGate
};

struct ProductCall {
  PackedShape shape;
  const uint8_t* packed;
  const float* x;
  float* y;
  int64_t rows;
  Norm norm;
  Epilogue epilogue;
};

struct ProductKernels {
  // Quantizes rows [first, last) of the call's x.
  void (*quantize)(const ProductCall&, const QuantizedRows&, int64_t first, int64_t last);
  // Computes rows [first, last) of the columns of panels [begin, end).
  void (*multiply)(const ProductCall&, const QuantizedRows&, int64_t first, int64_t last,
                   int64_t begin, int64_t end);
};

GPT2EDGE_DECLARE(const ProductKernels, kProducts);

// Returns false where the kernels do not know such weights.
bool packed_shape(int64_t n, int64_t k, int64_t bits, int64_t block, PackedShape* shape);

// Packs the weights of MatMulNBits: blocks [n, ceil(k / block), block * bits / 8], with scales
// [n, ceil(k / block)].
void pack_blocks(const PackedShape& shape, const uint8_t* blocks, const float* scales,
                 uint8_t* packed);

// Packs int8 columns [k, n] with scales [n].
void pack_columns(const PackedShape& shape, const int8_t* columns, const float* scales,
                  uint8_t* packed);

// Computes the call; returns false where there is no memory.
bool multiply(const ProductCall& call, const ProductKernels& kernels, const Parallel& parallel);

}  // namespace gpt2edge
