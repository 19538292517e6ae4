/* What gemm.h needs of AVX-512, whatever the units are. */
#ifndef OCTET_FP8_AVX512_H
#define OCTET_FP8_AVX512_H

#include <immintrin.h>
#include <stdint.h>

static inline __m512 zero(void) {
    return _mm512_setzero_ps();
}

static inline __m512 set1(float x) {
    return _mm512_set1_ps(x);
}

static inline __m512 load(const float *x) {
    return _mm512_loadu_ps(x);
}

static inline void store(float *to, __m512 x) {
    _mm512_storeu_ps(to, x);
}

static inline __m512 mul(__m512 a, __m512 b) {
    return _mm512_mul_ps(a, b);
}

static inline __m512 madd(__m512 a, __m512 b, __m512 c) {
    return _mm512_fmadd_ps(a, b, c);
}

static inline __m512i uload(const uint32_t *x) {
    return _mm512_loadu_si512(x);
}

static inline void ustore(uint32_t *to, __m512i x) {
    _mm512_storeu_si512(to, x);
}

static inline __m512i uset1(const uint32_t *x) {
    return _mm512_set1_epi32((int32_t)*x);
}

/* Adds the lanes, halves first. */
static inline float total(__m512 x) {
    __m256 h = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    q = _mm_add_ss(q, _mm_movehdup_ps(q));
    return _mm_cvtss_f32(q);
}

/* A 16 x 16 matrix of 32-bit elements, in place: pairs, fours, then 128-bit parts in two steps. */
static inline __attribute__((always_inline)) void transpose(__m512i *r) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xDD);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xDD);
    }
}

/* 16 bytes of each of four rows. */
static inline __attribute__((always_inline)) __m512i every_fourth_row(const uint8_t *x, int64_t stride) {
    __m512i r = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)x));
    r = _mm512_mask_broadcast_i32x4(r, 0x00F0, _mm_loadu_si128((const __m128i *)(x + stride)));
    r = _mm512_mask_broadcast_i32x4(r, 0x0F00, _mm_loadu_si128((const __m128i *)(x + 2 * stride)));
    return _mm512_mask_broadcast_i32x4(r, 0xF000, _mm_loadu_si128((const __m128i *)(x + 3 * stride)));
}

#endif
