/* What attend.h is made of, with AVX-512: vectors of 16 lanes and 32 registers. */
#include "avx512.h"

typedef __m512 vec;

enum {
    LANES = 16,
    KEYS = 12,           /* of a tile of scores with two vectors of rows, and twice as many with one */
    STRIPE_VECTORS = 4   /* of a tile of sums */
};

INLINE vec v_load(const float *p) { return _mm512_load_ps(p); }
INLINE vec v_loadu(const void *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vec x) { _mm512_store_ps(p, x); }
INLINE void v_storeu(void *p, vec x) { _mm512_storeu_ps(p, x); }
INLINE vec v_all(float x) { return _mm512_set1_ps(x); }
INLINE vec v_add(vec x, vec y) { return _mm512_add_ps(x, y); }
INLINE vec v_sub(vec x, vec y) { return _mm512_sub_ps(x, y); }
INLINE vec v_mul(vec x, vec y) { return _mm512_mul_ps(x, y); }
INLINE vec v_div(vec x, vec y) { return _mm512_div_ps(x, y); }
INLINE vec v_fma(vec x, vec y, vec z) { return _mm512_fmadd_ps(x, y, z); }
/** The larger one, and the second one if the first is a NaN. */
INLINE vec v_max(vec x, vec y) { return _mm512_max_ps(x, y); }
/** x, but 0 where y is below a limit. */
INLINE vec v_unless_below(vec x, vec y, float limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(y, v_all(limit), _CMP_NLT_UQ), x);
}
/** x, but z where y is -Infinity. */
INLINE vec v_if_none(vec x, vec y, vec z) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(y, v_all(-__builtin_inff()), _CMP_EQ_OQ), x, z);
}
/** The lowest bits of each lane become its exponent. */
INLINE vec v_exponent(vec x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 23)); }
INLINE int v_any_nan(vec x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q) != 0; }
/** x in lanes that see a key, else -Infinity. */
INLINE vec v_mask(vec x, const int32_t *first, const int32_t *end, int32_t key) {
    __m512i k = _mm512_set1_epi32(key);
    __mmask16 seen = _mm512_cmple_epi32_mask(_mm512_load_si512(first), k)
            & _mm512_cmpgt_epi32_mask(_mm512_load_si512(end), k);
    return _mm512_mask_blend_ps(seen, v_all(-__builtin_inff()), x);
}
/** As many BF16 numbers as there are lanes. */
INLINE vec v_widen(const void *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
/** The other way, rounded to nearest, a NaN to a quiet one of its sign. */
INLINE void v_narrow(void *p, vec v) {
    __m512i bits = _mm512_castps_si512(v), top = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
    __m512i rounded = _mm512_srli_epi32(
            _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    __m512i nan = _mm512_or_si512(_mm512_and_si512(top, _mm512_set1_epi32(0x8000)), _mm512_set1_epi32(0x7fc0));
    _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(
            _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), rounded, nan)));
}
/** As many codes of E4M3 as there are lanes, by a scale. */
INLINE vec v_decode(const uint8_t *p, vec scale) {
    __m512i c = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    __m512i m = _mm512_and_si512(c, _mm512_set1_epi32(0x7f));
    __m512i bits = _mm512_or_si512(_mm512_slli_epi32(m, 20),
            _mm512_slli_epi32(_mm512_and_si512(c, _mm512_set1_epi32(0x80)), 24));
    vec x = v_mul(_mm512_castsi512_ps(bits), v_all(0x1p120f));
    __mmask16 nan = _mm512_cmpeq_epi32_mask(m, _mm512_set1_epi32(0x7f));
    return v_mul(_mm512_mask_blend_ps(nan, x, v_all(__builtin_nanf(""))), scale);
}
/** Rows of as many units as there are lanes become columns. */
INLINE void v_transpose(vec x[LANES]) {
    transpose((__m512i *)(void *)x);
}
/** Of numbers of BF16, as many as there are lanes in pairs, the first ones of all pairs; and the second ones. */
INLINE vec v_even(vec x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x), 16)); }
INLINE vec v_odd(vec x) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32((int32_t)0xffff0000)));
}
/** Neighbours become pairs of even and odd ones: x of numbers 0, 2 and so on, y of 1, 3 and so on. */
INLINE void v_unzip(vec *x, vec *y) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    vec z = _mm512_permutex2var_ps(*x, even, *y);
    *y = _mm512_permutex2var_ps(*x, _mm512_add_epi32(even, _mm512_set1_epi32(1)), *y);
    *x = z;
}
/** The reverse. */
INLINE void v_zip(vec *x, vec *y) {
    const __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    vec z = _mm512_permutex2var_ps(*x, low, *y);
    *y = _mm512_permutex2var_ps(*x, _mm512_add_epi32(low, _mm512_set1_epi32(8)), *y);
    *x = z;
}
/** Half of the way to sums of lanes, of x and y side by side. */
INLINE vec v_add_halves(vec x, vec y, int step) {
    switch (step) {
        case 0:
            return v_add(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
        case 1:
            return v_add(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
        case 2:
            return v_add(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
        default:
            return v_add(_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(x), _mm512_castps_pd(y))),
                    _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(x), _mm512_castps_pd(y))));
    }
}
enum { HALVINGS = 4 };
