// Attention over a paged KV cache: what its parts share. docs/decisions/0032 describes the cache.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "parallel.h"

#include "isa.h"

namespace gpt2edge {

constexpr int kBlockTokens = 16;   // tokens of a block of the cache
constexpr int kSplitTokens = 256;  // keys whose softmax is computed in one piece
constexpr int kSplitBlocks = kSplitTokens / kBlockTokens;
constexpr int kSetQueries = 32;  // queries that a work item computes together, at most
constexpr int kMostHeadDim = 256;

enum CacheType : int { kFloat32 = 0, kFloat16 = 1, kInt8 = 2 };

// Where keys and values lie. A block holds all layers of 16 tokens; a layer its heads; a head
//     keys   [head_dim][16]      one line a dimension: scores of 16 tokens need no horizontal sum
//     values [16][padded]        padded: head_dim rounded up to 16, with zeros
// and, where they are int8, float32 scales of the 16 keys and of the 16 values.
struct CacheShape {
  int type, layers, heads, head_dim, padded;
  size_t values_at, scales_at, head_bytes, layer_bytes, block_bytes;
};

// Returns false where the kernels cannot compute such a shape.
bool cache_shape(int type, int64_t layers, int64_t heads, int64_t head_dim, CacheShape* shape);

// Queries [first, first + count) of a call; query i is token i % sequence of row i / sequence.
struct QuerySet {
  int first, count;
  int splits;         // pieces of kSplitTokens keys that its longest query sees
  int first_segment;  // of split 0; Plan::segment_ends[ends_at + s] is where split s ends
  int ends_at;
};

// Blocks [begin, end) that lie at one place in memory for all `count` members, which all see their
// first key; `members` is an index of Plan::members, whose numbers count from the set's first.
struct Segment {
  int begin, end, members, count;
};

struct Plan {
  const QuerySet* sets;
  const Segment* segments;
  const int* segment_ends;
  const int* members;
};

struct AttentionCall {
  const float* qkv;      // [batch, sequence, 3, heads, head_dim]
  float* out;            // [batch, sequence, heads, head_dim]
  uint8_t* layer;        // this layer of block 0; block b is b * shape.block_bytes behind
  const int32_t* table;  // [batch, width], the block of each 16 tokens of a row
  int width;
  const int32_t* last;  // [batch], the position of each row's last token, which is among the new
  int batch, sequence;
  float scale;
  CacheShape shape;
  Plan plan;
};

// What a query has summed up over some keys: m, the largest score, l, the sum of e^(score - m), and
// the values [padded], weighted by these. In memory: values, m, l, for each query of a set.
constexpr int state_floats(int padded) { return padded + 2; }

struct AttentionKernels {
  // Writes keys and values of all new tokens of a head into the cache.
  void (*write)(const AttentionCall&, int head);
  // Attends to splits [begin, end) of a head; with `state` null, writes the result to `out`.
  void (*attend)(const AttentionCall&, const QuerySet&, int head, int begin, int end, float* state);
  // Joins the states of all splits, one behind the other, in order, and writes the result.
  void (*finish)(const AttentionCall&, const QuerySet&, int head, const float* states);
};

GPT2EDGE_DECLARE(const AttentionKernels, kAttention);

// The kernels of a variant that exists.
const AttentionKernels& attention_kernels(int variant);

// Returns null, or what is wrong with the call; `blocks` is the number of blocks in the pool.
// `plan` of the call is made here.
const char* attend(AttentionCall call, int64_t blocks, const AttentionKernels& kernels,
                   const Parallel& parallel);

}  // namespace gpt2edge
