// Sixteen floats that are computed together. Every variant gives the same bits: multiply-add rounds
// once everywhere, sums over the lanes have one order, and exp is ours. Include it in a translation
// unit of its own for each variant and compile that with -ffp-contract=off; everything here is
// local to the unit, so that no linker takes one variant's code for another's.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(GPT2EDGE_IS_PORTABLE)
#define GPT2EDGE_LANES_PORTABLE 1
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GPT2EDGE_LANES_AVX512 1
#include <immintrin.h>
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define GPT2EDGE_LANES_AVX2 1
#include <immintrin.h>
#elif defined(__aarch64__)
#define GPT2EDGE_LANES_NEON 1
#include <arm_neon.h>
#else
#define GPT2EDGE_LANES_PORTABLE 1
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define GPT2EDGE_INLINE static __forceinline
#else
#define GPT2EDGE_INLINE static inline __attribute__((always_inline))
#endif

namespace {

constexpr int kLanes = 16;

template <class To, class From>
GPT2EDGE_INLINE To bits_of(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

GPT2EDGE_INLINE void prefetch(const void* address) {
#if defined(__GNUC__) || defined(__clang__)
  __builtin_prefetch(address);
#else
  (void)address;
#endif
}

#if defined(GPT2EDGE_LANES_AVX512)

struct Lanes {
  __m512 v;
};

GPT2EDGE_INLINE Lanes zero() { return {_mm512_setzero_ps()}; }
GPT2EDGE_INLINE Lanes broadcast(float x) { return {_mm512_set1_ps(x)}; }
GPT2EDGE_INLINE Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
GPT2EDGE_INLINE void store(float* p, Lanes a) { _mm512_storeu_ps(p, a.v); }
GPT2EDGE_INLINE Lanes add(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
GPT2EDGE_INLINE Lanes sub(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
GPT2EDGE_INLINE Lanes mul(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
GPT2EDGE_INLINE Lanes div(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
GPT2EDGE_INLINE Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
// a * b + c, rounded once
GPT2EDGE_INLINE Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
GPT2EDGE_INLINE Lanes magnitude(Lanes a) { return {_mm512_abs_ps(a.v)}; }
// the nearest whole numbers, ties to even
GPT2EDGE_INLINE Lanes nearest(Lanes a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n of whole n where the result is a normal number
GPT2EDGE_INLINE Lanes scale_by_power(Lanes a, Lanes n) {
  __m512i power = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), power))};
}
// the first `count` lanes of a, the others of b
GPT2EDGE_INLINE Lanes first_of(int count, Lanes a, Lanes b) {
  return {_mm512_mask_blend_ps(static_cast<__mmask16>((1u << count) - 1), b.v, a.v)};
}
GPT2EDGE_INLINE Lanes load(const uint16_t* half) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(half)))};
}
GPT2EDGE_INLINE void store(uint16_t* half, Lanes a) {
  __m256i h = _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(half), h);
}
GPT2EDGE_INLINE Lanes load(const int8_t* p) {
  __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}
// of values from -128 to 127; nearest, ties to even
GPT2EDGE_INLINE void store(int8_t* p, Lanes a) {
  __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
GPT2EDGE_INLINE float sum(Lanes a) {
  __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
GPT2EDGE_INLINE float largest(Lanes a) {
  __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#elif defined(GPT2EDGE_LANES_AVX2)

struct Lanes {
  __m256 a, b;
};

GPT2EDGE_INLINE Lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
GPT2EDGE_INLINE Lanes broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
GPT2EDGE_INLINE Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
GPT2EDGE_INLINE void store(float* p, Lanes x) {
  _mm256_storeu_ps(p, x.a);
  _mm256_storeu_ps(p + 8, x.b);
}
GPT2EDGE_INLINE Lanes add(Lanes x, Lanes y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
GPT2EDGE_INLINE Lanes sub(Lanes x, Lanes y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
GPT2EDGE_INLINE Lanes mul(Lanes x, Lanes y) {
  return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
GPT2EDGE_INLINE Lanes div(Lanes x, Lanes y) {
  return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
GPT2EDGE_INLINE Lanes max(Lanes x, Lanes y) {
  return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
GPT2EDGE_INLINE Lanes fma(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
GPT2EDGE_INLINE Lanes magnitude(Lanes x) {
  __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
GPT2EDGE_INLINE Lanes nearest(Lanes x) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, kMode), _mm256_round_ps(x.b, kMode)};
}
GPT2EDGE_INLINE __m256 scale_eight_by_power(__m256 x, __m256 n) {
  __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), power));
}
GPT2EDGE_INLINE Lanes scale_by_power(Lanes x, Lanes n) {
  return {scale_eight_by_power(x.a, n.a), scale_eight_by_power(x.b, n.b)};
}
GPT2EDGE_INLINE Lanes first_of(int count, Lanes x, Lanes y) {
  __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  __m256i low = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), at);
  __m256i high = _mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), at);
  return {_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(low)),
          _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(high))};
}
GPT2EDGE_INLINE Lanes load(const uint16_t* half) {
  const __m128i* p = reinterpret_cast<const __m128i*>(half);
  return {_mm256_cvtph_ps(_mm_loadu_si128(p)), _mm256_cvtph_ps(_mm_loadu_si128(p + 1))};
}
GPT2EDGE_INLINE void store(uint16_t* half, Lanes x) {
  __m128i* p = reinterpret_cast<__m128i*>(half);
  _mm_storeu_si128(p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(p + 1, _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
GPT2EDGE_INLINE Lanes load(const int8_t* p) {
  __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  __m256i low = _mm256_cvtepi8_epi32(bytes);
  __m256i high = _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes));
  return {_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)};
}
GPT2EDGE_INLINE void store(int8_t* p, Lanes x) {
  __m256i low = _mm256_cvtps_epi32(x.a), high = _mm256_cvtps_epi32(x.b);
  __m128i first = _mm_packs_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  __m128i rest = _mm_packs_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(first, rest));
}
GPT2EDGE_INLINE float sum(Lanes x) {
  __m256 eight = _mm256_add_ps(x.a, x.b);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
GPT2EDGE_INLINE float largest(Lanes x) {
  __m256 eight = _mm256_max_ps(x.a, x.b);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

#elif defined(GPT2EDGE_LANES_NEON)

struct Lanes {
  float32x4_t v[4];
};

#define GPT2EDGE_EACH(expression) \
  Lanes r;                        \
  for (int i = 0; i < 4; ++i) {   \
    r.v[i] = expression;          \
  }                               \
  return r
GPT2EDGE_INLINE Lanes broadcast(float x) { GPT2EDGE_EACH(vdupq_n_f32(x)); }
GPT2EDGE_INLINE Lanes zero() { return broadcast(0.0f); }
GPT2EDGE_INLINE Lanes load(const float* p) { GPT2EDGE_EACH(vld1q_f32(p + 4 * i)); }
GPT2EDGE_INLINE void store(float* p, Lanes x) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
}
GPT2EDGE_INLINE Lanes add(Lanes x, Lanes y) { GPT2EDGE_EACH(vaddq_f32(x.v[i], y.v[i])); }
GPT2EDGE_INLINE Lanes sub(Lanes x, Lanes y) { GPT2EDGE_EACH(vsubq_f32(x.v[i], y.v[i])); }
GPT2EDGE_INLINE Lanes mul(Lanes x, Lanes y) { GPT2EDGE_EACH(vmulq_f32(x.v[i], y.v[i])); }
GPT2EDGE_INLINE Lanes div(Lanes x, Lanes y) { GPT2EDGE_EACH(vdivq_f32(x.v[i], y.v[i])); }
GPT2EDGE_INLINE Lanes max(Lanes x, Lanes y) { GPT2EDGE_EACH(vmaxq_f32(x.v[i], y.v[i])); }
GPT2EDGE_INLINE Lanes fma(Lanes x, Lanes y, Lanes z) {
  GPT2EDGE_EACH(vfmaq_f32(z.v[i], x.v[i], y.v[i]));
}
GPT2EDGE_INLINE Lanes magnitude(Lanes x) { GPT2EDGE_EACH(vabsq_f32(x.v[i])); }
GPT2EDGE_INLINE Lanes nearest(Lanes x) { GPT2EDGE_EACH(vrndnq_f32(x.v[i])); }
GPT2EDGE_INLINE Lanes scale_by_power(Lanes x, Lanes n) {
  GPT2EDGE_EACH(vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x.v[i]),
                                                vshlq_n_s32(vcvtnq_s32_f32(n.v[i]), 23))));
}
GPT2EDGE_INLINE Lanes first_of(int count, Lanes x, Lanes y) {
  const int32_t places[4] = {0, 1, 2, 3};
  int32x4_t at = vld1q_s32(places);
  GPT2EDGE_EACH(vbslq_f32(vcgtq_s32(vdupq_n_s32(count - 4 * i), at), x.v[i], y.v[i]));
}
GPT2EDGE_INLINE Lanes load(const uint16_t* half) {
  GPT2EDGE_EACH(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half + 4 * i))));
}
GPT2EDGE_INLINE void store(uint16_t* half, Lanes x) {
  for (int i = 0; i < 4; ++i) vst1_u16(half + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}
GPT2EDGE_INLINE Lanes load(const int8_t* p) {
  int8x16_t bytes = vld1q_s8(p);
  int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
           vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
}
GPT2EDGE_INLINE void store(int8_t* p, Lanes x) {
  int16x8_t low = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.v[0])), vqmovn_s32(vcvtnq_s32_f32(x.v[1])));
  int16x8_t high = vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(x.v[2])), vqmovn_s32(vcvtnq_s32_f32(x.v[3])));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
}
GPT2EDGE_INLINE float sum(Lanes x) {
  float32x4_t four = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
  float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
GPT2EDGE_INLINE float largest(Lanes x) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.v[0], x.v[2]), vmaxq_f32(x.v[1], x.v[3])));
}
#undef GPT2EDGE_EACH

#else

struct Lanes {
  float v[kLanes];
};

#define GPT2EDGE_EACH(expression)      \
  Lanes r;                             \
  for (int i = 0; i < kLanes; ++i) {   \
    r.v[i] = expression;               \
  }                                    \
  return r

// a * b + c, rounded once, on processors without the instruction. The product is exact in double;
// the sum is rounded to odd there, so that the second rounding, to float, is the only one that
// shows (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums").
GPT2EDGE_INLINE float fma_of_one(float a, float b, float c) {
  double product = static_cast<double>(a) * b, third = c;
  double total = product + third;
  double part = total - product;
  double error = (product - (total - part)) + (third - part);
  uint64_t bits = bits_of<uint64_t>(total);
  uint64_t inexact = error != 0.0 ? 1 : 0;  // false for NaN of infinite sums, too
  inexact = error != error ? 0 : inexact;
  uint64_t away = ((error > 0.0) == (total > 0.0)) ? 1 : ~uint64_t{0};
  bits += (inexact & (bits & 1 ? 0 : 1)) * away;
  return static_cast<float>(bits_of<double>(bits));
}
GPT2EDGE_INLINE float nearest_of_one(float x) {
  float magic = x < 0.0f ? -8388608.0f : 8388608.0f;  // 2^23
  float rounded = (x + magic) - magic;
  return (x < 8388608.0f && x > -8388608.0f) ? rounded : x;
}
GPT2EDGE_INLINE float from_half(uint16_t half) {
  // a half's exponent and fraction, shifted to a float's place and scaled by 2^112: exact for
  // subnormal halves as well
  uint32_t rest = static_cast<uint32_t>(half & 0x7fffu) << 13;
  float finite = bits_of<float>(rest) * bits_of<float>(uint32_t{0x77800000});  // 2^112
  uint32_t bits = (half & 0x7c00u) == 0x7c00u ? rest | 0x7f800000u : bits_of<uint32_t>(finite);
  return bits_of<float>(bits | static_cast<uint32_t>(half & 0x8000u) << 16);
}
GPT2EDGE_INLINE uint16_t to_half(float x) {
  uint32_t bits = bits_of<uint32_t>(x), sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
  uint32_t half;
  if (rest >= 0x7f800000u) {  // infinite, or no number
    half = rest > 0x7f800000u ? 0x7e00u | (rest >> 13 & 0x3ffu) : 0x7c00u;
  } else if (rest >= 0x477ff000u) {  // rounds above the largest half
    half = 0x7c00u;
  } else if (rest < 0x38800000u) {  // a subnormal half: the sum with 0.5 rounds at its last place
    half = bits_of<uint32_t>(bits_of<float>(rest) + 0.5f) - 0x3f000000u;
  } else {
    half = (rest + 0xfffu + (rest >> 13 & 1u) - 0x38000000u) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}
GPT2EDGE_INLINE Lanes broadcast(float x) { GPT2EDGE_EACH(x); }
GPT2EDGE_INLINE Lanes zero() { return broadcast(0.0f); }
GPT2EDGE_INLINE Lanes load(const float* p) { GPT2EDGE_EACH(p[i]); }
GPT2EDGE_INLINE void store(float* p, Lanes x) { memcpy(p, x.v, sizeof(x.v)); }
GPT2EDGE_INLINE Lanes add(Lanes x, Lanes y) { GPT2EDGE_EACH(x.v[i] + y.v[i]); }
GPT2EDGE_INLINE Lanes sub(Lanes x, Lanes y) { GPT2EDGE_EACH(x.v[i] - y.v[i]); }
GPT2EDGE_INLINE Lanes mul(Lanes x, Lanes y) { GPT2EDGE_EACH(x.v[i] * y.v[i]); }
GPT2EDGE_INLINE Lanes div(Lanes x, Lanes y) { GPT2EDGE_EACH(x.v[i] / y.v[i]); }
GPT2EDGE_INLINE Lanes max(Lanes x, Lanes y) { GPT2EDGE_EACH(x.v[i] > y.v[i] ? x.v[i] : y.v[i]); }
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
GPT2EDGE_INLINE Lanes fma(Lanes x, Lanes y, Lanes z) {
  GPT2EDGE_EACH(__builtin_fmaf(x.v[i], y.v[i], z.v[i]));
}
#else
GPT2EDGE_INLINE Lanes fma(Lanes x, Lanes y, Lanes z) {
  GPT2EDGE_EACH(fma_of_one(x.v[i], y.v[i], z.v[i]));
}
#endif
GPT2EDGE_INLINE Lanes magnitude(Lanes x) {
  GPT2EDGE_EACH(bits_of<float>(bits_of<uint32_t>(x.v[i]) & 0x7fffffffu));
}
GPT2EDGE_INLINE Lanes nearest(Lanes x) { GPT2EDGE_EACH(nearest_of_one(x.v[i])); }
GPT2EDGE_INLINE Lanes scale_by_power(Lanes x, Lanes n) {
  GPT2EDGE_EACH(bits_of<float>(bits_of<uint32_t>(x.v[i]) +
                               (static_cast<uint32_t>(static_cast<int32_t>(n.v[i])) << 23)));
}
GPT2EDGE_INLINE Lanes first_of(int count, Lanes x, Lanes y) {
  GPT2EDGE_EACH(i < count ? x.v[i] : y.v[i]);
}
GPT2EDGE_INLINE Lanes load(const uint16_t* half) { GPT2EDGE_EACH(from_half(half[i])); }
GPT2EDGE_INLINE void store(uint16_t* half, Lanes x) {
  for (int i = 0; i < kLanes; ++i) half[i] = to_half(x.v[i]);
}
GPT2EDGE_INLINE Lanes load(const int8_t* p) { GPT2EDGE_EACH(static_cast<float>(p[i])); }
GPT2EDGE_INLINE void store(int8_t* p, Lanes x) {
  for (int i = 0; i < kLanes; ++i) {
    float whole = nearest_of_one(x.v[i]);
    whole = whole > -128.0f ? whole : -128.0f;  // no number becomes one here, too
    p[i] = static_cast<int8_t>(whole < 127.0f ? whole : 127.0f);
  }
}
GPT2EDGE_INLINE float sum(Lanes x) {
  for (int width = kLanes / 2; width; width /= 2) {
    for (int i = 0; i < width; ++i) x.v[i] += x.v[i + width];
  }
  return x.v[0];
}
GPT2EDGE_INLINE float largest(Lanes x) {
  float found = x.v[0];
  for (int i = 1; i < kLanes; ++i) found = found > x.v[i] ? found : x.v[i];
  return found;
}
#undef GPT2EDGE_EACH

#endif

// e^x for x of at most 0, within two units in the last place; below -86 it is e^-86, about 4e-38.
// The polynomial is Cephes' expf (Moshier).
GPT2EDGE_INLINE Lanes exp_of_negative(Lanes x) {
  x = max(x, broadcast(-86.0f));
  Lanes n = nearest(mul(x, broadcast(1.44269504f)));
  Lanes r = fma(n, broadcast(-0.693359375f), x);
  r = fma(n, broadcast(2.12194440e-4f), r);
  Lanes p = broadcast(1.9875691500e-4f);
  p = fma(p, r, broadcast(1.3981999507e-3f));
  p = fma(p, r, broadcast(8.3334519073e-3f));
  p = fma(p, r, broadcast(4.1665795894e-2f));
  p = fma(p, r, broadcast(1.6666665459e-1f));
  p = fma(p, r, broadcast(0.5f));
  p = fma(mul(r, r), p, add(r, broadcast(1.0f)));
  return scale_by_power(p, n);
}

}  // namespace
