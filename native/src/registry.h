// Our operators in onnxruntime: a domain, and a list of functions that each describe one.
#pragma once

#include "ort_api.h"

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

const CustomOp* attention_op();

}  // namespace gpt2edge
