// Variants: the library holds every kernel several times, for processors with different features.
#pragma once
#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#define GPT2EDGE_X86 1
#elif defined(__aarch64__) || defined(_M_ARM64)
#define GPT2EDGE_ARM 1
#endif

#if defined(_WIN32)
#define GPT2EDGE_EXPORT extern "C" __declspec(dllexport)
#else
#define GPT2EDGE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// In a source that is compiled once per variant: NAME_avx2 for the variant avx2.
#define GPT2EDGE_JOIN2(a, b) a##_##b
#define GPT2EDGE_JOIN(a, b) GPT2EDGE_JOIN2(a, b)
#define GPT2EDGE_NAME(name) GPT2EDGE_JOIN(name, GPT2EDGE_VARIANT)

// A table with a function of every variant: DECLARE it, then write {GPT2EDGE_TABLE(name)}; its index
// is variant().
#if defined(GPT2EDGE_X86)
#define GPT2EDGE_TABLE(name) name##_portable, name##_avx2, name##_avxvnni, name##_avx512vnni
#elif defined(GPT2EDGE_ARM)
#define GPT2EDGE_TABLE(name) name##_portable, name##_neon, name##_dotprod, name##_i8mm
#else
#define GPT2EDGE_TABLE(name) name##_portable
#endif
#define GPT2EDGE_DECLARE(type, name) extern type GPT2EDGE_TABLE(name)

namespace gpt2edge {

// Number of the variant in use: 0 is portable, then as in GPT2EDGE_TABLE.
int variant();

}  // namespace gpt2edge
