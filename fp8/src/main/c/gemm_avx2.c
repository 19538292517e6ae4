/*
 * GEMM with AVX2 and FMA, in FP32; codes are decoded as in gemm_avx512.c. 16 registers hold 12 sums, 2 vectors of A and
 * a value of B.
 */
#include <immintrin.h>

#include "avx2.h"
#include "fp8.h"

#define SUFFIX avx2
#define L 8
#define U 1
#define STEP 8
#define V 2
#define C 6
#define RUN 48
#define FETCH_PANELS
typedef __m256 vec;
typedef __m256i uvec;

struct format {
    __m256i mask;
    __m256i last_finite; /* the largest magnitude that is neither a NaN nor an infinity */
    __m256 power;
    int shift;
};

static inline struct format format_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    struct format f = {_mm256_set1_epi32((int32_t)(e4m3 ? 0x87F00000 : 0x8FE00000)),
                       _mm256_set1_epi32(e4m3 ? 0x07E00000 : 0x0F600000),
                       _mm256_set1_ps(e4m3 ? 0x1p120f : 0x1p112f), e4m3 ? 20 : 21};
    return f;
}

static inline __attribute__((always_inline)) void decode(const uint8_t *codes, uvec *out, struct format f) {
    __m256i x = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)codes));
    x = _mm256_and_si256(_mm256_sll_epi32(x, _mm_cvtsi32_si128(f.shift)), f.mask);
    __m256i special = _mm256_cmpgt_epi32(_mm256_and_si256(x, _mm256_set1_epi32(0x7FFFFFFF)), f.last_finite);
    __m256i y = _mm256_castps_si256(_mm256_mul_ps(_mm256_castsi256_ps(x), f.power));
    __m256i z = _mm256_or_si256(x, _mm256_set1_epi32(0x7F800000));
    out[0] = _mm256_blendv_epi8(y, z, special);
}

#define decode_shuffled decode

static inline vec dot(vec sum, uvec a, uvec b) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), sum);
}

#include "gemm.h"
