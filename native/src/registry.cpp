#include "registry.h"

#include "isa.h"

namespace gpt2edge {
namespace {

const void* api_table = nullptr;

using Describe = const CustomOp* (*)();
constexpr Describe kOps[] = {attention_op, block_product_op, column_product_op};

}  // namespace

const Api& api() {
  static_assert(sizeof(Api) == sizeof(void*), "no more than the table");
  return *reinterpret_cast<const Api*>(&api_table);
}

namespace {

OrtStatus* read(const OrtValue* value, Tensor* tensor) {
  OrtStatus* error = api().shape(value, tensor->dims, Tensor::kMostDims, &tensor->rank);
  if (error) return error;
  if (tensor->rank > Tensor::kMostDims) {
    return api().status(kInvalidArgument, "an input has too many dimensions");
  }
  return api().data(value, &tensor->data);
}

}  // namespace

OrtStatus* read_optional(const OrtKernelContext* context, size_t index, Tensor* tensor) {
  const OrtValue* value = nullptr;
  tensor->data = nullptr;
  if (OrtStatus* error = api().input(context, index, &value)) return error;
  return value ? read(value, tensor) : nullptr;
}

OrtStatus* read_input(const OrtKernelContext* context, size_t index, Tensor* tensor) {
  if (OrtStatus* error = read_optional(context, index, tensor)) return error;
  if (!tensor->data) {
    // of no elements is not missing
    const OrtValue* value = nullptr;
    if (OrtStatus* error = api().input(context, index, &value)) return error;
    if (!value) return api().status(kInvalidArgument, "an input is missing");
  }
  return nullptr;
}

OrtStatus* read_constant(const OrtKernelInfo* info, size_t index, Tensor* tensor) {
  const OrtValue* value = nullptr;
  tensor->data = nullptr;
  if (OrtStatus* error = api().constant(info, index, &value)) return error;
  return value ? read(value, tensor) : nullptr;
}

Parallel parallel_of(OrtKernelContext* context) {
  return {[](void* c, void (*fn)(void*, size_t), size_t count, void* data) {
            if (api().parallel_for(static_cast<OrtKernelContext*>(c), fn, count, data)) {
              for (size_t i = 0; i < count; ++i) fn(data, i);
            }
          },
          context};
}

}  // namespace gpt2edge


// onnxruntime calls it where SessionOptions.register_custom_ops_library names this library.
GPT2EDGE_EXPORT gpt2edge::OrtStatus* RegisterCustomOps(gpt2edge::OrtSessionOptions* options,
                                                       const gpt2edge::OrtApiBase* base) {
  using namespace gpt2edge;
  api_table = base->get_api(kApiVersion);
  OrtDomain* domain = nullptr;
  if (OrtStatus* error = api().create_domain(kDomain, &domain)) return error;
  for (Describe describe : kOps) {
    if (OrtStatus* error = api().add(domain, describe())) return error;
  }
  return api().add(options, domain);
}
