/*
 * Quantisers, for AVX2 and for AVX-512: lanes_SET.h comes first. One pass over memory. The recipe is scale_of below and
 * the rounding of dev.octet.fp8.cpu's FloatFormat: all bits are those of the other backends. A group of 128 is read,
 * its largest magnitude found, and it is coded from L1; codes of a large matrix are written past the caches, which saves
 * reading their lines first.
 */
#include "round.h"

/* A function for each type of elements, but none within another: registers would not do. */
#define APART static __attribute__((noinline))

static uint8_t round1(float y, const struct rounding *r) {
    if (y != y) {
        return r->nan;
    }
    uint32_t bits = fp8_bits_of(y);
    ivec code = round_magnitude(w_all((int32_t)(bits & 0x7FFFFFFF)), r);
    return (uint8_t)((bits >> 24 & 0x80) | (i_first(code) & 0x7F));
}

/* Largest magnitudes of 128 elements, by lanes: of 16 bits for BF16 and F16, whose order is that of their bits. */
INLINE ivec maxima(const void *x, int64_t type, ivec max) {
    if (type != FP8_F32) {
        const fp8_half *p = x;
        for (int i = 0; i < FP8_BLOCK; i += HALVES) {
            max = h_max(max, i_and(i_load(p + i), h_all(0x7FFF)));
        }
    } else {
        const fp8_float *p = x;
        for (int i = 0; i < FP8_BLOCK; i += LANES) {
            max = w_max_unsigned(max, i_and(i_load(p + i), w_all(0x7FFFFFFF)));
        }
    }
    return max;
}

/* The bits of the largest as FP32; NaN comes after infinity after all else. */
static inline uint32_t largest(ivec max, int64_t type) {
    if (type == FP8_F32) {
        return w_greatest(max);
    }
    uint32_t m = h_greatest(max);
    return type == FP8_BF16 ? m << 16 : fp8_bits_of(_cvtsh_ss((uint16_t)m));
}

/* The scale of a group. */
static inline float scale_of(const struct fp8_quantize *q, const struct rounding *r, uint32_t max_bits) {
    float max = fp8_bits(max_bits);
    float s = (max <= 1e-4f ? 1e-4f : max) / r->max; /* NaN stays NaN */
    if (q->power_of_two && s < (float)__builtin_inff()) {
        uint32_t e = (fp8_bits_of(s) + 0x7FFFFF) >> 23;
        s = fp8_bits((e < 1 ? 1 : e > 254 ? 254 : e) << 23);
    }
    return s;
}

/* The scales of LANES groups. */
INLINE vec scales_of(const struct fp8_quantize *q, const struct rounding *r, ivec max_bits) {
    vec max = f_max(f_all(1e-4f), f_of_bits(max_bits)); /* NaN stays NaN */
    vec s = f_div(max, f_all(r->max));
    if (!q->power_of_two) {
        return s;
    }
    ivec e = w_right(w_add(f_bits(s), w_all(0x7FFFFF)), 23);
    e = w_max(w_min(e, w_all(254)), w_all(1));
    return f_unless_below(s, __builtin_inff(), f_of_bits(w_left(e, 23)));
}

static inline void store_scale(const struct fp8_quantize *q, float s, int64_t row, int64_t block) {
    int64_t at = row * q->scale_row + block * q->scale_block;
    if (q->e8m0) {
        ((uint8_t *)q->scales)[at] = (uint8_t)(s != s ? 0xFF : fp8_bits_of(s) >> 23);
    } else {
        ((fp8_float *)q->scales)[at] = s != s ? fp8_bits(0x7FC00000) : s;
    }
}

static inline void store_codes(uint8_t *codes, ivec all, int64_t past_cache) {
    if (past_cache) {
        i_stream(codes, all);
    } else {
        i_store(codes, all);
    }
}

/*
 * BYTES finite elements times factors that are positive. BF16 is taken as pairs in lanes of 32 bits, whose even and odd
 * elements have vectors of factors of their own, f[0] and f[1], then f[2] and f[3].
 */
INLINE ivec encode_vector(const void *x, int64_t type, const vec *f, const struct rounding *r) {
    ivec v[4], c[4];
    if (type == FP8_BF16) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            v[j] = i_load((const fp8_half *)x + HALVES * j);
            ivec a = i_and(v[j], h_all(0x7FFF));
            vec even = f_of_bits(w_left(a, 16));
            vec odd = f_of_bits(i_and(a, w_all((int32_t)0xFFFF0000)));
            ivec low = round_magnitude(f_bits(f_mul(even, f[2 * j])), r);
            ivec high = round_magnitude(f_bits(f_mul(odd, f[2 * j + 1])), r);
            c[j] = i_and(h_pairs(low, high), h_all(0x7F));
        }
        return pack_halves(c, v);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        v[j] = f_bits(f_mul(load(x, type, LANES * j), f[j]));
        c[j] = round_magnitude(i_and(v[j], w_all(0x7FFFFFFF)), r);
    }
    return pack_words(c, v);
}

/*
 * Fewer of them, with one factor or, in the order of encode_vector, with one each: through a copy, so that nothing
 * beside them is touched. Apart, to be in no loop's way.
 */
APART void encode_short(uint8_t *codes, const void *x, int64_t type, int64_t n, float factor, const float *factors,
                        const struct rounding *r) {
    char copy[4 * BYTES];
    uint8_t out[BYTES];
    vec f[4];
    for (int j = 0; j < 4; j++) {
        f[j] = factors ? f_load(factors + LANES * j) : f_all(factor);
    }
    copy_padded(copy, sizeof copy, x, n * element_bytes(type));
    i_store(out, type == FP8_BF16 ? encode_vector(copy, FP8_BF16, f, r) : encode_vector(copy, type, f, r));
    memcpy(codes, out, (size_t)n);
}

static inline const char *at(const struct fp8_quantize *q, int64_t row, int64_t column) {
    return (const char *)q->x + (row * q->x_row + column) * element_bytes(q->type);
}

static inline int64_t width(const struct fp8_quantize *q, int64_t column) {
    return q->columns - column < FP8_BLOCK ? q->columns - column : FP8_BLOCK;
}

/* Elements of a group with a NaN or an infinity. */
APART void encode_any(uint8_t *codes, const void *x, int64_t type, int64_t n, float factor, const struct rounding *r) {
    for (int64_t i = 0; i < n; i++) {
        codes[i] = round1(element(x, type, i) * factor, r);
    }
}

/* A group's part of a row. */
INLINE void encode(const struct fp8_quantize *q, const struct rounding *r, int64_t type, int64_t row, int64_t column,
                   float factor) {
    const char *x = at(q, row, column);
    uint8_t *codes = q->codes + row * q->code_row + column;
    int64_t n = width(q, column);
    if (__builtin_expect(n == FP8_BLOCK && factor > 0, 1)) {
        vec one = f_all(factor), f[4] = {one, one, one, one};
#pragma GCC unroll 4
        for (int i = 0; i < FP8_BLOCK; i += BYTES) {
            store_codes(codes + i, encode_vector(x + i * element_bytes(type), type, f, r), q->past_cache);
        }
    } else if (!(factor > 0)) {
        encode_any(codes, x, type, n, factor, r);
    } else {
        for (int64_t i = 0; i < n; i += BYTES) {
            encode_short(codes + i, x + i * element_bytes(type), type, fp8_least(BYTES, n - i), factor, 0, r);
        }
    }
}

APART ivec maxima_short(const void *x, int64_t type, int64_t n, ivec max) {
    char copy[4 * FP8_BLOCK];
    copy_padded(copy, sizeof copy, x, n * element_bytes(type));
    return maxima(copy, type, max);
}

/* Magnitudes of a group's part of a row, by lanes. */
INLINE ivec maxima_of(const struct fp8_quantize *q, int64_t type, int64_t row, int64_t column, ivec max) {
    int64_t n = width(q, column);
    const char *x = at(q, row, column);
    return __builtin_expect(n == FP8_BLOCK, 1) ? maxima(x, type, max) : maxima_short(x, type, n, max);
}

INLINE uint32_t largest_of(const struct fp8_quantize *q, int64_t type, int64_t row, int64_t column) {
    return largest(maxima_of(q, type, row, column, i_zero()), type);
}

/* 128 elements on their way to the cache: the hardware does not fetch ahead far enough, nor while codes are written. */
static inline void fetch(const char *x, int64_t type) {
    for (int64_t i = 0; i < FP8_BLOCK * element_bytes(type); i += 64) {
        __builtin_prefetch(x + i);
    }
}

/* The same for a column of blocks, row by row, while the one before it fills the first-level cache. */
static inline void fetch_next(const struct fp8_quantize *q, int64_t type, int64_t row, int64_t column) {
    const char *x = at(q, row, column + FP8_BLOCK);
    for (int64_t i = 0; i < FP8_BLOCK * element_bytes(type); i += 64) {
        __builtin_prefetch(x + i, 0, 2);
    }
}

/* Rows that share a scale in a block: 32 KB of BF16, which stay in the first-level cache for the second time. */
APART void square(const struct fp8_quantize *q, const struct rounding *r, int64_t type, int64_t row, int64_t rows,
                  int64_t block, int is_last) {
    int64_t column = block * FP8_BLOCK;
    ivec max = i_zero();
    for (int64_t i = row; i < row + rows; i++) {
        fetch(at(q, i + 1, column), type);
        max = maxima_of(q, type, i, column, max);
    }
    float s = scale_of(q, r, largest(max, type)), factor = 1 / s;
    store_scale(q, s, row / FP8_BLOCK, block);
    for (int64_t i = row; i < row + rows; i++) {
        if (!is_last) {
            fetch_next(q, type, i, column);
        }
        encode(q, r, type, i, column, factor);
    }
}

/*
 * Rows with scales of their own, at most LINE_ROWS, and at most LINE_BLOCKS blocks. Scales lie column by column, so
 * that those of a row are far from each other: they are kept until all rows are done, and each column's written then.
 * The way from a maximum to its factor is long, so that groups take it LANES at a time, of several rows if these are
 * short.
 */
enum { LINE_ROWS = 16, LINE_BLOCKS = 64 };

INLINE void lines(const struct fp8_quantize *q, const struct rounding *r, int64_t type, int64_t row, int64_t rows,
                  int64_t block, int64_t blocks) {
    float scales[LINE_ROWS * LINE_BLOCKS + LANES], factors[LINE_BLOCKS + LANES];
    uint32_t max[LINE_BLOCKS + LANES];
    int64_t at_once = LINE_BLOCKS / blocks;
    for (int64_t first = 0; first < rows; first += at_once) {
        int64_t n = fp8_least(at_once, rows - first);
        for (int64_t i = 0; i < n; i++) {
            for (int64_t b = 0; b < blocks; b++) {
                int64_t column = (block + b) * FP8_BLOCK;
                max[i * blocks + b] = largest_of(q, type, row + first + i, column);
            }
        }
        i_store(max + n * blocks, i_zero());
        for (int64_t g = 0; g < n * blocks; g += LANES) {
            vec s = scales_of(q, r, i_load(max + g));
            f_store(scales + first * blocks + g, s);
            f_store(factors + g, f_div(f_all(1), s));
        }
        for (int64_t i = 0; i < n; i++) {
            for (int64_t b = 0; b < blocks; b++) {
                fetch(at(q, row + first + n + i, (block + b) * FP8_BLOCK), type);
                encode(q, r, type, row + first + i, (block + b) * FP8_BLOCK, factors[i * blocks + b]);
            }
        }
    }
    for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < rows; i++) {
            store_scale(q, scales[i * blocks + b], row + i, block + b);
        }
    }
}

/* Whole rows that have a scale each; the second time a row comes from the cache. */
INLINE void whole_rows(const struct fp8_quantize *q, const struct rounding *r, int64_t type, int64_t row,
                       int64_t rows) {
    for (int64_t i = row; i < row + rows; i++) {
        ivec max = i_zero();
        for (int64_t j = 0; j < q->columns; j += FP8_BLOCK) {
            max = maxima_of(q, type, i, j, max);
        }
        float s = scale_of(q, r, largest(max, type));
        store_scale(q, s, i, 0);
        for (int64_t j = 0; j < q->columns; j += FP8_BLOCK) {
            fetch(at(q, i + 1, j), type);
            encode(q, r, type, i, j, 1 / s);
        }
    }
}

/* Rows of a block whose columns have a scale each. Maxima of BF16 and F16 are in 16 bits, as above. */
APART void columns(const struct fp8_quantize *q, const struct rounding *r, int64_t type, int64_t row, int64_t rows,
                   int64_t block, int is_last) {
    enum { VECTORS = 4 * FP8_BLOCK / BYTES };
    float scale[FP8_BLOCK], factor[FP8_BLOCK], in_order[FP8_BLOCK];
    ivec max[VECTORS];
    ivec mask = type == FP8_F32 ? w_all(0x7FFFFFFF) : h_all(0x7FFF);
    int64_t column = block * FP8_BLOCK, n = width(q, column), bytes = element_bytes(type);
    int64_t used = (n + BYTES - 1) / BYTES * BYTES; /* of factors, by vectors of codes */
    int vectors = (int)bytes * FP8_BLOCK / BYTES;
    for (int v = 0; v < vectors; v++) {
        max[v] = i_zero();
    }
    for (int64_t i = row; i < row + rows; i++) {
        const char *x = at(q, i, column);
        char copy[4 * FP8_BLOCK];
        if (n < FP8_BLOCK) {
            copy_padded(copy, sizeof copy, x, n * bytes);
            x = copy;
        } else {
            fetch(at(q, i + 1, column), type);
        }
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
            ivec a = i_and(i_load(x + BYTES * v), mask);
            max[v] = type == FP8_F32 ? w_max_unsigned(max[v], a) : h_max(max[v], a);
        }
    }
    int finite = 1;
    for (int64_t j = 0; j < used; j += LANES) {
        vec s = scales_of(q, r, f_bits(load(max, type, j)));
        vec f = f_div(f_all(1), s);
        f_store(scale + j, s);
        f_store(factor + j, f);
        finite &= f_all_positive(f);
    }
    for (int64_t j = 0; j < n; j++) {
        store_scale(q, scale[j], row / FP8_BLOCK, column + j);
    }
    for (int64_t j = 0; j < used; j += HALVES) {
        vec f = f_load(factor + j), g = f_load(factor + j + LANES);
        f_store(in_order + j, type == FP8_BF16 ? f_evens(f, g) : f);
        f_store(in_order + j + LANES, type == FP8_BF16 ? f_odds(f, g) : g);
    }
    for (int64_t i = row; i < row + rows; i++) {
        const char *x = at(q, i, column);
        uint8_t *codes = q->codes + i * q->code_row + column;
        if (!is_last) {
            fetch_next(q, type, i, column);
        }
        if (finite) {
#pragma GCC unroll 4
            for (int j = 0; j < FP8_BLOCK; j += BYTES) {
                if (__builtin_expect(n - j >= BYTES, 1)) {
                    const float *p = in_order + j;
                    vec f[4] = {f_load(p), f_load(p + LANES), f_load(p + 2 * LANES), f_load(p + 3 * LANES)};
                    store_codes(codes + j, encode_vector(x + j * bytes, type, f, r), q->past_cache);
                } else if (n > j) {
                    encode_short(codes + j, x + j * bytes, type, n - j, 0, in_order + j, r);
                }
            }
        } else {
            for (int64_t k = 0; k < n; k++) {
                codes[k] = round1(element(x, type, k) * factor[k], r);
            }
        }
    }
}

INLINE void quantize(const struct fp8_quantize *q, int64_t type, int64_t row, int64_t rows, int64_t block,
                     int64_t blocks) {
    struct rounding r = rounding_of(q->format);
    if (q->group_columns == FP8_ALL) {
        whole_rows(q, &r, type, row, rows);
    } else if (q->group_rows == 1) {
        for (int64_t i = row; i < row + rows; i += LINE_ROWS) {
            for (int64_t b = block; b < block + blocks; b += LINE_BLOCKS) {
                lines(q, &r, type, i, fp8_least(LINE_ROWS, row + rows - i), b,
                      fp8_least(LINE_BLOCKS, block + blocks - b));
            }
        }
    } else {
        for (int64_t i = row; i < row + rows; i += FP8_BLOCK) {
            int64_t n = fp8_least(FP8_BLOCK, row + rows - i);
            for (int64_t b = block; b < block + blocks; b++) {
                int is_last = b == block + blocks - 1;
                if (q->group_columns == 1) {
                    columns(q, &r, type, i, n, b, is_last);
                } else {
                    square(q, &r, type, i, n, b, is_last);
                }
            }
        }
    }
}

/*
 * Rows [row, row + rows), blocks [block, block + blocks) of columns; with 128x128 and 128x1 the rows begin a block of
 * scales; with a scale for each row there are all blocks.
 */
OCTET_EXPORT void NAME(quantize)(const struct fp8_quantize *q, int64_t row, int64_t rows, int64_t block,
                                 int64_t blocks) {
    switch (q->type) {
        case FP8_F32: quantize(q, FP8_F32, row, rows, block, blocks); break;
        case FP8_BF16: quantize(q, FP8_BF16, row, rows, block, blocks); break;
        default: quantize(q, FP8_F16, row, rows, block, blocks); break;
    }
    if (q->past_cache) {
        _mm_sfence();
    }
}

INLINE uint32_t amax(const struct fp8_quantize *q, int64_t type, int64_t row, int64_t rows, int64_t block,
                     int64_t blocks) {
    uint32_t max = 0;
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t b = block; b < block + blocks; b++) {
            uint32_t m = largest_of(q, type, i, b * FP8_BLOCK);
            max = m > max ? m : max;
        }
    }
    return max;
}

/* The bits of the largest magnitude of some blocks, as FP32; NaN after infinity after all else. */
OCTET_EXPORT void NAME(amax)(const struct fp8_quantize *q, int64_t row, int64_t rows, int64_t block,
                             int64_t blocks, uint32_t *result) {
    switch (q->type) {
        case FP8_F32: *result = amax(q, FP8_F32, row, rows, block, blocks); break;
        case FP8_BF16: *result = amax(q, FP8_BF16, row, rows, block, blocks); break;
        default: *result = amax(q, FP8_F16, row, rows, block, blocks); break;
    }
}

/* The scale of a whole matrix from its largest magnitude. */
OCTET_EXPORT void NAME(scale)(const struct fp8_quantize *q, int64_t max_bits) {
    struct rounding r = rounding_of(q->format);
    store_scale(q, scale_of(q, &r, (uint32_t)max_bits), 0, 0);
}

INLINE void encode_blocks(const struct fp8_quantize *q, int64_t type, int64_t row, int64_t rows, int64_t block,
                          int64_t blocks, int64_t max_bits) {
    struct rounding r = rounding_of(q->format);
    float factor = 1 / scale_of(q, &r, (uint32_t)max_bits);
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t b = block; b < block + blocks; b++) {
            encode(q, &r, type, i, b * FP8_BLOCK, factor);
        }
    }
}

/* Codes of some blocks of a matrix that has one scale. */
OCTET_EXPORT void NAME(encode)(const struct fp8_quantize *q, int64_t row, int64_t rows, int64_t block,
                               int64_t blocks, int64_t max_bits) {
    switch (q->type) {
        case FP8_F32: encode_blocks(q, FP8_F32, row, rows, block, blocks, max_bits); break;
        case FP8_BF16: encode_blocks(q, FP8_BF16, row, rows, block, blocks, max_bits); break;
        default: encode_blocks(q, FP8_F16, row, rows, block, blocks, max_bits); break;
    }
    if (q->past_cache) {
        _mm_sfence();
    }
}
