/*
 * What a witness runs: multiply-adds on registers alone, and a sum over memory. The loops are those of FmaProbe and
 * ReadProbe.
 */
#include <immintrin.h>

#include "octet.h"

enum { CHAINS = 12 };

/* Runs a loop of 12 chains of 16 values; returns something that depends on all of them. */
OCTET_EXPORT int64_t octet_benchmarks_fma_avx512(int64_t steps) {
    __m512 factor = _mm512_set1_ps(0.999f);
    __m512 addend = _mm512_set1_ps(1e-3f);
    __m512 c[CHAINS];
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
        c[i] = _mm512_set1_ps((float)i);
    }
    for (int64_t s = 0; s < steps; s++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            c[i] = _mm512_fmadd_ps(c[i], factor, addend);
        }
    }
    __m512 sum = c[0];
    for (int i = 1; i < CHAINS; i++) {
        sum = _mm512_add_ps(sum, c[i]);
    }
    return (int64_t)_mm512_reduce_add_ps(sum);
}

/* The sum of a multiple of 256 bytes at an address that is a multiple of 64. */
OCTET_EXPORT int64_t octet_benchmarks_read_avx512(int64_t from, int64_t bytes) {
    const char *p = (const char *)from;
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (int64_t i = 0; i < bytes; i += 256) {
        a = _mm512_add_epi64(a, _mm512_load_si512((const void *)(p + i)));
        b = _mm512_add_epi64(b, _mm512_load_si512((const void *)(p + i + 64)));
        c = _mm512_add_epi64(c, _mm512_load_si512((const void *)(p + i + 128)));
        d = _mm512_add_epi64(d, _mm512_load_si512((const void *)(p + i + 192)));
    }
    return _mm512_reduce_add_epi64(_mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d)));
}
