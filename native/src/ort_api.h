// The part of onnxruntime's C interface that custom operators need, declared by us: its wheels have
// no headers. The interface is a table of functions whose order never changes (new ones are added
// at its end), so that a place in the table is enough. Version 16 is that of onnxruntime 1.16.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace gpt2edge {

constexpr uint32_t kApiVersion = 16;

struct OrtApiBase {
  const void* (*get_api)(uint32_t version);
  const char* (*get_version)();
};

struct OrtStatus;  // null is success
struct OrtValue;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtTensorInfo;
struct OrtSessionOptions;
struct OrtDomain;

enum ElementType : int {  // ONNXTensorElementDataType
  kAnyElement = 0,
  kFloatElement = 1,
  kUint8Element = 2,
  kInt8Element = 3,
  kInt32Element = 6,
  kInt64Element = 7,
};
enum ErrorCode : int { kFail = 1, kInvalidArgument = 2 };

// struct OrtCustomOp
struct CustomOp {
  uint32_t version;
  void* (*create_kernel)(const CustomOp*, const void* api, const OrtKernelInfo*);
  const char* (*name)(const CustomOp*);
  const char* (*provider)(const CustomOp*);
  int (*input_type)(const CustomOp*, size_t);
  size_t (*inputs)(const CustomOp*);
  int (*output_type)(const CustomOp*, size_t);
  size_t (*outputs)(const CustomOp*);
  void (*compute)(void* kernel, OrtKernelContext*);
  void (*destroy)(void* kernel);
  int (*input_kind)(const CustomOp*, size_t);  // 0 required, 1 optional
  int (*output_kind)(const CustomOp*, size_t);
  int (*input_memory)(const CustomOp*, size_t);
  int (*variadic_input_arity)(const CustomOp*);
  int (*variadic_input_same)(const CustomOp*);
  int (*variadic_output_arity)(const CustomOp*);
  int (*variadic_output_same)(const CustomOp*);
  OrtStatus* (*create_kernel_or_fail)(const CustomOp*, const void* api, const OrtKernelInfo*,
                                      void** kernel);
  OrtStatus* (*compute_or_fail)(void* kernel, OrtKernelContext*);
  void* later[8];  // fields of later versions
};

class Api {
 public:
  explicit Api(const void* table) : functions_(static_cast<void* const*>(table)) {}

  OrtStatus* status(ErrorCode code, const char* message) const {
    return call<OrtStatus*>(0, static_cast<int>(code), message);
  }
  OrtStatus* create_domain(const char* name, OrtDomain** domain) const {
    return call<OrtStatus*>(26, name, domain);
  }
  OrtStatus* add(OrtDomain* domain, const CustomOp* op) const {
    return call<OrtStatus*>(27, domain, op);
  }
  OrtStatus* add(OrtSessionOptions* options, OrtDomain* domain) const {
    return call<OrtStatus*>(28, options, domain);
  }
  OrtStatus* attribute(const OrtKernelInfo* info, const char* name, float* value) const {
    return call<OrtStatus*>(85, info, name, value);
  }
  OrtStatus* attribute(const OrtKernelInfo* info, const char* name, int64_t* value) const {
    return call<OrtStatus*>(86, info, name, value);
  }
  OrtStatus* input(const OrtKernelContext* context, size_t index, const OrtValue** value) const {
    return call<OrtStatus*>(90, context, index, value);
  }
  OrtStatus* output(OrtKernelContext* context, size_t index, const int64_t* dims, size_t count,
                    OrtValue** value) const {
    return call<OrtStatus*>(91, context, index, dims, count, value);
  }
  OrtStatus* data(const OrtValue* value, void** data) const {
    return call<OrtStatus*>(51, const_cast<OrtValue*>(value), data);
  }
  // Reads up to `most` dimensions; `count` is how many there are.
  OrtStatus* shape(const OrtValue* value, int64_t* dims, size_t most, size_t* count) const {
    OrtTensorInfo* info = nullptr;
    if (OrtStatus* error = call<OrtStatus*>(65, value, &info)) return error;
    OrtStatus* error = call<OrtStatus*>(61, static_cast<const OrtTensorInfo*>(info), count);
    if (!error && *count <= most) {
      error = call<OrtStatus*>(62, static_cast<const OrtTensorInfo*>(info), dims, *count);
    }
    call<void>(99, info);
    return error;
  }
  // Reads an input as it is when the session is made; `value` is null where it is not a constant.
  OrtStatus* constant(const OrtKernelInfo* info, size_t index, const OrtValue** value) const {
    int is_constant = 0;
    *value = nullptr;
    OrtStatus* error = call<OrtStatus*>(249, info, index, &is_constant, value);
    if (!is_constant) *value = nullptr;
    return error;
  }
  // Runs fn(data, 0) to fn(data, count - 1) on the threads of the session, this one among them.
  OrtStatus* parallel_for(const OrtKernelContext* context, void (*fn)(void*, size_t), size_t count,
                          void* data) const {
    return call<OrtStatus*>(274, context, fn, count, size_t{0}, data);
  }

 private:
  template <class Result, class... Arguments>
  Result call(int place, Arguments... arguments) const {
    return reinterpret_cast<Result (*)(Arguments...)>(functions_[place])(arguments...);
  }

  void* const* functions_;
};

}  // namespace gpt2edge
