/*
 * Dequantisation and casts, for AVX2 and for AVX-512: lanes_SET.h comes first. Codes become halves, which hold both
 * formats exactly (E4M3 less a factor of 256), halves become FP32, and one product with the scale is rounded once: all
 * bits are those of the other backends. NaN codes of E4M3 and scales that are not finite or very large go a slow way,
 * BYTES elements at a time. What is written is up to four times what is read: of a large matrix it goes past the
 * caches, which saves reading its lines first.
 */
#include "round.h"


enum { STEP = BYTES, CHUNK = 1024, ROWS_AHEAD = 8 };

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

INLINE void store(void *to, ivec x, int past_cache) {
    if (past_cache) {
        i_stream(to, x);
    } else {
        i_store(to, x);
    }
}

/* BF16 in the upper halves of the lanes; no NaN has low bits here. */
INLINE ivec to_bf16(vec x) {
    ivec bits = f_bits(x);
    ivec odd = i_and(w_right(bits, 16), w_all(1));
    return w_add(w_add(bits, w_all(0x7FFF)), odd);
}

/* HALVES products to their place. */
INLINE void store_products(char *to, vec a, vec b, int64_t type, int past_cache) {
    if (type == FP8_F32) {
        store(to, f_bits(a), past_cache);
        store(to + BYTES, f_bits(b), past_cache);
    } else {
        store(to, type == FP8_BF16 ? h_upper(to_bf16(a), to_bf16(b)) : h_f16(a, b), past_cache);
    }
}

/* STEP codes to BF16 with one scale: even and odd codes apart, which are pairs again without a shuffle. */
INLINE void decode_pairs(const uint8_t *codes, vec s, int64_t format, char *y, int past_cache) {
    ivec c = i_load(codes), even = h_left(c, 8), odd = i_and(c, h_all(0xFF00));
    if (format == FP8_E4M3) {
        even = i_and(h_right_signed(even, 1), h_all(0xBF80));
        odd = i_and(h_right_signed(c, 1), h_all(0xBF80));
    }
    vec e = f_mul(f_low(even), s), o = f_mul(f_low(odd), s);
    store(y, h_upper_pairs(to_bf16(e), to_bf16(o)), past_cache);
    e = f_mul(f_high(even), s);
    o = f_mul(f_high(odd), s);
    store(y + BYTES, h_upper_pairs(to_bf16(e), to_bf16(o)), past_cache);
}

/* STEP codes; scales are one, or as many, for E4M3 multiplied by 256 already. */
INLINE void decode_step(const uint8_t *codes, const float *scales, int by_columns, int64_t format, char *y,
                        int64_t type, int past_cache) {
    vec s = f_all(scales[0]);
    if (type == FP8_BF16 && !by_columns) {
        decode_pairs(codes, s, format, y, past_cache);
        return;
    }
#pragma GCC unroll 2
    for (int i = 0; i < STEP; i += HALVES) {
        ivec h = format == FP8_E4M3 ? i_and(h_left(h_of_signed(codes + i), 7), h_all(0xBF80))
                                    : h_left(h_of_unsigned(codes + i), 8);
        vec a = f_mul(f_low(h), by_columns ? f_load(scales + i) : s);
        vec b = f_mul(f_high(h), by_columns ? f_load(scales + i + LANES) : s);
        store_products(y + i * element_bytes(type), a, b, type, past_cache);
    }
}

INLINE int has_nan(const uint8_t *codes, int64_t format) {
    if (format != FP8_E4M3) {
        return 0;
    }
    ivec all = w_all(0x7F7F7F7F);
    return b_any_equal(i_and(i_load(codes), all), all);
}

/*
 * A row's part that one scale belongs to, or as many scales as codes. What is not a multiple of STEP goes through a
 * copy, so that nothing beside it is touched.
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
            copy_padded((char *)copy, sizeof copy, from, m);
            from = copy;
        }
        if (slow || has_nan(from, format)) {
            decode_slowly(from, by_columns ? scales + i : scales, by_columns, format, to, type, m);
        } else if (m < STEP) {
            char out[4 * STEP];
            decode_step(from, f, by_columns, format, out, type, 0);
            memcpy(to, out, (size_t)(m * element_bytes(type)));
        } else {
            decode_step(from, f, by_columns, format, to, type, past_cache);
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
OCTET_EXPORT void NAME(dequantize)(const struct fp8_convert *c, int64_t row, int64_t rows, int64_t column,
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
 * Magnitudes in BF16 to codes, HALVES at a time and without FP32. y is the code with nine bits behind the point, of
 * which the least code that is not 0 needs eight: its seven bits of significand, and one for what rounds to 0. So y is
 * exact, the larger of two functions that agree at the least normal value: the exponent and the significand as they
 * are, less the exponent below the least normal one; and the significand with its leading one, shifted by the exponent,
 * or whatever is less than 256 if that is so small that the code is 0.
 */
INLINE ivec halves_to_codes(ivec a, int64_t format) {
    int e4m3 = format == FP8_E4M3, up = e4m3 ? 5 : 4, below = e4m3 ? 120 : 112;
    ivec normal = h_left(h_less(a, h_all(below << 7)), up);
    ivec e = h_less(h_right(a, 7), h_all(below + 1 - up - SHIFT_FROM));
    ivec m = i_and_or(a, h_all(0x7F), h_all(0x80));
    return h_round9(h_max(normal, h_shift(m, h_min(e, h_all(up + SHIFT_FROM)))));
}

/* STEP elements of any value to codes. Clamp: the largest value, or what would be that of the first code after it. */
INLINE ivec encode_step(const void *x, int64_t type, int64_t format, const struct rounding *r, float clamp) {
    ivec v[4], c[4];
    if (type == FP8_BF16) {
        mask16 nans[2];
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            v[j] = i_load((const fp8_half *)x + HALVES * j);
            ivec a = i_and(v[j], h_all(0x7FFF));
            nans[j] = h_above(a, h_all(0x7F80));
            c[j] = halves_to_codes(h_min(a, h_all((int)(fp8_bits_of(clamp) >> 16))), format);
        }
        if (__builtin_expect(h_any(nans[0], nans[1]), 0)) {
            for (int j = 0; j < 2; j++) {
                c[j] = h_set(c[j], nans[j], h_all(r->nan));
            }
        }
        return pack_halves(c, v);
    }
    mask32 nans[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        v[j] = f_bits(load(x, type, LANES * j));
        ivec a = i_and(v[j], w_all(0x7FFFFFFF));
        nans[j] = w_above(a, w_all(0x7F800000));
        c[j] = round_magnitude(w_min(a, w_all((int32_t)fp8_bits_of(clamp))), r);
    }
    if (__builtin_expect(w_any(nans[0], nans[1], nans[2], nans[3]), 0)) {
        for (int j = 0; j < 4; j++) {
            c[j] = w_set(c[j], nans[j], w_all(r->nan));
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
                store(codes + j, encode_step(x + j * size, type, format, &r, clamp), (int)c->past_cache);
            } else {
                char copy[4 * STEP];
                uint8_t out[STEP];
                copy_padded(copy, sizeof copy, x + j * size, n * size);
                i_store(out, encode_step(copy, type, format, &r, clamp));
                memcpy(codes + j, out, (size_t)n);
            }
        }
    }
}

OCTET_EXPORT void NAME(cast)(const struct fp8_convert *c, int64_t row, int64_t rows, int64_t column,
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
