/* What gemm.h needs of AVX2 and FMA. */
#ifndef OCTET_FP8_AVX2_H
#define OCTET_FP8_AVX2_H

#include <immintrin.h>
#include <stdint.h>

static inline __m256 zero(void) {
    return _mm256_setzero_ps();
}

static inline __m256 set1(float x) {
    return _mm256_set1_ps(x);
}

static inline __m256 load(const float *x) {
    return _mm256_loadu_ps(x);
}

static inline void store(float *to, __m256 x) {
    _mm256_storeu_ps(to, x);
}

static inline __m256 mul(__m256 a, __m256 b) {
    return _mm256_mul_ps(a, b);
}

static inline __m256 madd(__m256 a, __m256 b, __m256 c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline __m256i uload(const uint32_t *x) {
    return _mm256_loadu_si256((const __m256i *)x);
}

static inline void ustore(uint32_t *to, __m256i x) {
    _mm256_storeu_si256((__m256i *)to, x);
}

static inline __m256i uset1(const uint32_t *x) {
    return _mm256_set1_epi32((int32_t)*x);
}

/* Adds the lanes, halves first. */
static inline float total(__m256 x) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    q = _mm_add_ss(q, _mm_movehdup_ps(q));
    return _mm_cvtss_f32(q);
}

/* An 8 x 8 matrix of 32-bit elements, in place. */
static inline __attribute__((always_inline)) void transpose(__m256i *r) {
    __m256i t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++) {
        r[i] = t[i];
    }
}

#endif
