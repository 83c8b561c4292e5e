// The operators gpt2edge.BlockProduct and gpt2edge.ColumnProduct: a product with constant weights,
// the LayerNormalization before it, and the bias, activation and residual behind it.
//
// Inputs   x         float [..., k]
//          weights   uint8 [n, blocks, block_size * bits / 8], as MatMulNBits takes them, or
//                    int8 [k, n], as DynamicQuantizeMatMul does; constant
//          scales    float [n, blocks] or [n * blocks], or [n]; constant
//          bias      float [n], optional, constant
//          gain      float [k], optional, constant: where given, x is normalized first
//          norm_bias float [k], optional, constant
//          residual  float [..., n], optional: added last
// Output   float [..., n]
// Attributes  K, N, bits, block_size, activation (products.h), alpha, epsilon. Of columns, block_size
//          is that of the activations, which are quantized by rows and blocks.
#include <stdlib.h>
#include <string.h>

#include "products.h"
#include "registry.h"

namespace gpt2edge {
namespace {

constexpr const ProductKernels* kKernels[] = {GPT2EDGE_TABLE(&kProducts)};

enum { kX, kWeights, kScales, kBias, kGain, kNormBias, kResidual, kInputs };

struct Kernel {
  PackedShape shape;
  Norm norm;
  Epilogue epilogue;
  uint8_t* packed;
  float* vectors;  // bias, gain and norm_bias, one behind the other
};

OrtStatus* invalid(const char* message) { return api().status(kInvalidArgument, message); }

int64_t elements(const Tensor& tensor) {
  int64_t count = 1;
  for (size_t i = 0; i < tensor.rank; ++i) count *= tensor.dims[i];
  return count;
}

uint8_t* aligned(size_t bytes) {
#if defined(_WIN32)
  return static_cast<uint8_t*>(_aligned_malloc(bytes, kLine));
#else
  void* memory = nullptr;
  return posix_memalign(&memory, kLine, bytes) ? nullptr : static_cast<uint8_t*>(memory);
#endif
}

void free_aligned(void* memory) {
#if defined(_WIN32)
  _aligned_free(memory);
#else
  free(memory);
#endif
}

void destroy(void* memory) {
  auto* kernel = static_cast<Kernel*>(memory);
  free_aligned(kernel->packed);
  free(kernel->vectors);
  free(kernel);
}

OrtStatus* read_attributes(const OrtKernelInfo* info, Kernel* kernel) {
  int64_t k = 0, n = 0, bits = 0, block = 0, activation = 0;
  struct {
    const char* name;
    int64_t* value;
  } const numbers[] = {{"K", &k},
                       {"N", &n},
                       {"bits", &bits},
                       {"block_size", &block},
                       {"activation", &activation}};
  for (const auto& number : numbers) {
    if (OrtStatus* error = api().attribute(info, number.name, number.value)) return error;
  }
  OrtStatus* error = api().attribute(info, "alpha", &kernel->epilogue.alpha);
  if (!error) error = api().attribute(info, "epsilon", &kernel->norm.epsilon);
  if (error) return error;
  if (activation < kLinear || activation > kGelu) {
    return invalid("a product with an activation that the kernels do not know");
  }
  kernel->epilogue.activation = static_cast<int>(activation);
  if (!packed_shape(n, k, bits, block, &kernel->shape)) {
    return invalid("a product of a size, bits or block_size that the kernels do not know");
  }
  return nullptr;
}

// Copies the vectors of a product, so that a call reads nothing but x.
OrtStatus* read_vectors(const OrtKernelInfo* info, Kernel* kernel) {
  const int64_t n = kernel->shape.n, k = kernel->shape.k;
  struct {
    size_t index;
    int64_t size;
    const float** place;
  } const vectors[] = {{kBias, n, &kernel->epilogue.bias},
                       {kGain, k, &kernel->norm.gain},
                       {kNormBias, k, &kernel->norm.bias}};
  kernel->vectors = static_cast<float*>(malloc(static_cast<size_t>(n + 2 * k) * sizeof(float)));
  if (!kernel->vectors) return api().status(kFail, "no memory for a product");
  float* out = kernel->vectors;
  for (const auto& vector : vectors) {
    Tensor tensor;
    if (OrtStatus* error = read_constant(info, vector.index, &tensor)) return error;
    if (!tensor.data) continue;
    if (elements(tensor) != vector.size) return invalid("a product's vector of another size");
    memcpy(out, tensor.data, static_cast<size_t>(vector.size) * sizeof(float));
    *vector.place = out;
    out += vector.size;
  }
  return nullptr;
}

OrtStatus* pack(const OrtKernelInfo* info, bool columns, Kernel* kernel) {
  const PackedShape& shape = kernel->shape;
  Tensor weights, scales;
  OrtStatus* error = read_constant(info, kWeights, &weights);
  if (!error) error = read_constant(info, kScales, &scales);
  if (error) return error;
  if (!weights.data || !scales.data) return invalid("a product's weights must be constant");
  const int64_t blob = static_cast<int64_t>(shape.block) * shape.bits / 8;
  const int64_t bytes = columns ? shape.k * shape.n : shape.n * shape.blocks * blob;
  const int64_t count = columns ? shape.n : shape.n * shape.blocks;
  if ((columns && shape.bits != 8) || elements(weights) != bytes || elements(scales) != count) {
    return invalid("a product's weights or scales are of another size than its attributes say");
  }
  kernel->packed = aligned(static_cast<size_t>(shape.panels) * shape.panel_bytes);
  if (!kernel->packed) return api().status(kFail, "no memory for a product's weights");
  const auto* scale = static_cast<const float*>(scales.data);
  if (columns) {
    pack_columns(shape, static_cast<const int8_t*>(weights.data), scale, kernel->packed);
  } else {
    pack_blocks(shape, static_cast<const uint8_t*>(weights.data), scale, kernel->packed);
  }
  return nullptr;
}

OrtStatus* create(const OrtKernelInfo* info, bool columns, void** made) {
  auto* kernel = static_cast<Kernel*>(calloc(1, sizeof(Kernel)));
  if (!kernel) return api().status(kFail, "no memory for a product");
  OrtStatus* error = read_attributes(info, kernel);
  if (!error) error = pack(info, columns, kernel);  // first: it knows that n and k are no larger
  if (!error) error = read_vectors(info, kernel);
  if (error) {
    destroy(kernel);
  } else {
    *made = kernel;
  }
  return error;
}

OrtStatus* run(const Kernel& kernel, OrtKernelContext* context) {
  Tensor x, residual;
  if (OrtStatus* error = read_input(context, kX, &x)) return error;
  if (OrtStatus* error = read_optional(context, kResidual, &residual)) return error;
  if (x.rank < 1 || x.dims[x.rank - 1] != kernel.shape.k) {
    return invalid("a product's input is of another width than its weights");
  }
  x.dims[x.rank - 1] = 1;
  ProductCall call{};
  call.rows = elements(x);
  if (residual.data && elements(residual) != call.rows * kernel.shape.n) {
    return invalid("a product's residual is of another size than its output");
  }
  x.dims[x.rank - 1] = kernel.shape.n;
  OrtValue* out = nullptr;
  void* data = nullptr;
  if (OrtStatus* error = api().output(context, 0, x.dims, x.rank, &out)) return error;
  if (OrtStatus* error = api().data(out, &data)) return error;
  call.shape = kernel.shape;
  call.packed = kernel.packed;
  call.x = static_cast<const float*>(x.data);
  call.y = static_cast<float*>(data);
  call.norm = kernel.norm;
  call.epilogue = kernel.epilogue;
  call.epilogue.residual = static_cast<const float*>(residual.data);
  const bool done = multiply(call, *kKernels[variant()], parallel_of(context));
  return done ? nullptr : api().status(kFail, "no memory for a product");
}

template <bool columns>
constexpr CustomOp describe() {
  return {
      kApiVersion,
      nullptr,
      [](const CustomOp*) { return columns ? "ColumnProduct" : "BlockProduct"; },
      [](const CustomOp*) -> const char* { return nullptr; },
      [](const CustomOp*, size_t index) -> int {
        return index != kWeights ? kFloatElement : columns ? kInt8Element : kUint8Element;
      },
      [](const CustomOp*) -> size_t { return kInputs; },
      [](const CustomOp*, size_t) -> int { return kFloatElement; },
      [](const CustomOp*) -> size_t { return 1; },
      nullptr,
      destroy,
      [](const CustomOp*, size_t index) -> int { return index >= kBias; },
      [](const CustomOp*, size_t) { return 0; },
      [](const CustomOp*, size_t) { return 0; },
      [](const CustomOp*) { return 1; },
      [](const CustomOp*) { return 1; },
      [](const CustomOp*) { return 1; },
      [](const CustomOp*) { return 1; },
      [](const CustomOp*, const void*, const OrtKernelInfo* info, void** kernel) {
        return create(info, columns, kernel);
      },
      [](void* kernel, OrtKernelContext* context) {
        return run(*static_cast<const Kernel*>(kernel), context);
      },
      {},
  };
}

constexpr CustomOp kBlockProduct = describe<false>();
constexpr CustomOp kColumnProduct = describe<true>();

}  // namespace

const CustomOp* block_product_op() { return &kBlockProduct; }
const CustomOp* column_product_op() { return &kColumnProduct; }

}  // namespace gpt2edge
