/* Elements to FP32 and to codes, 16 at a time: what quantisers and casts share. */
#ifndef OCTET_FP8_ROUND_AVX512_H
#define OCTET_FP8_ROUND_AVX512_H

#include <immintrin.h>

#include "fp8.h"

/* The numbers of dev.octet.fp8.cpu's FloatFormat, which says why this rounds. */
struct rounding {
    __m512i min_normal; /* bits of the smallest normal value */
    __m512i exponent;
    __m512i magic;
    __m512i shift; /* a vector, for a shift by one count for all takes two steps more */
    float max;
    uint8_t nan;
};

static inline struct rounding rounding_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    int shift = e4m3 ? 20 : 21;
    uint32_t min_normal = fp8_bits_of(e4m3 ? 0x1p-6f : 0x1p-14f);
    struct rounding r = {_mm512_set1_epi32((int32_t)min_normal), _mm512_set1_epi32(0x7F800000),
                         _mm512_set1_epi32((int32_t)(((uint32_t)shift << 23) + (-(min_normal >> shift) & 0xFF))),
                         _mm512_set1_epi32(shift), e4m3 ? 448.f : 57344.f, e4m3 ? 0x7F : 0x7E};
    return r;
}

/* Magnitudes that round to no code beyond the format's; a code in the low byte of each lane. */
static inline __m512i round_magnitude(__m512i a, const struct rounding *r) {
    __m512i e = _mm512_and_si512(_mm512_max_epi32(a, r->min_normal), r->exponent);
    __m512 t = _mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(_mm512_add_epi32(e, r->magic)));
    return _mm512_add_epi32(_mm512_castps_si512(t), _mm512_srlv_epi32(e, r->shift));
}

/* Signs of 64 bytes and magnitudes of as many codes, in the order that two packings of 128-bit parts leave them in. */
static inline __m512i with_signs(__m512i signs, __m512i codes) {
    return _mm512_ternarylogic_epi32(signs, codes, _mm512_set1_epi8((char)0x80), 0xE4); /* sign ? signs : code */
}

/* Codes in two times 32 lanes of 16 bits, whose upper bytes are 0; the signs are those of x. */
static inline __m512i pack_halves(const __m512i *c, const __m512i *x) {
    __m512i all = with_signs(_mm512_packs_epi16(x[0], x[1]), _mm512_packus_epi16(c[0], c[1]));
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), all);
}

/* The low bytes of four times 16 lanes; the signs are those of x. Saturation keeps signs. */
static inline __m512i pack_words(const __m512i *c, const __m512i *x) {
    __m512i low = _mm512_set1_epi32(0xFF);
    __m512i codes = _mm512_packus_epi16(
            _mm512_packus_epi32(_mm512_and_si512(c[0], low), _mm512_and_si512(c[1], low)),
            _mm512_packus_epi32(_mm512_and_si512(c[2], low), _mm512_and_si512(c[3], low)));
    __m512i signs = _mm512_packs_epi16(_mm512_packs_epi32(x[0], x[1]), _mm512_packs_epi32(x[2], x[3]));
    return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                                    with_signs(signs, codes));
}

static inline int64_t element_bytes(int64_t type) {
    return type == FP8_F32 ? 4 : 2;
}

/* 16 elements as FP32, exactly. */
static inline __m512 load16(const void *x, int64_t type, int64_t i) {
    if (type == FP8_F32) {
        return _mm512_loadu_ps((const fp8_float *)x + i);
    }
    __m256i half = _mm256_loadu_si256((const __m256i *)((const fp8_half *)x + i));
    if (type == FP8_F16) {
        return _mm512_cvtph_ps(half);
    }
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

static inline float element(const void *x, int64_t type, int64_t i) {
    if (type == FP8_F32) {
        return ((const fp8_float *)x)[i];
    }
    uint16_t half = ((const fp8_half *)x)[i];
    return type == FP8_F16 ? _cvtsh_ss(half) : fp8_bits((uint32_t)half << 16);
}

#endif
