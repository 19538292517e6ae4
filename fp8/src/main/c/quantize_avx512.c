/*
 * Quantisers with AVX-512, one pass over memory. The recipe is SCALE below and the rounding of dev.octet.fp8.cpu's
 * FloatFormat: all bits are those of the other backends. A group of 128 is read, its largest magnitude found, and coded
 * from L1; codes of a large matrix are written past the caches, which saves reading their lines first.
 */
#include <string.h>

#include "round_avx512.h"

enum { MAX_BLOCKS = 16 }; /* of a task's rows that share scales */

static uint8_t round1(float y, const struct rounding *r) {
    if (y != y) {
        return r->nan;
    }
    return (uint8_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(round16(_mm512_set1_ps(y), r)));
}

/* Largest magnitudes of 128 elements, by lanes: of 16 bits for BF16 and F16, whose order is that of their bits. */
static inline __m512i maxima(const void *x, int64_t type, __m512i max) {
    if (type != FP8_F32) {
        const fp8_half *p = x;
        __m512i mask = _mm512_set1_epi16(0x7FFF);
        for (int i = 0; i < 128; i += 32) {
            max = _mm512_max_epu16(max, _mm512_and_si512(_mm512_loadu_si512(p + i), mask));
        }
    } else {
        const fp8_float *p = x;
        __m512i mask = _mm512_set1_epi32(0x7FFFFFFF);
        for (int i = 0; i < 128; i += 16) {
            max = _mm512_max_epu32(max, _mm512_and_si512(_mm512_loadu_si512(p + i), mask));
        }
    }
    return max;
}

/* The bits of the largest as FP32; NaN comes after infinity after all else. */
static inline uint32_t largest(__m512i max, int64_t type) {
    if (type == FP8_F32) {
        return _mm512_reduce_max_epu32(max);
    }
    __m512i even = _mm512_slli_epi32(max, 16); /* two in each lane */
    __m512i odd = _mm512_and_si512(max, _mm512_set1_epi32((int32_t)0xFFFF0000));
    uint32_t m = _mm512_reduce_max_epu32(_mm512_max_epu32(even, odd));
    return type == FP8_BF16 ? m : fp8_bits_of(_cvtsh_ss((uint16_t)(m >> 16)));
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

static inline void store_scale(const struct fp8_quantize *q, float s, int64_t row, int64_t block) {
    int64_t at = row * q->scale_row + block * q->scale_block;
    if (q->e8m0) {
        ((uint8_t *)q->scales)[at] = (uint8_t)(s != s ? 0xFF : fp8_bits_of(s) >> 23);
    } else {
        ((fp8_float *)q->scales)[at] = s != s ? fp8_bits(0x7FC00000) : s;
    }
}

static inline void store_codes(uint8_t *codes, __m512i all, int64_t past_cache) {
    if (past_cache) {
        _mm512_stream_si512((void *)codes, all);
    } else {
        _mm512_storeu_si512(codes, all);
    }
}

/* Codes 128 elements of a finite group. */
static inline void encode128(const void *x, int64_t type, float factor, const struct rounding *r, uint8_t *codes,
                             int64_t past_cache) {
    __m512 f = _mm512_set1_ps(factor);
#pragma GCC unroll 2
    for (int i = 0; i < 128; i += 64) {
        __m512i c[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            c[j] = round16(_mm512_mul_ps(load16(x, type, i + 16 * j), f), r);
        }
        store_codes(codes + i, pack64(c), past_cache);
    }
}

static inline const char *at(const struct fp8_quantize *q, int64_t row, int64_t column) {
    return (const char *)q->x + (row * q->x_row + column) * element_bytes(q->type);
}

/* Any part of a group, of any values; a factor that is not positive belongs to one with a NaN or an infinity. */
static void encode_any(const struct fp8_quantize *q, const struct rounding *r, int64_t row, int64_t column, int64_t n,
                       float factor) {
    const void *x = at(q, row, column);
    uint8_t *codes = q->codes + row * q->code_row + column;
    for (int64_t i = 0; i < n; i++) {
        codes[i] = round1(element(x, q->type, i) * factor, r);
    }
}

static uint32_t largest_any(const struct fp8_quantize *q, int64_t row, int64_t column, int64_t n) {
    const void *x = at(q, row, column);
    uint32_t max = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = fp8_bits_of(element(x, q->type, i)) & 0x7FFFFFFF;
        max = bits > max ? bits : max;
    }
    return max;
}

static inline int64_t width(const struct fp8_quantize *q, int64_t column) {
    return q->columns - column < FP8_BLOCK ? q->columns - column : FP8_BLOCK;
}

static inline void encode(const struct fp8_quantize *q, const struct rounding *r, int64_t row, int64_t column,
                          float factor) {
    int64_t n = width(q, column);
    if (n == FP8_BLOCK && factor > 0) {
        uint8_t *codes = q->codes + row * q->code_row + column;
        switch (q->type) {
            case FP8_BF16: encode128(at(q, row, column), FP8_BF16, factor, r, codes, q->past_cache); break;
            case FP8_F16: encode128(at(q, row, column), FP8_F16, factor, r, codes, q->past_cache); break;
            default: encode128(at(q, row, column), FP8_F32, factor, r, codes, q->past_cache); break;
        }
    } else {
        encode_any(q, r, row, column, n, factor);
    }
}

static inline uint32_t largest_of(const struct fp8_quantize *q, int64_t row, int64_t column) {
    int64_t n = width(q, column);
    if (n < FP8_BLOCK) {
        return largest_any(q, row, column, n);
    }
    if (q->type == FP8_F32) {
        return largest(maxima(at(q, row, column), FP8_F32, _mm512_setzero_si512()), FP8_F32);
    }
    return largest(maxima(at(q, row, column), FP8_BF16, _mm512_setzero_si512()), q->type);
}

/* 128 elements on their way to the cache. A short part of a row ends before the hardware fetches ahead by itself. */
static inline void fetch(const char *x, int64_t type) {
    for (int64_t i = 0; i < FP8_BLOCK * element_bytes(type); i += 64) {
        __builtin_prefetch(x + i);
    }
}

/* Rows that share scales, up to MAX_BLOCKS blocks. */
static void squares(const struct fp8_quantize *q, const struct rounding *r, int64_t row, int64_t rows, int64_t block,
                    int64_t blocks) {
    __m512i max[MAX_BLOCKS];
    uint32_t last = 0; /* of a block that the matrix's edge cuts off */
    for (int64_t b = 0; b < blocks; b++) {
        max[b] = _mm512_setzero_si512();
    }
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t b = 0; b < blocks; b++) {
            int64_t column = (block + b) * FP8_BLOCK;
            if (width(q, column) < FP8_BLOCK) {
                uint32_t m = largest_any(q, i, column, width(q, column));
                last = m > last ? m : last;
            } else {
                fetch(at(q, i + 1, column), q->type);
                max[b] = maxima(at(q, i, column), q->type, max[b]);
            }
        }
    }
    float factor[MAX_BLOCKS];
    for (int64_t b = 0; b < blocks; b++) {
        int cut = width(q, (block + b) * FP8_BLOCK) < FP8_BLOCK;
        float s = scale_of(q, r, cut ? last : largest(max[b], q->type));
        store_scale(q, s, row / FP8_BLOCK, block + b);
        factor[b] = 1 / s;
    }
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t b = 0; b < blocks; b++) {
            encode(q, r, i, (block + b) * FP8_BLOCK, factor[b]);
        }
    }
}

/*
 * Rows with scales of their own, at most LINE_ROWS, and at most LINE_BLOCKS blocks. Scales lie column by column, so that
 * those of a row are far from each other: they are kept until all rows are done, and each column's written at once.
 */
enum { LINE_ROWS = 16, LINE_BLOCKS = 64 };

static void lines(const struct fp8_quantize *q, const struct rounding *r, int64_t row, int64_t rows, int64_t block,
                  int64_t blocks) {
    float scales[LINE_BLOCKS][LINE_ROWS];
    int64_t step = 64 / element_bytes(q->type); /* elements of a cache line */
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t b = 0; b < blocks; b++) {
            int64_t column = (block + b) * FP8_BLOCK;
            const char *ahead = at(q, row + i, column + 8 * FP8_BLOCK);
            for (int64_t j = 0; j < FP8_BLOCK / step; j++) {
                __builtin_prefetch(ahead + 64 * j);
            }
            scales[b][i] = scale_of(q, r, largest_of(q, row + i, column));
        }
        /* Apart: the way from a maximum to its factor is long, and those of several groups overlap. */
        for (int64_t b = 0; b < blocks; b++) {
            encode(q, r, row + i, (block + b) * FP8_BLOCK, 1 / scales[b][i]);
        }
    }
    for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < rows; i++) {
            store_scale(q, scales[b][i], row + i, block + b);
        }
    }
}

/* Whole rows that have a scale each; the second time a row comes from the cache. */
static void whole_rows(const struct fp8_quantize *q, const struct rounding *r, int64_t row, int64_t rows) {
    for (int64_t i = row; i < row + rows; i++) {
        __m512i max = _mm512_setzero_si512();
        int64_t whole = q->columns / FP8_BLOCK * FP8_BLOCK;
        for (int64_t j = 0; j < whole; j += FP8_BLOCK) {
            max = maxima(at(q, i, j), q->type, max);
        }
        uint32_t m = largest(max, q->type), last = largest_any(q, i, whole, q->columns - whole);
        float s = scale_of(q, r, m > last ? m : last);
        store_scale(q, s, i, 0);
        for (int64_t j = 0; j < q->columns; j += FP8_BLOCK) {
            encode(q, r, i, j, 1 / s);
        }
    }
}

enum { COLUMNS = MAX_BLOCKS * FP8_BLOCK };

/* 64 columns of a row whose factors are all positive. */
static inline __attribute__((always_inline)) void encode_columns(const void *x, int64_t type, const float *factors,
                                                                 const struct rounding *r, uint8_t *codes,
                                                                 int64_t past_cache) {
    __m512i c[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        c[j] = round16(_mm512_mul_ps(load16(x, type, 16 * j), _mm512_loadu_ps(factors + 16 * j)), r);
    }
    store_codes(codes, pack64(c), past_cache);
}

static inline __attribute__((always_inline)) void raise(uint32_t *max, const void *x, int64_t type, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
        __m512i a = _mm512_and_si512(_mm512_castps_si512(load16(x, type, i)), _mm512_set1_epi32(0x7FFFFFFF));
        _mm512_storeu_si512(max + i, _mm512_max_epu32(_mm512_loadu_si512(max + i), a));
    }
}

/* The scales of 16 columns. */
static inline __m512 scales_of(const struct fp8_quantize *q, const struct rounding *r, __m512i max_bits) {
    __m512 max = _mm512_max_ps(_mm512_set1_ps(1e-4f), _mm512_castsi512_ps(max_bits)); /* NaN stays NaN */
    __m512 s = _mm512_div_ps(max, _mm512_set1_ps(r->max));
    if (!q->power_of_two) {
        return s;
    }
    __m512i e = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(s), _mm512_set1_epi32(0x7FFFFF)), 23);
    e = _mm512_max_epi32(_mm512_min_epi32(e, _mm512_set1_epi32(254)), _mm512_set1_epi32(1));
    __mmask16 finite = _mm512_cmp_ps_mask(s, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);
    return _mm512_mask_mov_ps(s, finite, _mm512_castsi512_ps(_mm512_slli_epi32(e, 23)));
}

/* Rows whose columns have a scale each, up to MAX_BLOCKS blocks of columns. */
static inline __attribute__((always_inline)) void columns(const struct fp8_quantize *q, const struct rounding *r,
                                                          int64_t type, int64_t row, int64_t rows, int64_t block,
                                                          int64_t blocks) {
    uint32_t max[COLUMNS];
    float scale[COLUMNS], factor[COLUMNS];
    int64_t column = block * FP8_BLOCK, n = fp8_least(blocks * FP8_BLOCK, q->columns - column);
    int64_t vectors = n & ~(int64_t)63;
    memset(max, 0, (size_t)((n + 63) & ~(int64_t)63) * sizeof max[0]);
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t j = 0; j < vectors; j += FP8_BLOCK) {
            fetch(at(q, i + 1, column + j), type);
            raise(max + j, at(q, i, column + j), type, fp8_least(FP8_BLOCK, vectors - j));
        }
        for (int64_t j = vectors; j < n; j++) {
            uint32_t bits = fp8_bits_of(element(at(q, i, column), type, j)) & 0x7FFFFFFF;
            max[j] = bits > max[j] ? bits : max[j];
        }
    }
    __mmask16 finite[COLUMNS / 16];
    for (int64_t j = 0; j < n; j += 16) {
        __m512 s = scales_of(q, r, _mm512_loadu_si512(max + j));
        __m512 f = _mm512_div_ps(_mm512_set1_ps(1), s);
        _mm512_storeu_ps(scale + j, s);
        _mm512_storeu_ps(factor + j, f);
        finite[j / 16] = _mm512_cmp_ps_mask(f, _mm512_setzero_ps(), _CMP_GT_OQ);
    }
    for (int64_t j = 0; j < n; j++) {
        store_scale(q, scale[j], row / FP8_BLOCK, column + j);
    }
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t j = 0; j < n; j += 64) {
            const void *x = at(q, i, column + j);
            uint8_t *codes = q->codes + i * q->code_row + column + j;
            const __mmask16 *f = finite + j / 16;
            if (j < vectors && (f[0] & f[1] & f[2] & f[3]) == 0xFFFF) {
                encode_columns(x, type, factor + j, r, codes, q->past_cache);
            } else {
                for (int64_t k = 0; k < fp8_least(64, n - j); k++) {
                    codes[k] = round1(element(x, type, k) * factor[j + k], r);
                }
            }
        }
    }
}

/*
 * Rows [row, row + rows), blocks [block, block + blocks) of columns; with 128x128 and 128x1 the rows begin a block of
 * scales and there are up to MAX_BLOCKS blocks; with a scale for each row there are all blocks.
 */
OCTET_EXPORT void octet_fp8_quantize_avx512(const struct fp8_quantize *q, int64_t row, int64_t rows, int64_t block,
                                            int64_t blocks) {
    struct rounding r = rounding_of(q->format);
    if (q->group_columns == FP8_ALL) {
        whole_rows(q, &r, row, rows);
    } else if (q->group_rows == 1) {
        for (int64_t i = row; i < row + rows; i += LINE_ROWS) {
            for (int64_t b = block; b < block + blocks; b += LINE_BLOCKS) {
                lines(q, &r, i, fp8_least(LINE_ROWS, row + rows - i), b, fp8_least(LINE_BLOCKS, block + blocks - b));
            }
        }
    } else {
        for (int64_t i = row; i < row + rows; i += FP8_BLOCK) {
            int64_t n = fp8_least(FP8_BLOCK, row + rows - i);
            if (q->group_columns == 1) {
                switch (q->type) {
                    case FP8_BF16: columns(q, &r, FP8_BF16, i, n, block, blocks); break;
                    case FP8_F16: columns(q, &r, FP8_F16, i, n, block, blocks); break;
                    default: columns(q, &r, FP8_F32, i, n, block, blocks); break;
                }
            } else {
                squares(q, &r, i, n, block, blocks);
            }
        }
    }
    if (q->past_cache) {
        _mm_sfence();
    }
}

/* The bits of the largest magnitude of some blocks, as FP32; NaN after infinity after all else. */
OCTET_EXPORT void octet_fp8_amax_avx512(const struct fp8_quantize *q, int64_t row, int64_t rows, int64_t block,
                                        int64_t blocks, uint32_t *result) {
    uint32_t max = 0;
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t b = block; b < block + blocks; b++) {
            uint32_t m = largest_of(q, i, b * FP8_BLOCK);
            max = m > max ? m : max;
        }
    }
    *result = max;
}

/* The scale of a whole matrix from its largest magnitude. */
OCTET_EXPORT void octet_fp8_scale_avx512(const struct fp8_quantize *q, int64_t max_bits) {
    struct rounding r = rounding_of(q->format);
    store_scale(q, scale_of(q, &r, (uint32_t)max_bits), 0, 0);
}

/* Codes of some blocks of a matrix that has one scale. */
OCTET_EXPORT void octet_fp8_encode_avx512(const struct fp8_quantize *q, int64_t row, int64_t rows, int64_t block,
                                          int64_t blocks, int64_t max_bits) {
    struct rounding r = rounding_of(q->format);
    float factor = 1 / scale_of(q, &r, (uint32_t)max_bits);
    for (int64_t i = row; i < row + rows; i++) {
        for (int64_t b = block; b < block + blocks; b++) {
            encode(q, &r, i, b * FP8_BLOCK, factor);
        }
    }
    if (q->past_cache) {
        _mm_sfence();
    }
}
