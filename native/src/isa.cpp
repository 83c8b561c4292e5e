// Which variants this processor runs, asked of the processor itself: the compilers' own
// __builtin_cpu_supports answers false in libraries that zig links.
#include "isa.h"

#include <string.h>

#if defined(GPT2EDGE_X86)
#include <cpuid.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
extern "C" __declspec(dllimport) int IsProcessorFeaturePresent(unsigned long feature);
#endif

namespace gpt2edge {
namespace {

struct Variant {
    const char* name;
    const char* (*missing)();  // a feature that this processor lacks, or ""
};

const char* none() { return ""; }

#if defined(GPT2EDGE_X86)

struct Leaf {
    unsigned eax, ebx, ecx, edx;
};

Leaf leaf(unsigned number, unsigned sub) {
    Leaf found{};
    if (number <= __get_cpuid_max(0, nullptr))
        __cpuid_count(number, sub, found.eax, found.ebx, found.ecx, found.edx);
    return found;
}

// Registers that the system saves: 6 is those of AVX, 0xe6 those of AVX-512.
bool system_saves(unsigned registers) {
    if (!(leaf(1, 0).ecx >> 27 & 1)) return false;  // OSXSAVE
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & registers) == registers;
}

const char* avx2_missing() {
    const Leaf basic = leaf(1, 0), more = leaf(7, 0);
    if (!system_saves(0x6)) return "avx";
    if (!(basic.ecx >> 12 & 1)) return "fma";
    if (!(basic.ecx >> 29 & 1)) return "f16c";
    return more.ebx >> 5 & 1 ? "" : "avx2";
}

const char* avxvnni_missing() {
    const char* missing = avx2_missing();
    if (*missing) return missing;
    return leaf(7, 0).eax >= 1 && leaf(7, 1).eax >> 4 & 1 ? "" : "avx_vnni";
}

const char* avx512vnni_missing() {
    const char* missing = avx2_missing();
    if (*missing) return missing;
    const Leaf more = leaf(7, 0);
    if (!(more.ebx >> 16 & 1) || !system_saves(0xe6)) return "avx512f";
    if (!(more.ebx >> 17 & 1)) return "avx512dq";
    if (!(more.ebx >> 30 & 1)) return "avx512bw";
    if (!(more.ebx >> 31 & 1)) return "avx512vl";
    return more.ecx >> 11 & 1 ? "" : "avx512_vnni";
}

constexpr Variant kVariants[] = {{"portable", none},
                                 {"avx2", avx2_missing},
                                 {"avxvnni", avxvnni_missing},
                                 {"avx512vnni", avx512vnni_missing}};

#elif defined(GPT2EDGE_ARM)

#if defined(__linux__)
bool has_dotprod() { return getauxval(AT_HWCAP) >> 20 & 1; }   // HWCAP_ASIMDDP
bool has_i8mm() { return getauxval(AT_HWCAP2) >> 13 & 1; }     // HWCAP2_I8MM
#elif defined(__APPLE__)
bool has(const char* name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value;
}
bool has_dotprod() { return has("hw.optional.arm.FEAT_DotProd"); }
bool has_i8mm() { return has("hw.optional.arm.FEAT_I8MM"); }
#elif defined(_WIN32)
bool has_dotprod() { return IsProcessorFeaturePresent(43); }  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
bool has_i8mm() { return IsProcessorFeaturePresent(66); }     // PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE
#else
bool has_dotprod() { return false; }
bool has_i8mm() { return false; }
#endif

const char* dotprod_missing() { return has_dotprod() ? "" : "asimddp"; }
const char* i8mm_missing() {
    const char* missing = dotprod_missing();
    return *missing ? missing : has_i8mm() ? "" : "i8mm";
}

constexpr Variant kVariants[] = {{"portable", none},
                                 {"neon", none},
                                 {"dotprod", dotprod_missing},
                                 {"i8mm", i8mm_missing}};

#else
constexpr Variant kVariants[] = {{"portable", none}};
#endif

constexpr int kCount = sizeof kVariants / sizeof *kVariants;

int best() {
    int number = kCount - 1;
    while (*kVariants[number].missing()) --number;
    return number;
}

int used = -1;  // the same number whoever writes it first

int number_of(const char* name) {
    for (int number = 0; number < kCount; ++number)
        if (!strcmp(kVariants[number].name, name)) return number;
    return -1;
}

}  // namespace

int variant() {
    int number = __atomic_load_n(&used, __ATOMIC_RELAXED);
    if (number < 0) {
        number = best();
        __atomic_store_n(&used, number, __ATOMIC_RELAXED);
    }
    return number;
}

}  // namespace gpt2edge

// Name of variant `number`, the best last; null after it.
GPT2EDGE_EXPORT const char* gpt2edge_variant_name(int32_t number) {
    using namespace gpt2edge;
    return 0 <= number && number < kCount ? kVariants[number].name : nullptr;
}

// Feature that variant `number` needs and this processor lacks; "" where it runs here.
GPT2EDGE_EXPORT const char* gpt2edge_variant_missing(int32_t number) {
    using namespace gpt2edge;
    return 0 <= number && number < kCount ? kVariants[number].missing() : "variant";
}

// Number of the variant in use.
GPT2EDGE_EXPORT int32_t gpt2edge_variant() { return gpt2edge::variant(); }

// Makes the named variant the one in use, or the best where the name is empty; returns its number,
// or -1 where there is none of the name that runs here. Call it while no kernel runs.
GPT2EDGE_EXPORT int32_t gpt2edge_use_variant(const char* name) {
    using namespace gpt2edge;
    const int number = *name ? number_of(name) : best();
    if (number < 0 || *kVariants[number].missing()) return -1;
    __atomic_store_n(&used, number, __ATOMIC_RELAXED);
    return number;
}
