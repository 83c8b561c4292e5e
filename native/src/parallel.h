// How kernels share their work among threads.
#pragma once

#include <stddef.h>

namespace gpt2edge {

// Runs fn(data, 0) to fn(data, count - 1), in any order, on any threads.
struct Parallel {
  void (*run)(void* context, void (*fn)(void*, size_t), size_t count, void* data);
  void* context;
};

}  // namespace gpt2edge
