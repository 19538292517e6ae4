/*
 * BF16 dot products on registers alone: the peak that no BF16 GEMM on these cores can exceed. Two pipes of up to six
 * cycles latency need twelve chains; twenty leave room.
 */
#include <immintrin.h>

#include "octet.h"

enum { CHAINS = 20 };

/* Runs a loop of 20 chains; returns something that depends on all of them. */
OCTET_EXPORT int64_t octet_benchmarks_dot_avx512bf16(int64_t steps) {
    __m512i factor = _mm512_set1_epi32(0x3F803F80); /* two ones */
    __m512 c[CHAINS];
#pragma GCC unroll 20
    for (int i = 0; i < CHAINS; i++) {
        c[i] = _mm512_set1_ps((float)i);
    }
    for (int64_t s = 0; s < steps; s++) {
        __asm__ volatile("" : "+v"(factor)); /* the compiler can't know it, and so not sum up the loop */
#pragma GCC unroll 20
        for (int i = 0; i < CHAINS; i++) {
            c[i] = _mm512_dpbf16_ps(c[i], (__m512bh)factor, (__m512bh)factor);
        }
    }
    __m512 sum = c[0];
    for (int i = 1; i < CHAINS; i++) {
        sum = _mm512_add_ps(sum, c[i]);
    }
    return (int64_t)_mm512_reduce_add_ps(sum);
}
