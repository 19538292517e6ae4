/* What quantisers and casts are made of, with AVX2 and F16C: 32 bytes, 8 lanes, masks as wide as the lanes. */
#ifndef OCTET_FP8_LANES_AVX2_H
#define OCTET_FP8_LANES_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define SUFFIX avx2

typedef __m256 vec;
typedef __m256i ivec;
/* A yes or no for each lane of 32, of 16 bits. */
typedef __m256i mask32;
typedef __m256i mask16;

enum { BYTES = 32, HALVES = 16, LANES = 8 };

INLINE vec f_load(const void *p) { return _mm256_loadu_ps(p); }
INLINE void f_store(void *p, vec x) { _mm256_storeu_ps(p, x); }
INLINE vec f_all(float x) { return _mm256_set1_ps(x); }
INLINE vec f_add(vec x, vec y) { return _mm256_add_ps(x, y); }
INLINE vec f_mul(vec x, vec y) { return _mm256_mul_ps(x, y); }
INLINE vec f_div(vec x, vec y) { return _mm256_div_ps(x, y); }
/* The larger one, and the second one if either is a NaN. */
INLINE vec f_max(vec x, vec y) { return _mm256_max_ps(x, y); }
INLINE vec f_of_bits(ivec x) { return _mm256_castsi256_ps(x); }
INLINE ivec f_bits(vec x) { return _mm256_castps_si256(x); }
/* x where it is not less than a limit, else y. */
INLINE vec f_unless_below(vec x, float limit, vec y) {
    return _mm256_blendv_ps(x, y, _mm256_cmp_ps(x, f_all(limit), _CMP_LT_OQ));
}
INLINE int f_all_positive(vec x) {
    return _mm256_movemask_ps(_mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ)) == 0xFF;
}

INLINE ivec i_load(const void *p) { return _mm256_loadu_si256(p); }
INLINE void i_store(void *p, ivec x) { _mm256_storeu_si256(p, x); }
INLINE void i_stream(void *p, ivec x) { _mm256_stream_si256(p, x); }
INLINE ivec i_zero(void) { return _mm256_setzero_si256(); }
INLINE ivec i_and(ivec x, ivec y) { return _mm256_and_si256(x, y); }
/* x & y | z */
INLINE ivec i_and_or(ivec x, ivec y, ivec z) { return _mm256_or_si256(_mm256_and_si256(x, y), z); }
INLINE int i_first(ivec x) { return _mm256_cvtsi256_si32(x); }

/* Lanes of 32 bits. */
INLINE ivec w_all(int32_t x) { return _mm256_set1_epi32(x); }
INLINE ivec w_add(ivec x, ivec y) { return _mm256_add_epi32(x, y); }
INLINE ivec w_max(ivec x, ivec y) { return _mm256_max_epi32(x, y); }
INLINE ivec w_min(ivec x, ivec y) { return _mm256_min_epi32(x, y); }
INLINE ivec w_max_unsigned(ivec x, ivec y) { return _mm256_max_epu32(x, y); }
INLINE ivec w_left(ivec x, int n) { return _mm256_slli_epi32(x, n); }
INLINE ivec w_right(ivec x, int n) { return _mm256_srli_epi32(x, n); }
INLINE ivec w_right_by(ivec x, ivec n) { return _mm256_srlv_epi32(x, n); }
INLINE mask32 w_above(ivec x, ivec y) { return _mm256_cmpgt_epi32(x, y); }
INLINE ivec w_set(ivec x, mask32 m, ivec y) { return _mm256_blendv_epi8(x, y, m); }
INLINE int w_any(mask32 a, mask32 b, mask32 c, mask32 d) {
    return _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d))) != 0;
}

/* Lanes of 16 bits. */
INLINE ivec h_all(int x) { return _mm256_set1_epi16((int16_t)x); }
INLINE ivec h_max(ivec x, ivec y) { return _mm256_max_epu16(x, y); }
INLINE ivec h_min(ivec x, ivec y) { return _mm256_min_epu16(x, y); }
INLINE ivec h_less(ivec x, ivec y) { return _mm256_subs_epu16(x, y); }
INLINE ivec h_left(ivec x, int n) { return _mm256_slli_epi16(x, n); }
INLINE ivec h_right(ivec x, int n) { return _mm256_srli_epi16(x, n); }
/*
 * x << (n - SHIFT_FROM) for n from SHIFT_FROM to 6, and for n = 0 less than it would be for 1. No lane of 16 bits has a
 * shift of its own: a product with a power from a table of bytes, whose entry 0 is also the upper bytes'.
 */
enum { SHIFT_FROM = 1 };
INLINE ivec h_shift(ivec x, ivec n) {
    ivec powers = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 8, 16, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    return _mm256_mullo_epi16(x, _mm256_shuffle_epi8(powers, n));
}
/* x / 512 to nearest, ties to even. */
INLINE ivec h_round9(ivec x) {
    ivec odd = i_and(h_right(x, 9), h_all(1));
    return h_right(_mm256_add_epi16(_mm256_add_epi16(x, h_all(255)), odd), 9);
}
INLINE mask16 h_above(ivec x, ivec y) { return _mm256_cmpgt_epi16(x, y); }
INLINE ivec h_set(ivec x, mask16 m, ivec y) { return _mm256_blendv_epi8(x, y, m); }
INLINE int h_any(mask16 a, mask16 b) { return _mm256_movemask_epi8(_mm256_or_si256(a, b)) != 0; }
INLINE ivec h_right_signed(ivec x, int n) { return _mm256_srai_epi16(x, n); }
/* The lower halves of lanes of 32 bits: x's, y's, x's, y's, ... */
INLINE ivec h_pairs(ivec x, ivec y) { return _mm256_blend_epi16(x, w_left(y, 16), 0xAA); }
/* The upper halves in the same way. */
INLINE ivec h_upper_pairs(ivec x, ivec y) { return _mm256_blend_epi16(w_right(x, 16), y, 0xAA); }

/* Two vectors to one with lanes of half the width, saturated, its parts of 64 or 32 bits in order after i_order. */
INLINE ivec w_pack(ivec x, ivec y) { return _mm256_packus_epi32(x, y); }
INLINE ivec w_pack_signed(ivec x, ivec y) { return _mm256_packs_epi32(x, y); }
INLINE ivec h_pack(ivec x, ivec y) { return _mm256_packus_epi16(x, y); }
INLINE ivec h_pack_signed(ivec x, ivec y) { return _mm256_packs_epi16(x, y); }
INLINE ivec i_order2(ivec x) { return _mm256_permute4x64_epi64(x, 0xD8); }
INLINE ivec i_order4(ivec x) { return _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)); }

/* The largest lane of 32, of 16 bits, without signs. There is an instruction for the least of eight. */
INLINE uint32_t w_greatest(ivec x) {
    __m128i q = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    q = _mm_max_epu32(q, _mm_shuffle_epi32(q, 0x4E));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(q, _mm_shuffle_epi32(q, 0xB1)));
}
INLINE uint32_t h_greatest(ivec x) {
    __m128i q = _mm_max_epu16(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    return ~(uint32_t)_mm_cvtsi128_si32(_mm_minpos_epu16(_mm_xor_si128(q, _mm_set1_epi32(-1)))) & 0xFFFF;
}
INLINE int b_any_equal(ivec x, ivec y) { return _mm256_movemask_epi8(_mm256_cmpeq_epi8(x, y)) != 0; }

/* The lanes of two vectors with even numbers, with odd ones. */
INLINE vec f_evens(vec x, vec y) {
    return _mm256_castsi256_ps(i_order2(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0x88))));
}
INLINE vec f_odds(vec x, vec y) {
    return _mm256_castsi256_ps(i_order2(_mm256_castps_si256(_mm256_shuffle_ps(x, y, 0xDD))));
}

/* Halves in memory and in registers. */
INLINE vec f_of_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
INLINE vec f_of_bf16(const void *p) {
    return _mm256_castsi256_ps(w_left(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
INLINE vec f_low(ivec f16) { return _mm256_cvtph_ps(_mm256_castsi256_si128(f16)); }
INLINE vec f_high(ivec f16) { return _mm256_cvtph_ps(_mm256_extracti128_si256(f16, 1)); }
INLINE ivec h_f16(vec x, vec y) {
    __m128i low = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT);
    return _mm256_set_m128i(_mm256_cvtps_ph(y, _MM_FROUND_TO_NEAREST_INT), low);
}
/* The upper halves of lanes of 32 bits. */
INLINE ivec h_upper(ivec x, ivec y) { return i_order2(w_pack(w_right(x, 16), w_right(y, 16))); }
/* Bytes in memory to lanes of 16 bits. */
INLINE ivec h_of_signed(const void *p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128(p)); }
INLINE ivec h_of_unsigned(const void *p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128(p)); }

#endif
