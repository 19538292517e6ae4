/* What attend.h is made of, with AVX2 and FMA: vectors of 8 lanes and 16 registers. */
#include <immintrin.h>
#include <string.h>

#include "mla.h"

#define INLINE static inline __attribute__((always_inline))

typedef __m256 vec;

enum {
    LANES = 8,
    KEYS = 6,            /* of a tile of scores with two vectors of rows, and twice as many with one */
    STRIPE_VECTORS = 2,  /* of a tile of sums */
    PANEL = 2 * LANES,
    CHUNK = 96,          /* most keys at a time */
    BLOCK = 128,         /* dimensions that have a scale of their own, and whose products are added up first */
    MAX_DIMS = 576
};

INLINE vec v_load(const float *p) { return _mm256_load_ps(p); }
INLINE vec v_loadu(const void *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vec x) { _mm256_store_ps(p, x); }
INLINE void v_storeu(void *p, vec x) { _mm256_storeu_ps(p, x); }
INLINE vec v_all(float x) { return _mm256_set1_ps(x); }
INLINE vec v_add(vec x, vec y) { return _mm256_add_ps(x, y); }
INLINE vec v_sub(vec x, vec y) { return _mm256_sub_ps(x, y); }
INLINE vec v_mul(vec x, vec y) { return _mm256_mul_ps(x, y); }
INLINE vec v_div(vec x, vec y) { return _mm256_div_ps(x, y); }
INLINE vec v_fma(vec x, vec y, vec z) { return _mm256_fmadd_ps(x, y, z); }
/** The larger one, and the second one if the first is a NaN. */
INLINE vec v_max(vec x, vec y) { return _mm256_max_ps(x, y); }
/** x, but 0 where y is below a limit. */
INLINE vec v_unless_below(vec x, vec y, float limit) {
    return _mm256_and_ps(x, _mm256_cmp_ps(y, v_all(limit), _CMP_NLT_UQ));
}
/** x, but z where y is -Infinity. */
INLINE vec v_if_none(vec x, vec y, vec z) {
    return _mm256_blendv_ps(x, z, _mm256_cmp_ps(y, v_all(-__builtin_inff()), _CMP_EQ_OQ));
}
/** The lowest bits of each lane become its exponent. */
INLINE vec v_exponent(vec x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 23)); }
INLINE int v_any_nan(vec x) { return _mm256_movemask_ps(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)) != 0; }
/** x in lanes that see a key, else -Infinity. */
INLINE vec v_mask(vec x, const int32_t *first, const int32_t *end, int32_t key) {
    __m256i k = _mm256_set1_epi32(key);
    __m256i seen = _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_load_si256((const __m256i *)first), k),
            _mm256_cmpgt_epi32(_mm256_load_si256((const __m256i *)end), k));
    return _mm256_blendv_ps(v_all(-__builtin_inff()), x, _mm256_castsi256_ps(seen));
}
/** As many BF16 numbers as there are lanes. */
INLINE vec v_widen(const void *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}
/** The other way, rounded to nearest, a NaN to a quiet one of its sign. */
INLINE void v_narrow(void *p, vec v) {
    __m256i bits = _mm256_castps_si256(v), top = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_srli_epi32(
            _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    __m256i nan = _mm256_or_si256(_mm256_and_si256(top, _mm256_set1_epi32(0x8000)), _mm256_set1_epi32(0x7fc0));
    __m256i x = _mm256_blendv_epi8(rounded, nan, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    x = _mm256_permute4x64_epi64(_mm256_packus_epi32(x, x), 0x08);
    _mm_storeu_si128(p, _mm256_castsi256_si128(x));
}
/** As many codes of E4M3 as there are lanes, by a scale. */
INLINE vec v_decode(const uint8_t *p, vec scale) {
    __m256i c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    __m256i m = _mm256_and_si256(c, _mm256_set1_epi32(0x7f));
    __m256i bits = _mm256_or_si256(_mm256_slli_epi32(m, 20),
            _mm256_slli_epi32(_mm256_and_si256(c, _mm256_set1_epi32(0x80)), 24));
    vec x = v_mul(_mm256_castsi256_ps(bits), v_all(0x1p120f));
    __m256i nan = _mm256_cmpeq_epi32(m, _mm256_set1_epi32(0x7f));
    return v_mul(_mm256_blendv_ps(x, v_all(__builtin_nanf("")), _mm256_castsi256_ps(nan)), scale);
}
/** Rows of as many units as there are lanes become columns. */
INLINE void v_transpose(vec x[LANES]) {
    vec y[8], z[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        y[2 * i] = _mm256_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm256_unpackhi_ps(x[2 * i], x[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        z[i] = _mm256_shuffle_ps(y[i], y[i + 2], 0x44);
        z[i + 1] = _mm256_shuffle_ps(y[i], y[i + 2], 0xee);
        z[i + 2] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0x44);
        z[i + 3] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2f128_ps(z[i], z[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(z[i], z[i + 4], 0x31);
    }
}
/** Of numbers of BF16, as many as there are lanes in pairs, the first ones of all pairs; and the second ones. */
INLINE vec v_even(vec x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 16)); }
INLINE vec v_odd(vec x) {
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32((int32_t)0xffff0000)));
}
/** Neighbours become pairs of even and odd ones: x of numbers 0, 2 and so on, y of 1, 3 and so on. */
INLINE void v_unzip(vec *x, vec *y) {
    vec a = _mm256_permute2f128_ps(*x, *y, 0x20), b = _mm256_permute2f128_ps(*x, *y, 0x31);
    *x = _mm256_shuffle_ps(a, b, 0x88);
    *y = _mm256_shuffle_ps(a, b, 0xdd);
}
/** The reverse. */
INLINE void v_zip(vec *x, vec *y) {
    vec a = _mm256_unpacklo_ps(*x, *y), b = _mm256_unpackhi_ps(*x, *y);
    *x = _mm256_permute2f128_ps(a, b, 0x20);
    *y = _mm256_permute2f128_ps(a, b, 0x31);
}
/** Half of the way to sums of lanes, of x and y side by side. */
INLINE vec v_add_halves(vec x, vec y, int step) {
    switch (step) {
        case 0:
            return v_add(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
        case 1:
            return v_add(_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
        default:
            return v_add(_mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(x), _mm256_castps_pd(y))),
                    _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(x), _mm256_castps_pd(y))));
    }
}
enum { HALVINGS = 3 };
