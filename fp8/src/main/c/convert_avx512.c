/*
 * Dequantisation and casts with AVX-512. Codes become halves, which hold both formats exactly (E4M3 less a factor of
 * 256), halves become FP32, and one product with the scale is rounded once: all bits are those of the other backends.
 * NaN codes of E4M3 and scales that are not finite or very large go a slow way, 64 elements at a time. What is written is
 * up to four times what is read: of a large matrix it goes past the caches, which saves reading its lines first.
 */
#include <string.h>

#include "round_avx512.h"

#define INLINE static inline __attribute__((always_inline))

enum { STEP = 64, CHUNK = 1024, ROWS_AHEAD = 8 };

/* A scale from here on, times 256, may be infinite. */
static const float LARGE = 0x1p119f;

static float value_of(uint8_t code, int64_t format) {
    if (format == FP8_E5M2) {
        return _cvtsh_ss((uint16_t)(code << 8));
    }
    if ((code & 0x7F) == 0x7F) {
        return fp8_bits((uint32_t)(code & 0x80) << 24 | 0x7FC00000);
    }
    return fp8_bits((uint32_t)(code & 0x80) << 24 | (uint32_t)(code & 0x7F) << 20) * 0x1p120f;
}

static void store1(void *y, int64_t type, int64_t i, float x) {
    if (type == FP8_F32) {
        ((fp8_float *)y)[i] = x;
    } else if (type == FP8_F16) {
        ((fp8_half *)y)[i] = _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
    } else {
        uint32_t bits = fp8_bits_of(x);
        ((fp8_half *)y)[i] = (uint16_t)(x != x ? bits >> 16 | 0x40 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}

static __attribute__((noinline)) void decode_slowly(const uint8_t *codes, const float *scales, int by_columns,
                                                    int64_t format, void *y, int64_t type, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        store1(y, type, i, value_of(codes[i], format) * scales[by_columns ? i : 0]);
    }
}

INLINE void store512(void *to, __m512i x, int past_cache) {
    if (past_cache) {
        _mm512_stream_si512(to, x);
    } else {
        _mm512_storeu_si512(to, x);
    }
}

/* BF16 in the upper halves of the lanes; no NaN has low bits here. */
INLINE __m512i to_bf16(__m512 x) {
    __m512i bits = _mm512_castps_si512(x);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
}

/* 32 products, two vectors of FP32, to the place of the 32. */
INLINE void store32(char *to, __m512 a, __m512 b, int64_t type, int past_cache) {
    if (type == FP8_F32) {
        store512(to, _mm512_castps_si512(a), past_cache);
        store512(to + 64, _mm512_castps_si512(b), past_cache);
        return;
    }
    __m256i low, high;
    if (type == FP8_BF16) {
        low = _mm512_cvtepi32_epi16(_mm512_srli_epi32(to_bf16(a), 16));
        high = _mm512_cvtepi32_epi16(_mm512_srli_epi32(to_bf16(b), 16));
    } else {
        low = _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT);
        high = _mm512_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT);
    }
    store512(to, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1), past_cache);
}

/* 64 codes; scales are one, or 64, for E4M3 multiplied by 256 already. */
INLINE void decode64(const uint8_t *codes, const float *scales, int by_columns, int64_t format, char *y, int64_t type,
                     int past_cache) {
    __m512 s = _mm512_set1_ps(scales[0]);
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
        __m256i c = _mm256_loadu_si256((const __m256i *)(codes + 32 * j));
        __m512i h;
        if (format == FP8_E4M3) {
            h = _mm512_slli_epi16(_mm512_cvtepi8_epi16(c), 7);
            h = _mm512_and_si512(h, _mm512_set1_epi16((int16_t)0xBF80));
        } else {
            h = _mm512_slli_epi16(_mm512_cvtepu8_epi16(c), 8);
        }
        __m512 s0 = by_columns ? _mm512_loadu_ps(scales + 32 * j) : s;
        __m512 s1 = by_columns ? _mm512_loadu_ps(scales + 32 * j + 16) : s;
        __m512 a = _mm512_mul_ps(_mm512_cvtph_ps(_mm512_castsi512_si256(h)), s0);
        __m512 b = _mm512_mul_ps(_mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1)), s1);
        store32(y + 32 * j * element_bytes(type), a, b, type, past_cache);
    }
}

INLINE int has_nan(const uint8_t *codes, int64_t format) {
    if (format != FP8_E4M3) {
        return 0;
    }
    __m512i c = _mm512_and_si512(_mm512_loadu_si512(codes), _mm512_set1_epi8(0x7F));
    return _mm512_cmpeq_epi8_mask(c, _mm512_set1_epi8(0x7F)) != 0;
}

/*
 * A row's part that one scale belongs to, or as many scales as codes. What is not a multiple of 64 goes through a copy,
 * so that nothing beside it is touched.
 */
INLINE void decode_part(const uint8_t *codes, const float *scales, const float *folded, int by_columns, int slow,
                        int64_t format, char *y, int64_t type, int past_cache, int64_t n) {
    for (int64_t i = 0; i < n; i += STEP) {
        const float *f = by_columns ? folded + i : folded;
        const uint8_t *from = codes + i;
        char *to = y + i * element_bytes(type);
        int64_t m = fp8_least(STEP, n - i);
        uint8_t copy[STEP];
        if (m < STEP) {
            memset(copy, 0, sizeof copy);
            memcpy(copy, from, (size_t)m);
            from = copy;
        }
        if (slow || has_nan(from, format)) {
            decode_slowly(from, by_columns ? scales + i : scales, by_columns, format, to, type, m);
        } else if (m < STEP) {
            char out[4 * STEP];
            decode64(from, f, by_columns, format, out, type, 0);
            memcpy(to, out, (size_t)(m * element_bytes(type)));
        } else {
            decode64(from, f, by_columns, format, to, type, past_cache);
        }
    }
}

static inline float scale_at(const struct fp8_convert *c, int64_t i, int64_t j) {
    int64_t at = i * c->scale_row + j * c->scale_block;
    return c->e8m0 ? fp8_exponent(((const uint8_t *)c->scales)[at]) : ((const fp8_float *)c->scales)[at];
}

static inline int is_large(float s) {
    return !(__builtin_fabsf(s) < LARGE);
}

INLINE void decode(const struct fp8_convert *c, int64_t row, int64_t rows, int64_t column, int64_t columns,
                   int64_t format, int64_t type) {
    float fold = format == FP8_E4M3 ? 256 : 1;
    int64_t size = element_bytes(type);
    if (c->group_columns != 1) {
        int64_t width = c->group_columns == FP8_ALL ? columns : FP8_BLOCK;
        int is_short = columns <= CHUNK && rows > 1; /* the hardware fetches nothing ahead */
        for (int64_t i = row; i < row + rows; i++) {
            int64_t scale_row = c->group_rows == FP8_ALL ? 0 : i / c->group_rows;
            for (int64_t j = column; j < column + columns && is_short; j += 64) {
                __builtin_prefetch(c->codes + (i + ROWS_AHEAD) * c->code_row + j);
            }
            for (int64_t j = column; j < column + columns; j += width) {
                float s = scale_at(c, scale_row, c->group_columns == FP8_ALL ? 0 : j / FP8_BLOCK);
                float f = s * fold;
                decode_part(c->codes + i * c->code_row + j, &s, &f, 0, is_large(s), format,
                            (char *)c->floats + (i * c->float_row + j) * size, type, (int)c->past_cache,
                            fp8_least(width, column + columns - j));
            }
        }
        return;
    }
    float scales[CHUNK], folded[CHUNK];
    for (int64_t j = column; j < column + columns; j += CHUNK) {
        int64_t n = fp8_least(CHUNK, column + columns - j), last = -1;
        int slow = 0;
        for (int64_t i = row; i < row + rows; i++) {
            if (i / c->group_rows != last) {
                last = i / c->group_rows;
                slow = 0;
                for (int64_t k = 0; k < n; k++) {
                    scales[k] = scale_at(c, last, j + k);
                    folded[k] = scales[k] * fold;
                    slow |= is_large(scales[k]);
                }
                for (int64_t k = n; k < CHUNK && k % STEP != 0; k++) {
                    folded[k] = 1;
                }
            }
            decode_part(c->codes + i * c->code_row + j, scales, folded, 1, slow, format,
                        (char *)c->floats + (i * c->float_row + j) * size, type, (int)c->past_cache, n);
        }
    }
}

/* Rows and columns from some on; columns begin a block of 128. */
OCTET_EXPORT void octet_fp8_dequantize_avx512(const struct fp8_convert *c, int64_t row, int64_t rows, int64_t column,
                                              int64_t columns) {
    switch (c->format << 2 | c->type) {
        case FP8_E4M3 << 2 | FP8_F32: decode(c, row, rows, column, columns, FP8_E4M3, FP8_F32); break;
        case FP8_E4M3 << 2 | FP8_BF16: decode(c, row, rows, column, columns, FP8_E4M3, FP8_BF16); break;
        case FP8_E4M3 << 2 | FP8_F16: decode(c, row, rows, column, columns, FP8_E4M3, FP8_F16); break;
        case FP8_E5M2 << 2 | FP8_F32: decode(c, row, rows, column, columns, FP8_E5M2, FP8_F32); break;
        case FP8_E5M2 << 2 | FP8_BF16: decode(c, row, rows, column, columns, FP8_E5M2, FP8_BF16); break;
        default: decode(c, row, rows, column, columns, FP8_E5M2, FP8_F16); break;
    }
    if (c->past_cache) {
        _mm_sfence();
    }
}

/*
 * Magnitudes in BF16 to codes, 32 at a time and without FP32. y is the code with nine bits behind the point, of which
 * the least code that is not 0 needs eight: its seven bits of significand, and one for what rounds to 0. So y is exact,
 * the larger of two functions that agree at the least normal value: the exponent and the significand as they are, less
 * the exponent below the least normal one; and the significand with its leading one, shifted by the exponent.
 */
INLINE __m512i halves_to_codes(__m512i a, int64_t format) {
    int e4m3 = format == FP8_E4M3, up = e4m3 ? 5 : 4, below = e4m3 ? 120 : 112;
    __m512i normal = _mm512_slli_epi16(_mm512_subs_epu16(a, _mm512_set1_epi16((int16_t)(below << 7))), up);
    __m512i e = _mm512_subs_epu16(_mm512_srli_epi16(a, 7), _mm512_set1_epi16((int16_t)(below + 1 - up)));
    __m512i m = _mm512_ternarylogic_epi32(a, _mm512_set1_epi16(0x7F), _mm512_set1_epi16(0x80), 0xEA); /* a & b | c */
    __m512i y = _mm512_max_epu16(normal, _mm512_sllv_epi16(m, _mm512_min_epu16(e, _mm512_set1_epi16((int16_t)up))));
    __mmask32 odd = _mm512_test_epi16_mask(y, _mm512_set1_epi16(1 << 9));
    __m512i half = _mm512_add_epi16(y, _mm512_set1_epi16(255));
    return _mm512_srli_epi16(_mm512_mask_add_epi16(half, odd, y, _mm512_set1_epi16(256)), 9); /* ties to even */
}

/* 64 elements of any value to codes. Clamp: the largest value, or what would be the value of the first code after it. */
INLINE __m512i encode64(const void *x, int64_t type, int64_t format, const struct rounding *r, float clamp) {
    __m512i v[4], c[4];
    if (type == FP8_BF16) {
        __mmask32 nans[2];
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            v[j] = _mm512_loadu_si512((const fp8_half *)x + 32 * j);
            __m512i a = _mm512_and_si512(v[j], _mm512_set1_epi16(0x7FFF));
            nans[j] = _mm512_cmpgt_epi16_mask(a, _mm512_set1_epi16(0x7F80));
            c[j] = halves_to_codes(_mm512_min_epu16(a, _mm512_set1_epi16((int16_t)(fp8_bits_of(clamp) >> 16))), format);
        }
        if (__builtin_expect(nans[0] | nans[1], 0)) {
            for (int j = 0; j < 2; j++) {
                c[j] = _mm512_mask_mov_epi16(c[j], nans[j], _mm512_set1_epi16(r->nan));
            }
        }
        return pack_halves(c, v);
    }
    __mmask16 nans[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        v[j] = _mm512_castps_si512(load16(x, type, 16 * j));
        __m512i a = _mm512_and_si512(v[j], _mm512_set1_epi32(0x7FFFFFFF));
        nans[j] = _mm512_cmpgt_epi32_mask(a, _mm512_set1_epi32(0x7F800000));
        c[j] = round_magnitude(_mm512_min_epi32(a, _mm512_set1_epi32((int32_t)fp8_bits_of(clamp))), r);
    }
    if (__builtin_expect(nans[0] | nans[1] | nans[2] | nans[3], 0)) {
        for (int j = 0; j < 4; j++) {
            c[j] = _mm512_mask_mov_epi32(c[j], nans[j], _mm512_set1_epi32(r->nan));
        }
    }
    return pack_words(c, v);
}

INLINE void encode(const struct fp8_convert *c, int64_t row, int64_t rows, int64_t column, int64_t columns,
                   int64_t format, int64_t type) {
    struct rounding r = rounding_of(format);
    float clamp = c->saturate ? r.max : format == FP8_E4M3 ? 480 : 65536;
    int64_t size = element_bytes(type);
    for (int64_t i = row; i < row + rows; i++) {
        const char *x = (const char *)c->floats + (i * c->float_row + column) * size;
        uint8_t *codes = c->codes + i * c->code_row + column;
        for (int64_t j = 0; j < columns; j += STEP) {
            int64_t n = fp8_least(STEP, columns - j);
            if (n == STEP) {
                store512(codes + j, encode64(x + j * size, type, format, &r, clamp), (int)c->past_cache);
            } else {
                char copy[4 * STEP] = {0};
                memcpy(copy, x + j * size, (size_t)(n * size));
                uint8_t out[STEP];
                _mm512_storeu_si512(out, encode64(copy, type, format, &r, clamp));
                memcpy(codes + j, out, (size_t)n);
            }
        }
    }
}

OCTET_EXPORT void octet_fp8_cast_avx512(const struct fp8_convert *c, int64_t row, int64_t rows, int64_t column,
                                        int64_t columns) {
    switch (c->format << 2 | c->type) {
        case FP8_E4M3 << 2 | FP8_BF16: encode(c, row, rows, column, columns, FP8_E4M3, FP8_BF16); break;
        case FP8_E5M2 << 2 | FP8_BF16: encode(c, row, rows, column, columns, FP8_E5M2, FP8_BF16); break;
        case FP8_E4M3 << 2 | FP8_F32:
        case FP8_E5M2 << 2 | FP8_F32: encode(c, row, rows, column, columns, c->format, FP8_F32); break;
        default: encode(c, row, rows, column, columns, c->format, FP8_F16); break;
    }
    if (c->past_cache) {
        _mm_sfence();
    }
}
