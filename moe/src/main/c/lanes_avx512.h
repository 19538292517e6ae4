/* Vectors of AVX-512; see kernels.h. */
#include <immintrin.h>

typedef __m512 vec;

enum { LANES = 16, TILE_TOKENS = 6, TILE_EXPERTS = 4, FEW_EXPERTS_OF_ONE = 8, FEW_EXPERTS_OF_TWO = 4 };

INLINE vec zero(void) {
    return _mm512_setzero_ps();
}

INLINE vec all(float x) {
    return _mm512_set1_ps(x);
}

INLINE vec multiply_add(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}

INLINE vec times(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}

INLINE vec load(const void *p) {
    return _mm512_loadu_ps(p);
}

INLINE void store(void *p, vec x, int past_cache) {
    if (past_cache) {
        _mm512_stream_ps(p, x);
    } else {
        _mm512_storeu_ps(p, x);
    }
}

INLINE vec load_halves(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}

INLINE vec load_even(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}

INLINE vec load_odd(const void *p) {
    __m512i mask = _mm512_set1_epi32((int32_t)0xFFFF0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), mask));
}

/* BF16 in the upper halves. */
INLINE __m512i rounded(vec x) {
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i y = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    __m512i sign = _mm512_and_si512(bits, _mm512_set1_epi32((int32_t)0x80000000));
    return _mm512_mask_or_epi32(y, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), sign, _mm512_set1_epi32(0x7FC00000));
}

INLINE void store_halves(void *p, vec a, vec b, int past_cache) {
    __m256i low = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(a), 16));
    __m256i high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded(b), 16));
    store(p, _mm512_castsi512_ps(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)), past_cache);
}

INLINE void store_pairs(void *p, vec even, vec odd, int past_cache) {
    __m512i low = _mm512_srli_epi32(rounded(even), 16);
    store(p, _mm512_castsi512_ps(_mm512_mask_mov_epi16(low, 0xAAAAAAAA, rounded(odd))), past_cache);
}

INLINE void fence(void) {
    _mm_sfence();
}
