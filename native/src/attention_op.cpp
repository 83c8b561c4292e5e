// The operator gpt2edge.Attention: one layer of attention that updates its cache.
//
// Inputs   qkv          float [batch, sequence, 3 * heads * head_dim] or [batch * sequence, ...]
//          kv_cache     uint8 [blocks, layers, bytes]; written, as attention.h lays it out
//          block_table  int32 [batch, width]
//          last         int32 [batch], the position of each row's last token
// Output   float, as qkv, with a last dimension of heads * head_dim
// Attributes  num_heads, head_dim, layer, cache_type (0 float32, 1 float16, 2 int8), scale
#include <stdlib.h>

#include "attention.h"
#include "isa.h"
#include "registry.h"
#include "placement.h"

namespace gpt2edge {
namespace {

struct Kernel {
  int64_t heads, head_dim, layer, type;
  float scale;
};

OrtStatus* create(const CustomOp*, const void*, const OrtKernelInfo* info, void** kernel) {
  Kernel own{};
  struct {
    const char* name;
    int64_t* value;
  } const numbers[] = {{"num_heads", &own.heads},
                       {"head_dim", &own.head_dim},
                       {"layer", &own.layer},
                       {"cache_type", &own.type}};
  for (const auto& number : numbers) {
    if (OrtStatus* error = api().attribute(info, number.name, number.value)) return error;
  }
  if (OrtStatus* error = api().attribute(info, "scale", &own.scale)) return error;
  void* memory = malloc(sizeof(Kernel));
  if (!memory) return api().status(kFail, "no memory");
  *kernel = new (memory) Kernel(own);
  return nullptr;
}

OrtStatus* invalid(const char* message) { return api().status(kInvalidArgument, message); }

OrtStatus* run(const Kernel& kernel, OrtKernelContext* context) {
  enum { kQkv, kCache, kTable, kLast, kInputs };
  Tensor in[kInputs];
  for (size_t i = 0; i < kInputs; ++i) {
    if (OrtStatus* error = read_input(context, i, &in[i])) return error;
  }
  AttentionCall call{};
  const Tensor &qkv = in[kQkv], &pool = in[kCache], &table = in[kTable], &last = in[kLast];
  if (pool.rank != 3 || table.rank != 2 || last.rank != 1 || (qkv.rank != 2 && qkv.rank != 3)) {
    return invalid("Attention: an input of another rank than the operator takes");
  }
  if (kernel.type < kFloat32 || kernel.type > kInt8 ||
      !cache_shape(static_cast<int>(kernel.type), pool.dims[1], kernel.heads, kernel.head_dim,
                   &call.shape)) {
    return invalid("Attention: a cache of a type or shape that the kernels do not know");
  }
  if (kernel.layer < 0 || kernel.layer >= pool.dims[1] ||
      pool.dims[2] != static_cast<int64_t>(call.shape.layer_bytes)) {
    return invalid("Attention: kv_cache has another shape than the attributes say");
  }
  int64_t batch = last.dims[0], tokens = qkv.dims[0], width = kernel.heads * kernel.head_dim;
  if (qkv.rank == 3) tokens *= qkv.dims[1];
  if (qkv.dims[qkv.rank - 1] != 3 * width || table.dims[0] != batch ||
      (batch ? tokens % batch != 0 : tokens != 0) || (qkv.rank == 3 && qkv.dims[0] != batch)) {
    return invalid("Attention: qkv, block_table and last do not belong together");
  }
  int64_t sequence = batch ? tokens / batch : 0;
  if (batch > INT32_MAX || sequence > INT32_MAX || table.dims[1] > INT32_MAX) {
    return invalid("Attention: a batch too large");
  }
  int64_t dims[3] = {qkv.dims[0], qkv.dims[1], width};
  dims[qkv.rank - 1] = width;
  OrtValue* out = nullptr;
  void* data = nullptr;
  if (OrtStatus* error = api().output(context, 0, dims, qkv.rank, &out)) return error;
  if (OrtStatus* error = api().data(out, &data)) return error;
  call.qkv = static_cast<const float*>(qkv.data);
  call.out = static_cast<float*>(data);
  call.layer = static_cast<uint8_t*>(pool.data) +
               static_cast<size_t>(kernel.layer) * call.shape.layer_bytes;
  call.table = static_cast<const int32_t*>(table.data);
  call.width = static_cast<int>(table.dims[1]);
  call.last = static_cast<const int32_t*>(last.data);
  call.batch = static_cast<int>(batch);
  call.sequence = static_cast<int>(sequence);
  call.scale = kernel.scale;
  Parallel parallel{[](void* c, void (*fn)(void*, size_t), size_t count, void* argument) {
                      auto* own = static_cast<OrtKernelContext*>(c);
                      if (api().parallel_for(own, fn, count, argument)) {
                        for (size_t i = 0; i < count; ++i) fn(argument, i);
                      }
                    },
                    context};
  const char* error = attend(call, pool.dims[0], attention_kernels(variant()), parallel);
  return error ? invalid(error) : nullptr;
}

constexpr int kTypes[] = {kFloatElement, kUint8Element, kInt32Element, kInt32Element};

const CustomOp kOp = {
    kApiVersion,
    nullptr,
    [](const CustomOp*) { return "Attention"; },
    [](const CustomOp*) -> const char* { return nullptr; },
    [](const CustomOp*, size_t index) -> int { return kTypes[index]; },
    [](const CustomOp*) -> size_t { return 4; },
    [](const CustomOp*, size_t) -> int { return kFloatElement; },
    [](const CustomOp*) -> size_t { return 1; },
    nullptr,
    [](void* kernel) { free(kernel); },
    [](const CustomOp*, size_t) { return 0; },
    [](const CustomOp*, size_t) { return 0; },
    [](const CustomOp*, size_t) { return 0; },
    [](const CustomOp*) { return 1; },
    [](const CustomOp*) { return 1; },
    [](const CustomOp*) { return 1; },
    [](const CustomOp*) { return 1; },
    create,
    [](void* kernel, OrtKernelContext* context) {
      return run(*static_cast<const Kernel*>(kernel), context);
    },
    {},
};

}  // namespace

const CustomOp* attention_op() { return &kOp; }

}  // namespace gpt2edge
