// The kernels of attention, compiled once for each variant, GPT2EDGE_VARIANT. Every sum has an order that depends on positions only, so that a row's result is the
// same bits alone, in any batch, in any chunk, with shared or copied beginnings, on any variant.
#include "attention.h"
#include "isa.h"
#include "lanes.h"

namespace gpt2edge {
namespace {

#if defined(GPT2EDGE_LANES_AVX512)
constexpr int kSums = 16;  // lanes that are summed up at once; more would leave the registers
#else
constexpr int kSums = 4;
#endif
constexpr int kMostRows = 8;
constexpr float kMasked = -3.0e38f;

template <class T>
const T* keys_of(const AttentionCall& call, const uint8_t* record) {
  (void)call;
  return reinterpret_cast<const T*>(record);
}

template <class T>
const T* values_of(const AttentionCall& call, const uint8_t* record) {
  return reinterpret_cast<const T*>(record + call.shape.values_at);
}

const float* scales_of(const AttentionCall& call, const uint8_t* record, int part) {
  return reinterpret_cast<const float*>(record + call.shape.scales_at) + part * kBlockTokens;
}

int row_of(const AttentionCall& call, int query) { return query / call.sequence; }

// Tokens that a query sees: its own and all before it.
int visible(const AttentionCall& call, int query) {
  int row = row_of(call, query);
  return call.last[row] + 2 - call.sequence + query % call.sequence;
}

uint8_t* record_of(const AttentionCall& call, int row, int block, int head) {
  size_t number = static_cast<size_t>(call.table[static_cast<size_t>(row) * call.width + block]);
  return call.layer + number * call.shape.block_bytes + head * call.shape.head_bytes;
}

// ---- writing

Lanes largest_magnitude(const float* x, int count) {
  Lanes found = zero();
  int at = 0;
  for (; at + kLanes <= count; at += kLanes) found = max(found, magnitude(load(x + at)));
  float rest[kLanes] = {};
  memcpy(rest, x + at, sizeof(float) * (count - at));
  return max(found, magnitude(load(rest)));
}

// Converts [count] floats to the cache's type, zeros behind up to a multiple of 16; `inverse` is
// one over the scale.
template <class T>
void convert(const float* x, int count, float inverse, T* out) {
  for (int at = 0; at < count; at += kLanes) {
    float part[kLanes] = {};
    int left = count - at < kLanes ? count - at : kLanes;
    memcpy(part, x + at, sizeof(float) * left);
    Lanes lanes = load(part);
    store(out + at, sizeof(T) == 1 ? mul(lanes, broadcast(inverse)) : lanes);
  }
}

template <class T>
void write_token(const AttentionCall& call, const float* key, const float* value, uint8_t* record,
                 int slot) {
  const CacheShape& shape = call.shape;
  float inverse[2] = {1.0f, 1.0f};
  if (sizeof(T) == 1) {
    float* scales = reinterpret_cast<float*>(record + shape.scales_at) + slot;
    for (int part = 0; part < 2; ++part) {
      float most = largest(largest_magnitude(part ? value : key, shape.head_dim));
      scales[part * kBlockTokens] = most / 127.0f;
      inverse[part] = most > 1e-36f ? 127.0f / most : 0.0f;
    }
  }
  T converted[kMostHeadDim];
  convert(key, shape.head_dim, inverse[0], converted);
  T* keys = reinterpret_cast<T*>(record) + slot;
  for (int d = 0; d < shape.head_dim; ++d) keys[d * kBlockTokens] = converted[d];
  T* values = reinterpret_cast<T*>(record + shape.values_at) + static_cast<size_t>(slot) * shape.padded;
  convert(value, shape.head_dim, inverse[1], values);
}

template <class T>
void write_head(const AttentionCall& call, int head) {
  const CacheShape& shape = call.shape;
  size_t width = static_cast<size_t>(shape.heads) * shape.head_dim;
  for (int row = 0; row < call.batch; ++row) {
    int first = call.last[row] + 1 - call.sequence;
    for (int token = 0; token < call.sequence; ++token) {
      int position = first + token;
      const float* qkv = call.qkv + (static_cast<size_t>(row) * call.sequence + token) * 3 * width;
      const float* key = qkv + width + static_cast<size_t>(head) * shape.head_dim;
      uint8_t* record = record_of(call, row, position / kBlockTokens, head);
      write_token<T>(call, key, key + width, record, position % kBlockTokens);
    }
  }
}

// ---- scores: queries times keys

// Scores of R queries [dim] with B blocks of 16 keys, each summed up over dim in its order.
template <class T, int R, int B>
GPT2EDGE_INLINE void score_tile(const AttentionCall& call, const float* const* queries,
                                const uint8_t* const* records, float* const* scores) {
  Lanes sums[R][B];
  const T* keys[B];
  for (int b = 0; b < B; ++b) keys[b] = keys_of<T>(call, records[b]);
  for (int r = 0; r < R; ++r) {
    for (int b = 0; b < B; ++b) sums[r][b] = zero();
  }
  const int dim = call.shape.head_dim;
  for (int d = 0; d < dim; ++d) {
    Lanes line[B];
    for (int b = 0; b < B; ++b) line[b] = load(keys[b] + d * kBlockTokens);
    for (int r = 0; r < R; ++r) {
      Lanes q = broadcast(queries[r][d]);
      for (int b = 0; b < B; ++b) sums[r][b] = fma(q, line[b], sums[r][b]);
    }
  }
  for (int b = 0; b < B; ++b) {
    Lanes scale = zero();
    if (sizeof(T) == 1) scale = load(scales_of(call, records[b], 0));
    for (int r = 0; r < R; ++r) {
      Lanes score = sizeof(T) == 1 ? mul(sums[r][b], scale) : sums[r][b];
      store(scores[r] + b * kBlockTokens, score);
    }
  }
}

template <class T>
void score_block(const AttentionCall& call, const float* const* queries, int count,
                 const uint8_t* const* record, float* const* scores) {
  constexpr int kRows = kSums < kMostRows ? kSums : kMostRows;
  int at = 0;
  for (; at + kRows <= count; at += kRows) {
    score_tile<T, kRows, 1>(call, queries + at, record, scores + at);
  }
  if (kRows > 4 && at + 4 <= count) {
    score_tile<T, 4, 1>(call, queries + at, record, scores + at);
    at += 4;
  }
  if (at + 2 <= count) {
    score_tile<T, 2, 1>(call, queries + at, record, scores + at);
    at += 2;
  }
  if (at < count) score_tile<T, 1, 1>(call, queries + at, record, scores + at);
}

// ---- mix: weights times values

// Adds the values of 16 * V columns of some blocks, weighted, to R sums; `tokens` of the last block.
template <class T, int R, int V>
GPT2EDGE_INLINE void mix_tile(const AttentionCall& call, const float* const* weights,
                              const uint8_t* const* records, int blocks, int tokens, int column,
                              float* const* mixed) {
  Lanes sums[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sums[r][v] = load(mixed[r] + column + v * kLanes);
  }
  const int padded = call.shape.padded;
  for (int b = 0; b < blocks; ++b) {
    const T* values = values_of<T>(call, records[b]) + column;
    int count = b + 1 < blocks ? kBlockTokens : tokens;
    for (int t = 0; t < count; ++t) {
      Lanes line[V];
      for (int v = 0; v < V; ++v) line[v] = load(values + t * padded + v * kLanes);
      for (int r = 0; r < R; ++r) {
        Lanes w = broadcast(weights[r][b * kBlockTokens + t]);
        for (int v = 0; v < V; ++v) sums[r][v] = fma(w, line[v], sums[r][v]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) store(mixed[r] + column + v * kLanes, sums[r][v]);
  }
}

template <class T, int V>
void mix_columns(const AttentionCall& call, const float* const* weights, int count,
                 const uint8_t* const* records, int blocks, int tokens, int column,
                 float* const* mixed) {
  constexpr int kRows = kSums / V < kMostRows ? kSums / V : kMostRows;
  int at = 0;
#define GPT2EDGE_MIX(rows)                                                                    \
  for (; kRows >= rows && at + rows <= count; at += rows) {                                   \
    mix_tile<T, kRows >= rows ? rows : 1, V>(call, weights + at, records, blocks, tokens, column, \
                                             mixed + at);                                     \
  }
  GPT2EDGE_MIX(8)
  GPT2EDGE_MIX(4)
  GPT2EDGE_MIX(2)
  GPT2EDGE_MIX(1)
#undef GPT2EDGE_MIX
}

template <class T>
void mix_blocks(const AttentionCall& call, const float* const* weights, int count,
                const uint8_t* const* records, int blocks, int tokens, float* const* mixed) {
  const int padded = call.shape.padded;
  int column = 0;
  if (count < 4 || kSums >= 16) {
    for (; column + 4 * kLanes <= padded; column += 4 * kLanes) {
      mix_columns<T, 4>(call, weights, count, records, blocks, tokens, column, mixed);
    }
  }
  for (; column < padded; column += kLanes) {
    mix_columns<T, 1>(call, weights, count, records, blocks, tokens, column, mixed);
  }
}

// ---- one set of queries

// The memory of a work item, on its stack.
struct alignas(64) Work {
  float queries[kSetQueries * kMostHeadDim];
  float scores[kSetQueries * kSplitTokens];
  float state[kSetQueries * state_floats(kMostHeadDim)];
  float next[kSetQueries * state_floats(kMostHeadDim)];
};

// Scales the queries once, so that scores need no product of their own.
void read_queries(const AttentionCall& call, const QuerySet& set, int head, float* queries) {
  const int dim = call.shape.head_dim;
  const size_t width = static_cast<size_t>(call.shape.heads) * dim;
  for (int i = 0; i < set.count; ++i) {
    const float* q = call.qkv + (set.first + i) * 3 * width + static_cast<size_t>(head) * dim;
    for (int d = 0; d < dim; ++d) queries[i * dim + d] = q[d] * call.scale;
  }
}

// Turns the scores of a query's `count` keys into weights e^(score - m) and returns m and l.
void soften(float* scores, int count, float* m, float* l) {
  int blocks = (count + kLanes - 1) / kLanes, rest = count - (blocks - 1) * kLanes;
  float* tail = scores + (blocks - 1) * kLanes;
  store(tail, first_of(rest, load(tail), broadcast(kMasked)));
  Lanes most = load(scores);
  for (int b = 1; b < blocks; ++b) most = max(most, load(scores + b * kLanes));
  *m = largest(most);
  Lanes total = zero(), least = broadcast(*m);
  for (int b = 0; b < blocks; ++b) {
    Lanes weight = exp_of_negative(sub(load(scores + b * kLanes), least));
    if (b + 1 == blocks) weight = first_of(rest, weight, zero());
    store(scores + b * kLanes, weight);
    total = add(total, weight);
  }
  *l = sum(total);
}

int keys_in_split(const AttentionCall& call, int query, int split) {
  int left = visible(call, query) - split * kSplitTokens;
  return left < kSplitTokens ? left : kSplitTokens;
}

// The records of a segment's blocks, for a head.
int records_of(const AttentionCall& call, const QuerySet& set, const Segment& segment, int head,
               const uint8_t** records) {
  int row = row_of(call, set.first + call.plan.members[segment.members]);
  for (int block = segment.begin; block < segment.end; ++block) {
    records[block - segment.begin] = record_of(call, row, block, head);
  }
  return segment.end - segment.begin;
}

template <class T>
void score_segment(const AttentionCall& call, const QuerySet& set, const Segment& segment, int head,
                   Work& work) {
  const uint8_t* records[kSplitBlocks];
  const float* queries[kSetQueries];
  float* scores[kSetQueries];
  int blocks = records_of(call, set, segment, head, records);
  const int* members = call.plan.members + segment.members;
  int column = segment.begin % kSplitBlocks * kBlockTokens;
  for (int i = 0; i < segment.count; ++i) {
    queries[i] = work.queries + members[i] * call.shape.head_dim;
    scores[i] = work.scores + members[i] * kSplitTokens + column;
  }
  int block = 0;
  if (segment.count == 1) {  // four blocks at once, as one would wait for its own sums
    for (; block + 4 <= blocks; block += 4) {
      score_tile<T, 1, 4>(call, queries, records + block, scores);
      scores[0] += 4 * kBlockTokens;
    }
  }
  for (; block < blocks; ++block) {
    score_block<T>(call, queries, segment.count, records + block, scores);
    for (int i = 0; i < segment.count; ++i) scores[i] += kBlockTokens;
  }
}

template <class T>
void mix_segment(const AttentionCall& call, const QuerySet& set, const Segment& segment, int head,
                 Work& work, float* state) {
  const uint8_t* records[kSplitBlocks];
  const float* weights[kSetQueries];
  float* mixed[kSetQueries];
  int blocks = records_of(call, set, segment, head, records);
  const int* members = call.plan.members + segment.members;
  int column = segment.begin % kSplitBlocks * kBlockTokens, longest = 0;
  const int last_begin = (segment.end - 1) * kBlockTokens;
  for (int i = 0; i < segment.count; ++i) {
    float* own = work.scores + members[i] * kSplitTokens + column;
    if (sizeof(T) == 1) {
      for (int b = 0; b < blocks; ++b) {
        float* at = own + b * kBlockTokens;
        store(at, mul(load(at), load(scales_of(call, records[b], 1))));
      }
    }
    weights[i] = own;
    mixed[i] = state + members[i] * state_floats(call.shape.padded);
    int tokens = visible(call, set.first + members[i]) - last_begin;
    longest = tokens > longest ? tokens : longest;
  }
  int tokens = longest < kBlockTokens ? longest : kBlockTokens;
  mix_blocks<T>(call, weights, segment.count, records, blocks, tokens, mixed);
}

// Computes the state of every query of the set over the keys of one split.
template <class T>
void attend_split(const AttentionCall& call, const QuerySet& set, int head, int split, Work& work,
                  float* state) {
  const int* ends = call.plan.segment_ends + set.ends_at;
  int begin = split ? ends[split - 1] : set.first_segment, end = ends[split];
  for (int s = begin; s < end; ++s) {
    score_segment<T>(call, set, call.plan.segments[s], head, work);
  }
  const int padded = call.shape.padded;
  for (int i = 0; i < set.count; ++i) {
    float* own = state + i * state_floats(padded);
    memset(own, 0, sizeof(float) * padded);
    own[padded] = kMasked;
    own[padded + 1] = 0.0f;
    int keys = keys_in_split(call, set.first + i, split);
    if (keys > 0) soften(work.scores + i * kSplitTokens, keys, own + padded, own + padded + 1);
  }
  for (int s = begin; s < end; ++s) {
    mix_segment<T>(call, set, call.plan.segments[s], head, work, state);
  }
}

// Adds the state of the next split to that of all before it. A split without keys changes nothing.
void join(int padded, const float* next, float* state) {
  if (next[padded + 1] == 0.0f) return;
  Lanes m = max(broadcast(state[padded]), broadcast(next[padded]));
  Lanes before = exp_of_negative(sub(broadcast(state[padded]), m));
  Lanes behind = exp_of_negative(sub(broadcast(next[padded]), m));
  for (int at = 0; at < padded; at += kLanes) {
    store(state + at, fma(load(state + at), before, mul(load(next + at), behind)));
  }
  float scaled[kLanes];
  Lanes l = fma(broadcast(state[padded + 1]), before, mul(broadcast(next[padded + 1]), behind));
  store(scaled, l);
  state[padded + 1] = scaled[0];
  store(scaled, m);
  state[padded] = scaled[0];
}

void write_out(const AttentionCall& call, const QuerySet& set, int head, const float* state) {
  const int dim = call.shape.head_dim, padded = call.shape.padded;
  const size_t width = static_cast<size_t>(call.shape.heads) * dim;
  for (int i = 0; i < set.count; ++i) {
    const float* own = state + i * state_floats(padded);
    float* out = call.out + (set.first + i) * width + static_cast<size_t>(head) * dim;
    Lanes inverse = div(broadcast(1.0f), broadcast(own[padded + 1]));
    for (int at = 0; at < dim; at += kLanes) {
      float part[kLanes];
      store(part, mul(load(own + at), inverse));
      int left = dim - at < kLanes ? dim - at : kLanes;
      memcpy(out + at, part, sizeof(float) * left);
    }
  }
}

template <class T>
void attend_splits(const AttentionCall& call, const QuerySet& set, int head, int begin, int end,
                   float* state) {
  Work work;
  read_queries(call, set, head, work.queries);
  const int size = state_floats(call.shape.padded);
  float* joined = state ? state : work.state;
  for (int split = begin; split < end; ++split) {
    float* own = split == begin ? joined : work.next;
    attend_split<T>(call, set, head, split, work, own);
    if (split == begin) continue;
    for (int i = 0; i < set.count; ++i) {
      join(call.shape.padded, work.next + i * size, joined + i * size);
    }
  }
  if (!state) write_out(call, set, head, joined);
}

// ---- by type

void write(const AttentionCall& call, int head) {
  if (call.shape.type == kFloat32) return write_head<float>(call, head);
  if (call.shape.type == kFloat16) return write_head<uint16_t>(call, head);
  write_head<int8_t>(call, head);
}

void attend_set(const AttentionCall& call, const QuerySet& set, int head, int begin, int end,
                float* state) {
  if (call.shape.type == kFloat32) return attend_splits<float>(call, set, head, begin, end, state);
  if (call.shape.type == kFloat16) return attend_splits<uint16_t>(call, set, head, begin, end, state);
  attend_splits<int8_t>(call, set, head, begin, end, state);
}

void finish(const AttentionCall& call, const QuerySet& set, int head, const float* states) {
  Work work;
  const size_t size = static_cast<size_t>(set.count) * state_floats(call.shape.padded);
  memcpy(work.state, states, sizeof(float) * size);
  for (int split = 1; split < set.splits; ++split) {
    for (int i = 0; i < set.count; ++i) {
      int at = i * state_floats(call.shape.padded);
      join(call.shape.padded, states + split * size + at, work.state + at);
    }
  }
  write_out(call, set, head, work.state);
}

}  // namespace

extern const AttentionKernels GPT2EDGE_NAME(kAttention);
const AttentionKernels GPT2EDGE_NAME(kAttention) = {write, attend_set, finish};

}  // namespace gpt2edge
