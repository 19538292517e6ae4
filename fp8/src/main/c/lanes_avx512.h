/* What quantisers and casts are made of, with AVX-512 F, BW, DQ, VL: 64 bytes, 16 lanes, masks in registers. */
#ifndef OCTET_FP8_LANES_AVX512_H
#define OCTET_FP8_LANES_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

typedef __m512 vec;
typedef __m512i ivec;
/* A yes or no for each lane of 32, of 16 bits. */
typedef __mmask16 mask32;
typedef __mmask32 mask16;

#define SUFFIX avx512

enum { BYTES = 64, HALVES = 32, LANES = 16 };

INLINE vec f_load(const void *p) { return _mm512_loadu_ps(p); }
INLINE void f_store(void *p, vec x) { _mm512_storeu_ps(p, x); }
INLINE vec f_all(float x) { return _mm512_set1_ps(x); }
INLINE vec f_add(vec x, vec y) { return _mm512_add_ps(x, y); }
INLINE vec f_mul(vec x, vec y) { return _mm512_mul_ps(x, y); }
INLINE vec f_div(vec x, vec y) { return _mm512_div_ps(x, y); }
/* The larger one, and the second one if either is a NaN. */
INLINE vec f_max(vec x, vec y) { return _mm512_max_ps(x, y); }
INLINE vec f_of_bits(ivec x) { return _mm512_castsi512_ps(x); }
INLINE ivec f_bits(vec x) { return _mm512_castps_si512(x); }
/* x where it is not less than a limit, else y. */
INLINE vec f_unless_below(vec x, float limit, vec y) {
    return _mm512_mask_mov_ps(x, _mm512_cmp_ps_mask(x, f_all(limit), _CMP_LT_OQ), y);
}
INLINE int f_all_positive(vec x) { return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ) == 0xFFFF; }

INLINE ivec i_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE void i_store(void *p, ivec x) { _mm512_storeu_si512(p, x); }
INLINE void i_stream(void *p, ivec x) { _mm512_stream_si512(p, x); }
INLINE ivec i_zero(void) { return _mm512_setzero_si512(); }
INLINE ivec i_and(ivec x, ivec y) { return _mm512_and_si512(x, y); }
/* x & y | z */
INLINE ivec i_and_or(ivec x, ivec y, ivec z) { return _mm512_ternarylogic_epi32(x, y, z, 0xEA); }
INLINE int i_first(ivec x) { return _mm_cvtsi128_si32(_mm512_castsi512_si128(x)); }

/* Lanes of 32 bits. */
INLINE ivec w_all(int32_t x) { return _mm512_set1_epi32(x); }
INLINE ivec w_add(ivec x, ivec y) { return _mm512_add_epi32(x, y); }
INLINE ivec w_max(ivec x, ivec y) { return _mm512_max_epi32(x, y); }
INLINE ivec w_min(ivec x, ivec y) { return _mm512_min_epi32(x, y); }
INLINE ivec w_max_unsigned(ivec x, ivec y) { return _mm512_max_epu32(x, y); }
INLINE ivec w_left(ivec x, int n) { return _mm512_slli_epi32(x, (unsigned)n); }
INLINE ivec w_right(ivec x, int n) { return _mm512_srli_epi32(x, (unsigned)n); }
INLINE ivec w_right_by(ivec x, ivec n) { return _mm512_srlv_epi32(x, n); }
INLINE mask32 w_above(ivec x, ivec y) { return _mm512_cmpgt_epi32_mask(x, y); }
INLINE ivec w_set(ivec x, mask32 m, ivec y) { return _mm512_mask_mov_epi32(x, m, y); }
INLINE int w_any(mask32 a, mask32 b, mask32 c, mask32 d) { return (a | b | c | d) != 0; }

/* Lanes of 16 bits. */
INLINE ivec h_all(int x) { return _mm512_set1_epi16((int16_t)x); }
INLINE ivec h_max(ivec x, ivec y) { return _mm512_max_epu16(x, y); }
INLINE ivec h_min(ivec x, ivec y) { return _mm512_min_epu16(x, y); }
INLINE ivec h_less(ivec x, ivec y) { return _mm512_subs_epu16(x, y); }
INLINE ivec h_left(ivec x, int n) { return _mm512_slli_epi16(x, (unsigned)n); }
INLINE ivec h_right(ivec x, int n) { return _mm512_srli_epi16(x, (unsigned)n); }
/* x << (n - SHIFT_FROM) for n from SHIFT_FROM to 6, and for n = 0 less than it would be for 1. */
enum { SHIFT_FROM = 0 };
INLINE ivec h_shift(ivec x, ivec n) { return _mm512_sllv_epi16(x, n); }
/* x / 512 to nearest, ties to even. */
INLINE ivec h_round9(ivec x) {
    __mmask32 odd = _mm512_test_epi16_mask(x, h_all(1 << 9));
    ivec half = _mm512_add_epi16(x, h_all(255));
    return h_right(_mm512_mask_add_epi16(half, odd, x, h_all(256)), 9);
}
INLINE mask16 h_above(ivec x, ivec y) { return _mm512_cmpgt_epi16_mask(x, y); }
INLINE ivec h_set(ivec x, mask16 m, ivec y) { return _mm512_mask_mov_epi16(x, m, y); }
INLINE int h_any(mask16 a, mask16 b) { return (a | b) != 0; }
INLINE ivec h_right_signed(ivec x, int n) { return _mm512_srai_epi16(x, (unsigned)n); }
/* The lower halves of lanes of 32 bits: x's, y's, x's, y's, ... */
INLINE ivec h_pairs(ivec x, ivec y) { return _mm512_mask_mov_epi16(x, 0xAAAAAAAA, w_left(y, 16)); }
/* The upper halves in the same way. */
INLINE ivec h_upper_pairs(ivec x, ivec y) { return _mm512_mask_mov_epi16(w_right(x, 16), 0xAAAAAAAA, y); }

/* Two vectors to one with lanes of half the width, saturated, its parts of 64 or 32 bits in order after i_order. */
INLINE ivec w_pack(ivec x, ivec y) { return _mm512_packus_epi32(x, y); }
INLINE ivec w_pack_signed(ivec x, ivec y) { return _mm512_packs_epi32(x, y); }
INLINE ivec h_pack(ivec x, ivec y) { return _mm512_packus_epi16(x, y); }
INLINE ivec h_pack_signed(ivec x, ivec y) { return _mm512_packs_epi16(x, y); }
INLINE ivec i_order2(ivec x) { return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), x); }
INLINE ivec i_order4(ivec x) {
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), x);
}

/* The largest lane of 32, of 16 bits, without signs. There is an instruction for the least of eight. */
INLINE uint32_t w_greatest(ivec x) { return _mm512_reduce_max_epu32(x); }
INLINE uint32_t h_greatest(ivec x) {
    __m256i h = _mm256_max_epu16(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
    __m128i q = _mm_max_epu16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    return ~(uint32_t)_mm_cvtsi128_si32(_mm_minpos_epu16(_mm_xor_si128(q, _mm_set1_epi32(-1)))) & 0xFFFF;
}
INLINE int b_any_equal(ivec x, ivec y) { return _mm512_cmpeq_epi8_mask(x, y) != 0; }

/* The lanes of two vectors with even numbers, with odd ones. */
INLINE vec f_evens(vec x, vec y) {
    ivec even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(x, even, y);
}
INLINE vec f_odds(vec x, vec y) {
    ivec odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(x, odd, y);
}

/* Halves in memory and in registers. */
INLINE vec f_of_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
INLINE vec f_of_bf16(const void *p) {
    return _mm512_castsi512_ps(w_left(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
INLINE vec f_low(ivec f16) { return _mm512_cvtph_ps(_mm512_castsi512_si256(f16)); }
INLINE vec f_high(ivec f16) { return _mm512_cvtph_ps(_mm512_extracti64x4_epi64(f16, 1)); }
INLINE ivec h_joined(__m256i x, __m256i y) { return _mm512_inserti64x4(_mm512_castsi256_si512(x), y, 1); }
INLINE ivec h_f16(vec x, vec y) {
    return h_joined(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT), _mm512_cvtps_ph(y, _MM_FROUND_TO_NEAREST_INT));
}
/* The upper halves of lanes of 32 bits. */
INLINE ivec h_upper(ivec x, ivec y) {
    return h_joined(_mm512_cvtepi32_epi16(w_right(x, 16)), _mm512_cvtepi32_epi16(w_right(y, 16)));
}
/* Bytes in memory to lanes of 16 bits. */
INLINE ivec h_of_signed(const void *p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256(p)); }
INLINE ivec h_of_unsigned(const void *p) { return _mm512_cvtepu8_epi16(_mm256_loadu_si256(p)); }

#endif
