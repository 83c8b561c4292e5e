// Sums over a block of k: sixteen columns of unsigned weights by int8 activations, in whole numbers
// that never saturate. One implementation for each kind of processor; all give the same numbers.
//
// Sums           16 sums, one a column
// sums_of(x)     sums that start at x
// to_lanes(s)    as floats; exact, for they are below 2^24
// kMostRows      rows that are computed together, at most
// kSigned<bits>  whether weights are taken as signed: sums then start at 0, not at `zeros`
// add_block      adds `groups` of 8 of k to the sums of some rows
#pragma once

#include "lanes.h"
#include "products.h"

namespace gpt2edge {
namespace {

constexpr int kAhead = 2048;  // bytes that are fetched ahead where memory is the limit

#if defined(GPT2EDGE_LANES_AVX512) && defined(__AVX512VNNI__)

using Sums = __m512i;
constexpr int kMostRows = 12;
template <int bits>
constexpr bool kSigned = false;

GPT2EDGE_INLINE Sums sums_of(int32_t x) { return _mm512_set1_epi32(x); }
GPT2EDGE_INLINE Lanes to_lanes(Sums s) { return {_mm512_cvtepi32_ps(s)}; }
GPT2EDGE_INLINE __m512i four_of(const int8_t* a) {
  int32_t word;
  memcpy(&word, a, sizeof(word));
  return _mm512_set1_epi32(word);
}

// An instruction's result is there after four or more cycles, but one can begin in each: few rows are
// summed up in several chains.
template <int bits, int rows>
GPT2EDGE_INLINE void add_block(Sums (&sums)[rows], const int8_t* a, int64_t stride,
                               const uint8_t* w, int groups) {
  constexpr int kChains = rows < 4 ? 4 : rows < 8 ? 2 : 1;
  const __m512i low = _mm512_set1_epi8(15);
  Sums chains[rows][kChains];
  for (int i = 0; i < rows; ++i) {
    chains[i][0] = sums[i];
    for (int c = 1; c < kChains; ++c) chains[i][c] = _mm512_setzero_si512();
  }
  for (int g = 0; g < groups; g += 2) {
    for (int odd = 0; odd < 2; ++odd, a += kGroup, w += bits * kGroup * kPanel / 8) {
      if (rows <= 2) prefetch(w + kAhead);
      if (rows <= 2 && bits == 8) prefetch(w + kAhead + kLine);
      __m512i first = _mm512_loadu_si512(w), second;
      if (bits == 4) {
        second = _mm512_and_si512(_mm512_srli_epi16(first, 4), low);
        first = _mm512_and_si512(first, low);
      } else {
        second = _mm512_loadu_si512(w + kLine);
      }
      for (int i = 0; i < rows; ++i) {
        Sums& one = chains[i][2 * odd % kChains];
        one = _mm512_dpbusd_epi32(one, first, four_of(a + i * stride));
        Sums& two = chains[i][(2 * odd + 1) % kChains];
        two = _mm512_dpbusd_epi32(two, second, four_of(a + i * stride + 4));
      }
      if (g + 1 == groups) break;
    }
  }
  for (int i = 0; i < rows; ++i) {
    for (int c = 1; c < kChains; ++c) chains[i][0] = _mm512_add_epi32(chains[i][0], chains[i][c]);
    sums[i] = chains[i][0];
  }
}

#elif defined(GPT2EDGE_LANES_AVX2)

struct Sums {
  __m256i half[2];  // columns 0 to 7, and 8 to 15
};
GPT2EDGE_INLINE Sums sums_of(int32_t x) {
  return {{_mm256_set1_epi32(x), _mm256_set1_epi32(x)}};
}
GPT2EDGE_INLINE Lanes to_lanes(Sums s) {
  return {_mm256_cvtepi32_ps(s.half[0]), _mm256_cvtepi32_ps(s.half[1])};
}
GPT2EDGE_INLINE __m256i four_of(const int8_t* a) {
  int32_t word;
  memcpy(&word, a, sizeof(word));
  return _mm256_set1_epi32(word);
}
GPT2EDGE_INLINE __m256i load_half(const uint8_t* line) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line));
}

#if defined(__AVXVNNI__)

constexpr int kMostRows = 6;
template <int bits>
constexpr bool kSigned = false;

template <int bits, int rows>
GPT2EDGE_INLINE void add_half(__m256i (&sums)[rows], const int8_t* a, int64_t stride,
                              const uint8_t* w, int groups) {
  const __m256i low = _mm256_set1_epi8(15);
  for (int g = 0; g < groups; ++g, a += kGroup, w += bits * kGroup * kPanel / 8) {
    if (rows <= 2) prefetch(w + kAhead);
    __m256i first = load_half(w), second;
    if (bits == 4) {
      second = _mm256_and_si256(_mm256_srli_epi16(first, 4), low);
      first = _mm256_and_si256(first, low);
    } else {
      second = load_half(w + kLine);
    }
    for (int i = 0; i < rows; ++i) {
      sums[i] = _mm256_dpbusd_avx_epi32(sums[i], first, four_of(a + i * stride));
      sums[i] = _mm256_dpbusd_avx_epi32(sums[i], second, four_of(a + i * stride + 4));
    }
  }
}

#else

constexpr int kMostRows = 4;
template <int bits>
constexpr bool kSigned = bits == 8;

template <bool>
struct If {};
template <>
struct If<true> {
  using Void = void;
};

// Products of 4 bits: the sum of a pair is at most 2 * 15 * 127, so that eight of these fit 16 bits.
template <int bits, int rows>
GPT2EDGE_INLINE typename If<bits == 4>::Void add_half(__m256i (&sums)[rows], const int8_t* a,
                                                      int64_t stride, const uint8_t* w,
                                                      int groups) {
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  for (int g = 0; g < groups;) {
    const int end = g + 4 < groups ? g + 4 : groups;
    __m256i pairs[rows];
    for (int i = 0; i < rows; ++i) pairs[i] = _mm256_setzero_si256();
    for (; g < end; ++g, a += kGroup, w += kLine) {
      if (rows <= 2) prefetch(w + kAhead);
      __m256i loaded = load_half(w);
      __m256i first = _mm256_and_si256(loaded, low);
      __m256i second = _mm256_and_si256(_mm256_srli_epi16(loaded, 4), low);
      for (int i = 0; i < rows; ++i) {
        __m256i one = _mm256_maddubs_epi16(first, four_of(a + i * stride));
        __m256i two = _mm256_maddubs_epi16(second, four_of(a + i * stride + 4));
        pairs[i] = _mm256_add_epi16(pairs[i], _mm256_add_epi16(one, two));
      }
    }
    for (int i = 0; i < rows; ++i) {
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs[i], ones));
    }
  }
}

// Products of 8 bits as |w| times a with the sign of w: a pair is at most 2 * 128 * 127.
template <int bits, int rows>
GPT2EDGE_INLINE typename If<bits == 8>::Void add_half(__m256i (&sums)[rows], const int8_t* a,
                                                     int64_t stride, const uint8_t* w,
                                                     int groups) {
  const __m256i ones = _mm256_set1_epi16(1), middle = _mm256_set1_epi8(-128);
  for (int g = 0; g < 2 * groups; ++g, a += 4, w += kLine) {
    if (rows <= 2) prefetch(w + kAhead);
    __m256i weights = _mm256_xor_si256(load_half(w), middle);
    __m256i size = _mm256_abs_epi8(weights);
    for (int i = 0; i < rows; ++i) {
      __m256i activations = _mm256_sign_epi8(four_of(a + i * stride), weights);
      __m256i pairs = _mm256_maddubs_epi16(size, activations);
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, ones));
    }
  }
}

#endif

template <int bits, int rows>
GPT2EDGE_INLINE void add_block(Sums (&sums)[rows], const int8_t* a, int64_t stride,
                               const uint8_t* w, int groups) {
  for (int half = 0; half < 2; ++half) {
    __m256i own[rows];
    for (int i = 0; i < rows; ++i) own[i] = sums[i].half[half];
    add_half<bits, rows>(own, a, stride, w + half * kLine / 2, groups);
    for (int i = 0; i < rows; ++i) sums[i].half[half] = own[i];
  }
}

#elif defined(GPT2EDGE_LANES_NEON)

struct Sums {
  int32x4_t quarter[4];  // columns 0 to 3, 4 to 7 and so on
};
GPT2EDGE_INLINE Sums sums_of(int32_t x) {
  const int32x4_t four = vdupq_n_s32(x);
  return {{four, four, four, four}};
}
GPT2EDGE_INLINE Lanes to_lanes(const Sums& s) {
  float f[kPanel];
  for (int q = 0; q < 4; ++q) vst1q_f32(f + 4 * q, vcvtq_f32_s32(s.quarter[q]));
  return load(f);
}
GPT2EDGE_INLINE int32_t four_of(const int8_t* a) {
  int32_t word;
  memcpy(&word, a, sizeof(word));
  return word;
}

template <int bits>
constexpr bool kSigned = bits == 8;

// The weights of a quarter of the columns, four of k (first) and the next four.
template <int bits>
GPT2EDGE_INLINE void weights_of(const uint8_t* w, int8x16_t& first, int8x16_t& second) {
  const uint8x16_t loaded = vld1q_u8(w);
  if (bits == 4) {
    first = vreinterpretq_s8_u8(vandq_u8(loaded, vdupq_n_u8(15)));
    second = vreinterpretq_s8_u8(vshrq_n_u8(loaded, 4));
  } else {
    const uint8x16_t middle = vdupq_n_u8(128);
    first = vreinterpretq_s8_u8(veorq_u8(loaded, middle));
    second = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w + kLine), middle));
  }
}

#if defined(__ARM_FEATURE_DOTPROD)

constexpr int kMostRows = 4;

template <int bits, int rows>
GPT2EDGE_INLINE void add_block(Sums (&sums)[rows], const int8_t* a, int64_t stride,
                               const uint8_t* w, int groups) {
  for (int g = 0; g < groups; ++g, a += kGroup, w += bits * kGroup * kPanel / 8) {
    if (rows <= 2) prefetch(w + kAhead);
    int8x16_t first[4], second[4];
    for (int q = 0; q < 4; ++q) weights_of<bits>(w + 16 * q, first[q], second[q]);
    for (int i = 0; i < rows; ++i) {
      const int8x16_t one = vreinterpretq_s8_s32(vdupq_n_s32(four_of(a + i * stride)));
      const int8x16_t two = vreinterpretq_s8_s32(vdupq_n_s32(four_of(a + i * stride + 4)));
      for (int q = 0; q < 4; ++q) {
        sums[i].quarter[q] = vdotq_s32(sums[i].quarter[q], first[q], one);
        sums[i].quarter[q] = vdotq_s32(sums[i].quarter[q], second[q], two);
      }
    }
  }
}

#else

constexpr int kMostRows = 2;

// Products of 4 bits are at most 15 * 127: sixteen of them fit 16 bits. Of 8 bits, at most 128 * 127:
// two of them do.
template <int bits, int rows>
GPT2EDGE_INLINE void add_block(Sums (&sums)[rows], const int8_t* a, int64_t stride,
                               const uint8_t* w, int groups) {
  constexpr int kFit = bits == 4 ? 8 : 1;  // groups
  for (int q = 0; q < 4; ++q) {
    int32x4_t low[rows], high[rows];  // two columns each, two sums a column
    for (int i = 0; i < rows; ++i) low[i] = high[i] = vdupq_n_s32(0);
    for (int g = 0; g < groups;) {
      const int end = g + kFit < groups ? g + kFit : groups;
      int16x8_t few[rows], more[rows];
      for (int i = 0; i < rows; ++i) few[i] = more[i] = vdupq_n_s16(0);
      for (; g < end; ++g) {
        int8x16_t first, second;
        weights_of<bits>(w + g * (bits * kGroup * kPanel / 8) + 16 * q, first, second);
        for (int i = 0; i < rows; ++i) {
          const int8_t* eight = a + i * stride + g * kGroup;
          const int8x8_t one = vreinterpret_s8_s32(vdup_n_s32(four_of(eight)));
          const int8x8_t two = vreinterpret_s8_s32(vdup_n_s32(four_of(eight + 4)));
          few[i] = vmlal_s8(few[i], vget_low_s8(first), one);
          few[i] = vmlal_s8(few[i], vget_low_s8(second), two);
          more[i] = vmlal_s8(more[i], vget_high_s8(first), one);
          more[i] = vmlal_s8(more[i], vget_high_s8(second), two);
        }
      }
      for (int i = 0; i < rows; ++i) {
        low[i] = vpadalq_s16(low[i], few[i]);
        high[i] = vpadalq_s16(high[i], more[i]);
      }
    }
    for (int i = 0; i < rows; ++i) {
      sums[i].quarter[q] = vaddq_s32(sums[i].quarter[q], vpaddq_s32(low[i], high[i]));
    }
  }
}

#endif

#else

struct Sums {
  int32_t v[kPanel];
};
constexpr int kMostRows = 4;
template <int bits>
constexpr bool kSigned = false;

GPT2EDGE_INLINE Sums sums_of(int32_t x) {
  Sums s;
  for (int c = 0; c < kPanel; ++c) s.v[c] = x;
  return s;
}
GPT2EDGE_INLINE Lanes to_lanes(const Sums& s) {
  float f[kPanel];
  for (int c = 0; c < kPanel; ++c) f[c] = static_cast<float>(s.v[c]);
  return load(f);
}

template <int bits, int rows>
GPT2EDGE_INLINE void add_block(Sums (&sums)[rows], const int8_t* a, int64_t stride,
                               const uint8_t* w, int groups) {
  for (int g = 0; g < groups; ++g, w += bits * kGroup * kPanel / 8) {
    int16_t numbers[2][kLine];
    for (int c = 0; c < kLine; ++c) {
      numbers[0][c] = bits == 4 ? w[c] & 15 : w[c];
      numbers[1][c] = bits == 4 ? w[c] >> 4 : w[kLine + c];
    }
    for (int i = 0; i < rows; ++i) {
      const int8_t* four = a + i * stride + g * kGroup;
      for (int half = 0; half < 2; ++half, four += 4) {
        const int16_t* n = numbers[half];
        for (int c = 0; c < kPanel; ++c) {
          sums[i].v[c] += n[4 * c] * four[0] + n[4 * c + 1] * four[1] + n[4 * c + 2] * four[2] +
                          n[4 * c + 3] * four[3];
        }
      }
    }
  }
}

#endif

}  // namespace
}  // namespace gpt2edge
