/* GEMM with AVX2 and FMA, in FP32. 16 registers hold 12 sums, 2 vectors of A and a value of B. */
#include <immintrin.h>

#include "avx2.h"
#include "fp8.h"

#define SUFFIX avx2
#define L 8
#define U 1
#define STEP 32
#define V 2
#define C 6
#define RUN 48
#define FETCH_PANELS
#define INLINE static inline __attribute__((always_inline))
typedef __m256 vec;
typedef __m256i uvec;

/*
 * A code's bits are moved to where FP32 has an exponent and a significand, which is 2^-120 of E4M3's value and 2^-112
 * of E5M2's, and a product makes good for it.
 */
struct format {
    __m256i mask;
    __m256i special; /* the bits that NaN and infinite codes have, and no others */
    __m256i largest; /* value with a code that is neither */
    __m256 power;
    __m128i shift; /* to the right, from the upper end of a lane */
};

static inline struct format format_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    struct format f = {_mm256_set1_epi32((int32_t)(e4m3 ? 0x87F00000 : 0x8FE00000)),
                       _mm256_set1_epi8(e4m3 ? 0x7F : 0x7C),
                       _mm256_castps_si256(_mm256_set1_ps(e4m3 ? 448 : 57344)),
                       _mm256_set1_ps(e4m3 ? 0x1p120f : 0x1p112f), _mm_cvtsi32_si128(e4m3 ? 4 : 3)};
    return f;
}

/* Finite values of codes in the upper bytes of lanes. */
INLINE uvec values(__m256i upper, struct format f) {
    __m256i x = _mm256_and_si256(_mm256_sra_epi32(upper, f.shift), f.mask);
    return _mm256_castps_si256(_mm256_mul_ps(_mm256_castsi256_ps(x), f.power));
}

/* 32 codes are four in each lane, which takes no shuffle. */
INLINE void finite_shuffled(__m256i codes, uvec *out, struct format f) {
    out[0] = values(codes, f);
    out[1] = values(_mm256_slli_epi32(codes, 8), f);
    out[2] = values(_mm256_slli_epi32(codes, 16), f);
    out[3] = values(_mm256_slli_epi32(codes, 24), f);
}

INLINE void finite_in_order(const uint8_t *codes, uvec *out, struct format f) {
    for (int i = 0; i < STEP; i += L) {
        __m256i c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(codes + i)));
        out[i / L] = values(_mm256_slli_epi32(c, 24), f);
    }
}

INLINE int has_special(__m256i codes, struct format f) {
    __m256i same = _mm256_cmpeq_epi8(_mm256_and_si256(codes, f.special), f.special);
    return __builtin_expect(_mm256_movemask_epi8(same), 0);
}

/* The same with NaN and infinite codes. Apart, or registers would be kept for it. */
static __attribute__((noinline)) void special(const uint8_t *codes, uvec *out, int shuffled, struct format f) {
    if (shuffled) {
        finite_shuffled(_mm256_loadu_si256((const __m256i *)codes), out, f);
    } else {
        finite_in_order(codes, out, f);
    }
    for (int i = 0; i < STEP / L; i++) {
        __m256i magnitude = _mm256_and_si256(out[i], _mm256_set1_epi32(0x7FFFFFFF));
        __m256i above = _mm256_cmpgt_epi32(magnitude, f.largest);
        out[i] = _mm256_or_si256(out[i], _mm256_and_si256(above, _mm256_set1_epi32(0x7F800000)));
    }
}

INLINE void decode(const uint8_t *codes, uvec *out, struct format f) {
    if (has_special(_mm256_loadu_si256((const __m256i *)codes), f)) {
        special(codes, out, 0, f);
    } else {
        finite_in_order(codes, out, f);
    }
}

INLINE void decode_shuffled(const uint8_t *codes, uvec *out, struct format f) {
    __m256i c = _mm256_loadu_si256((const __m256i *)codes);
    if (has_special(c, f)) {
        special(codes, out, 1, f);
    } else {
        finite_shuffled(c, out, f);
    }
}

static inline vec dot(vec sum, uvec a, uvec b) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), sum);
}

#include "gemm.h"
