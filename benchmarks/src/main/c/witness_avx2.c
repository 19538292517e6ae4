/* What a witness runs, see witness_avx512.c, with vectors of half the size. */
#include <immintrin.h>

#include "octet.h"

enum { CHAINS = 12 };

/* Runs a loop of 12 chains of 8 values; returns something that depends on all of them. */
OCTET_EXPORT int64_t octet_benchmarks_fma_avx2(int64_t steps) {
    __m256 factor = _mm256_set1_ps(0.999f);
    __m256 addend = _mm256_set1_ps(1e-3f);
    __m256 c[CHAINS];
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        c[i] = _mm256_set1_ps((float)i);
    }
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            c[i] = _mm256_fmadd_ps(c[i], factor, addend);
        }
    }
    __m256 sum = c[0];
    for (int i = 1; i < CHAINS; i++) {
        sum = _mm256_add_ps(sum, c[i]);
    }
    float lanes[8];
    _mm256_storeu_ps(lanes, sum);
    return (int64_t)(lanes[0] + lanes[1] + lanes[2] + lanes[3] + lanes[4] + lanes[5] + lanes[6] + lanes[7]);
}

/* The sum of a multiple of 128 bytes at an address that is a multiple of 32. */
OCTET_EXPORT int64_t octet_benchmarks_read_avx2(int64_t from, int64_t bytes) {
    const char *p = (const char *)from;
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (int64_t i = 0; i < bytes; i += 128) {
        a = _mm256_add_epi64(a, _mm256_load_si256((const void *)(p + i)));
        b = _mm256_add_epi64(b, _mm256_load_si256((const void *)(p + i + 32)));
        c = _mm256_add_epi64(c, _mm256_load_si256((const void *)(p + i + 64)));
        d = _mm256_add_epi64(d, _mm256_load_si256((const void *)(p + i + 96)));
    }
    int64_t lanes[4];
    _mm256_storeu_si256((__m256i *)lanes, _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}
