// Attention over a paged KV cache: checks a call, plans which queries read which blocks together,
// and spreads the work.
#include "attention.h"
#include "placement.h"

#include <stdlib.h>
#include <string.h>

namespace gpt2edge {
namespace {

const AttentionKernels kVariantKernels[] = {GPT2EDGE_TABLE(kAttention)};
constexpr int kVariants = sizeof(kVariantKernels) / sizeof(kVariantKernels[0]);
constexpr int64_t kMostHeads = 1 << 16;
constexpr int64_t kMostLayers = 1 << 16;
constexpr int64_t kMostQueries = 1 << 24;
constexpr int kEnoughItems = 32;  // work items that keep every thread busy

// An array that grows and is reused by later calls; it holds what can be copied as bytes.
template <class T>
struct Array {
  T* items = nullptr;
  size_t count = 0, room = 0;

  bool reserve(size_t wanted) {
    if (wanted <= room) return true;
    size_t size = wanted > 2 * room ? wanted : 2 * room;
    void* memory = realloc(items, size * sizeof(T));
    if (!memory) return false;
    items = static_cast<T*>(memory);
    room = size;
    return true;
  }
  bool push(const T& item) {
    if (!reserve(count + 1)) return false;
    items[count++] = item;
    return true;
  }
};

// The memory of one call. Calls take one from a few that are kept, or make their own.
struct Workspace {
  Array<QuerySet> sets;
  Array<Segment> segments;
  Array<int> ends;
  Array<int> members;
  Array<float> states;
  Array<int> arrived;
};

constexpr int kKept = 8;
Workspace* kept_workspaces[kKept];

Workspace* take_workspace() {
  for (auto& place : kept_workspaces) {
    if (Workspace* found = __atomic_exchange_n(&place, nullptr, __ATOMIC_ACQUIRE)) return found;
  }
  void* memory = malloc(sizeof(Workspace));
  return memory ? new (memory) Workspace : nullptr;
}

void give_back(Workspace* workspace) {
  for (auto& place : kept_workspaces) {
    Workspace* none = nullptr;
    if (__atomic_compare_exchange_n(&place, &none, workspace, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED)) {
      return;
    }
  }
  free(workspace->sets.items);
  free(workspace->segments.items);
  free(workspace->ends.items);
  free(workspace->members.items);
  free(workspace->states.items);
  free(workspace->arrived.items);
  free(workspace);
}

// ---- the plan

struct Planner {
  const AttentionCall& call;
  Workspace& to;
  const QuerySet* set;

  int seen(int member) const {
    int query = set->first + member;
    return call.last[query / call.sequence] + 2 - call.sequence + query % call.sequence;
  }
  int32_t block(int member, int at) const {
    size_t row = static_cast<size_t>((set->first + member) / call.sequence);
    return call.table[row * call.width + at];
  }
  bool sees(int member, int at) const { return seen(member) > at * kBlockTokens; }

  // Appends the segments of blocks [begin, end) for those `members` that see them.
  bool split_up(const int* members, int count, int begin, int end) {
    int left[kSetQueries], waiting = 0;
    for (int i = 0; i < count; ++i) {
      if (sees(members[i], begin)) left[waiting++] = members[i];
    }
    while (waiting) {
      int together[kSetQueries], others[kSetQueries], joined = 0, apart = 0;
      for (int i = 0; i < waiting; ++i) {
        bool same = block(left[i], begin) == block(left[0], begin);
        (same ? together[joined++] : others[apart++]) = left[i];
      }
      int stop = begin + 1;
      while (stop < end && all_same(together, joined, stop)) ++stop;
      if (!append({begin, stop, static_cast<int>(to.members.count), joined}, together)) return false;
      if (stop < end && !split_up(together, joined, stop, end)) return false;
      memcpy(left, others, sizeof(int) * static_cast<size_t>(apart));
      waiting = apart;
    }
    return true;
  }

 private:
  bool all_same(const int* members, int count, int at) const {
    for (int i = 0; i < count; ++i) {
      if (!sees(members[i], at) || block(members[i], at) != block(members[0], at)) return false;
    }
    return true;
  }
  bool append(const Segment& segment, const int* members) {
    for (int i = 0; i < segment.count; ++i) {
      if (!to.members.push(members[i])) return false;
    }
    return to.segments.push(segment);
  }
};

bool make_plan(AttentionCall* call, Workspace& to, int* most_splits) {
  to.sets.count = to.segments.count = to.ends.count = to.members.count = 0;
  int queries = call->batch * call->sequence, everyone[kSetQueries];
  for (int i = 0; i < kSetQueries; ++i) everyone[i] = i;
  *most_splits = 0;
  for (int first = 0; first < queries; first += kSetQueries) {
    QuerySet set{};
    set.first = first;
    set.count = queries - first < kSetQueries ? queries - first : kSetQueries;
    set.first_segment = static_cast<int>(to.segments.count);
    set.ends_at = static_cast<int>(to.ends.count);
    Planner planner{*call, to, &set};
    int longest = 0;
    for (int i = 0; i < set.count; ++i) {
      longest = planner.seen(i) > longest ? planner.seen(i) : longest;
    }
    int blocks = (longest + kBlockTokens - 1) / kBlockTokens;
    set.splits = (blocks + kSplitBlocks - 1) / kSplitBlocks;
    for (int split = 0; split < set.splits; ++split) {
      int begin = split * kSplitBlocks, end = begin + kSplitBlocks;
      end = end < blocks ? end : blocks;
      if (!planner.split_up(everyone, set.count, begin, end)) return false;
      if (!to.ends.push(static_cast<int>(to.segments.count))) return false;
    }
    if (!to.sets.push(set)) return false;
    *most_splits = set.splits > *most_splits ? set.splits : *most_splits;
  }
  call->plan = {to.sets.items, to.segments.items, to.ends.items, to.members.items};
  return true;
}

// ---- the work

struct Work {
  const AttentionCall& call;
  const AttentionKernels& kernels;
  Workspace& memory;
  int sets, splits;  // splits is 1 where an item computes them all
  bool writes;       // an item writes its own head's tokens first
  size_t state_size;

  void write(size_t head) const { kernels.write(call, static_cast<int>(head)); }

  // Item: (head, set, split), the split fastest.
  void attend(size_t item) const {
    int split = static_cast<int>(item % static_cast<size_t>(splits));
    size_t pair = item / static_cast<size_t>(splits);
    int head = static_cast<int>(pair / static_cast<size_t>(sets));
    const QuerySet& set = call.plan.sets[pair % static_cast<size_t>(sets)];
    if (splits == 1) {
      if (writes) kernels.write(call, head);
      return kernels.attend(call, set, head, 0, set.splits, nullptr);
    }
    if (split >= set.splits) return;
    if (writes && split + 1 == set.splits) kernels.write(call, head);
    float* states = memory.states.items + pair * static_cast<size_t>(splits) * state_size;
    size_t own = static_cast<size_t>(set.count) * static_cast<size_t>(state_floats(call.shape.padded));
    kernels.attend(call, set, head, split, split + 1, states + static_cast<size_t>(split) * own);
    // whoever comes last joins them, in the order of the splits
    int* arrived = memory.arrived.items + pair;
    if (__atomic_add_fetch(arrived, 1, __ATOMIC_ACQ_REL) == set.splits) {
      kernels.finish(call, set, head, states);
    }
  }
};

const char* check(const AttentionCall& call, int64_t blocks) {
  for (int row = 0; row < call.batch; ++row) {
    int64_t tokens = static_cast<int64_t>(call.last[row]) + 1;
    if (tokens < call.sequence) return "a row holds fewer tokens than are new";
    if (tokens > static_cast<int64_t>(call.width) * kBlockTokens) {
      return "a row holds more tokens than its blocks have room for";
    }
    const int32_t* table = call.table + static_cast<size_t>(row) * static_cast<size_t>(call.width);
    for (int64_t at = 0; at * kBlockTokens < tokens; ++at) {
      if (table[at] < 0 || table[at] >= blocks) return "a block outside the cache";
    }
  }
  return nullptr;
}

const char* attend_with(AttentionCall& call, const AttentionKernels& kernels,
                        const Parallel& parallel, Workspace& memory) {
  static const char* const no_memory = "no memory for attention";
  int splits = 0;
  if (!make_plan(&call, memory, &splits)) return no_memory;
  int sets = static_cast<int>(memory.sets.count), heads = call.shape.heads;
  bool apart = splits > 1 && static_cast<int64_t>(sets) * heads < kEnoughItems;
  size_t state = static_cast<size_t>(kSetQueries) * static_cast<size_t>(state_floats(call.shape.padded));
  bool writes = sets == 1 && (!apart || call.batch * call.sequence == 1);
  Work work{call, kernels, memory, sets, apart ? splits : 1, writes, state};
  size_t pairs = static_cast<size_t>(sets) * static_cast<size_t>(heads);
  if (apart) {
    size_t count = pairs * static_cast<size_t>(splits) * state;
    if (!memory.states.reserve(count) || !memory.arrived.reserve(pairs)) return no_memory;
    memset(memory.arrived.items, 0, pairs * sizeof(int));
  }
  if (!writes) {
    parallel.run(parallel.context, [](void* w, size_t i) { static_cast<Work*>(w)->write(i); },
                 static_cast<size_t>(heads), &work);
  }
  parallel.run(parallel.context, [](void* w, size_t i) { static_cast<Work*>(w)->attend(i); },
               pairs * static_cast<size_t>(work.splits), &work);
  return nullptr;
}

}  // namespace

bool cache_shape(int type, int64_t layers, int64_t heads, int64_t head_dim, CacheShape* shape) {
  if (type < kFloat32 || type > kInt8 || layers < 1 || layers > kMostLayers || heads < 1 ||
      heads > kMostHeads || head_dim < 1 || head_dim > kMostHeadDim) {
    return false;
  }
  const size_t element = type == kFloat32 ? 4 : type == kFloat16 ? 2 : 1;
  shape->type = type;
  shape->layers = static_cast<int>(layers);
  shape->heads = static_cast<int>(heads);
  shape->head_dim = static_cast<int>(head_dim);
  shape->padded = (shape->head_dim + 15) / 16 * 16;
  shape->values_at = static_cast<size_t>(head_dim) * kBlockTokens * element;
  shape->scales_at = shape->values_at + static_cast<size_t>(shape->padded) * kBlockTokens * element;
  size_t scales = type == kInt8 ? 2 * kBlockTokens * sizeof(float) : 0;
  shape->head_bytes = shape->scales_at + scales;
  shape->layer_bytes = shape->head_bytes * static_cast<size_t>(heads);
  shape->block_bytes = shape->layer_bytes * static_cast<size_t>(layers);
  return true;
}

const AttentionKernels& attention_kernels(int variant) { return kVariantKernels[variant]; }

const char* attend(AttentionCall call, int64_t blocks, const AttentionKernels& kernels,
                   const Parallel& parallel) {
  if (call.batch < 0 || call.sequence < 0 || call.width < 0 ||
      static_cast<int64_t>(call.batch) * call.sequence > kMostQueries) {
    return "a batch of a size that attention cannot compute";
  }
  if (call.batch == 0 || call.sequence == 0) return nullptr;
  if (const char* error = check(call, blocks)) return error;
  Workspace* memory = take_workspace();
  if (!memory) return "no memory for attention";
  const char* error = attend_with(call, kernels, parallel, *memory);
  give_back(memory);
  return error;
}

}  // namespace gpt2edge

// ---- for tests, by ctypes: one thread, the items from `first` on, round about

GPT2EDGE_EXPORT int64_t gpt2edge_cache_layer_bytes(int type, int64_t heads, int64_t head_dim) {
  gpt2edge::CacheShape shape;
  bool known = gpt2edge::cache_shape(type, 1, heads, head_dim, &shape);
  return known ? static_cast<int64_t>(shape.layer_bytes) : -1;
}

// Returns null, or what is wrong. `variant` counts from portable, 0, up to the best.
GPT2EDGE_EXPORT const char* gpt2edge_attention(
    int variant, int type, const float* qkv, uint8_t* pool, int64_t blocks, const int32_t* table,
    int width, const int32_t* last, int batch, int sequence, int layers, int layer, int heads,
    int head_dim, float scale, int64_t first, float* out) {
  using namespace gpt2edge;
  if (variant < 0 || variant >= kVariants) return "no such variant";
  AttentionCall call{};
  if (!cache_shape(type, layers, heads, head_dim, &call.shape)) return "no such cache";
  if (layer < 0 || layer >= layers) return "no such layer";
  call.qkv = qkv, call.out = out, call.table = table, call.width = width, call.last = last;
  call.layer = pool + static_cast<size_t>(layer) * call.shape.layer_bytes;
  call.batch = batch, call.sequence = sequence, call.scale = scale;
  Parallel round{[](void* context, void (*fn)(void*, size_t), size_t count, void* data) {
                   size_t begin = static_cast<size_t>(*static_cast<int64_t*>(context));
                   for (size_t i = 0; i < count; ++i) fn(data, (i + begin) % count);
                 },
                 &first};
  return attend(call, blocks, attention_kernels(variant), round);
}
