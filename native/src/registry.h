// Our operators in onnxruntime: a domain, and a list of functions that each describe one.
#pragma once

#include "ort_api.h"
#include "parallel.h"

namespace gpt2edge {

constexpr const char* kDomain = "gpt2edge";

const Api& api();

// An input of an operator as a tensor, read-only by type: an operator that writes to one says so.
struct Tensor {
  static constexpr size_t kMostDims = 8;
  int64_t dims[kMostDims];
  size_t rank;
  void* data;
};

// Reads an input; a tensor of more dimensions than kMostDims is an error.
OrtStatus* read_input(const OrtKernelContext* context, size_t index, Tensor* tensor);

// Reads an optional input; its data is null where it is missing.
OrtStatus* read_optional(const OrtKernelContext* context, size_t index, Tensor* tensor);

// Reads an input that is constant; its data is null where it is missing, or no constant.
OrtStatus* read_constant(const OrtKernelInfo* info, size_t index, Tensor* tensor);

// Runs work on the threads of the session that runs an operator.
Parallel parallel_of(OrtKernelContext* context);

const CustomOp* attention_op();
const CustomOp* block_product_op();
const CustomOp* column_product_op();

}  // namespace gpt2edge
