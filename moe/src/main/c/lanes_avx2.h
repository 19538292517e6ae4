/* Vectors of AVX2; see kernels.h. */
#include <immintrin.h>

typedef __m256 vec;

enum { LANES = 8 };

INLINE vec zero(void) {
    return _mm256_setzero_ps();
}

INLINE vec all(float x) {
    return _mm256_set1_ps(x);
}

INLINE vec multiply_add(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}

INLINE vec times(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}

INLINE vec load(const void *p) {
    return _mm256_loadu_ps(p);
}

INLINE void store(void *p, vec x, int past_cache) {
    if (past_cache) {
        _mm256_stream_ps(p, x);
    } else {
        _mm256_storeu_ps(p, x);
    }
}

INLINE vec load_halves(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}

INLINE vec load_even(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(p), 16));
}

INLINE vec load_odd(const void *p) {
    __m256i mask = _mm256_set1_epi32((int32_t)0xFFFF0000);
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(p), mask));
}

/* BF16 in the upper halves; what is below them is left over. */
INLINE __m256i rounded(vec x) {
    __m256i bits = _mm256_castps_si256(x);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i y = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
    __m256i sign = _mm256_and_si256(bits, _mm256_set1_epi32((int32_t)0x80000000));
    __m256i nan = _mm256_or_si256(sign, _mm256_set1_epi32(0x7FC00000));
    return _mm256_blendv_epi8(y, nan, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)));
}

INLINE void store_halves(void *p, vec a, vec b, int past_cache) {
    __m256i x = _mm256_packus_epi32(_mm256_srli_epi32(rounded(a), 16), _mm256_srli_epi32(rounded(b), 16));
    store(p, _mm256_castsi256_ps(_mm256_permute4x64_epi64(x, 0xD8)), past_cache);
}

INLINE void store_pairs(void *p, vec even, vec odd, int past_cache) {
    __m256i low = _mm256_srli_epi32(rounded(even), 16);
    store(p, _mm256_castsi256_ps(_mm256_blend_epi16(low, rounded(odd), 0xAA)), past_cache);
}

INLINE void fence(void) {
    _mm_sfence();
}
