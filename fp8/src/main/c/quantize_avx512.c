/*
 * Quantisers with AVX-512, one pass over memory. The recipe is SCALE below and the rounding of dev.octet.fp8.cpu's
 * FloatFormat: all bits are those of the other backends. A group of 128 is read, its largest magnitude found, and coded
 * from L1; codes of a large matrix are written past the caches, which saves reading their lines first.
 */
#include <immintrin.h>

#include "fp8.h"

enum { MAX_BLOCKS = 16 }; /* of a task's rows that share scales */

struct rounding {
    __m512i min_normal; /* bits of the smallest normal value */
    __m512i exponent;
    __m512i magic;
    __m512i sign;
    int shift;
    float max;
    uint8_t nan;
};

static struct rounding rounding_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    int shift = e4m3 ? 20 : 21;
    uint32_t min_normal = fp8_bits_of(e4m3 ? 0x1p-6f : 0x1p-14f);
    struct rounding r = {_mm512_set1_epi32((int32_t)min_normal), _mm512_set1_epi32(0x7F800000),
                         _mm512_set1_epi32((int32_t)(((uint32_t)shift << 23) + (-(min_normal >> shift) & 0xFF))),
                         _mm512_set1_epi32(0x80), shift, e4m3 ? 448.f : 57344.f, e4m3 ? 0x7F : 0x7E};
    return r;
}

/* 16 products whose magnitudes round to no more than the format's largest value; a code in the low byte of each lane. */
static inline __m512i round16(__m512 y, const struct rounding *r) {
    __m512i bits = _mm512_castps_si512(y);
    __m512i a = _mm512_and_si512(bits, _mm512_set1_epi32(0x7FFFFFFF));
    __m512i e = _mm512_and_si512(_mm512_max_epi32(a, r->min_normal), r->exponent);
    __m512 t = _mm512_add_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(_mm512_add_epi32(e, r->magic)));
    __m512i code = _mm512_add_epi32(_mm512_castps_si512(t), _mm512_srl_epi32(e, _mm_cvtsi32_si128(r->shift)));
    return _mm512_ternarylogic_epi32(_mm512_srli_epi32(bits, 24), code, r->sign, 0xE4); /* sign ? bits : code */
}

static uint8_t round1(float y, const struct rounding *r) {
    if (y != y) {
        return r->nan;
    }
    return (uint8_t)_mm_cvtsi128_si32(_mm512_castsi512_si128(round16(_mm512_set1_ps(y), r)));
}

static inline __m512 widen(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

static inline float element(const void *x, int64_t type, int64_t i) {
    return type == FP8_F32 ? ((const fp8_float *)x)[i] : fp8_bits((uint32_t)((const fp8_half *)x)[i] << 16);
}

/* Largest magnitudes of 128 elements, by lanes: of 16 bits for BF16. */
static inline __m512i maxima(const void *x, int64_t type, __m512i max) {
    if (type == FP8_BF16) {
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
    if (type == FP8_BF16) { /* two in each lane */
        __m512i even = _mm512_slli_epi32(max, 16);
        __m512i odd = _mm512_and_si512(max, _mm512_set1_epi32((int32_t)0xFFFF0000));
        return _mm512_reduce_max_epu32(_mm512_max_epu32(even, odd));
    }
    return _mm512_reduce_max_epu32(max);
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

/* Codes 128 elements of a finite group. */
static inline void encode128(const void *x, int64_t type, float factor, const struct rounding *r, uint8_t *codes,
                             int64_t past_cache) {
    __m512 f = _mm512_set1_ps(factor);
#pragma GCC unroll 2
    for (int i = 0; i < 128; i += 64) {
        __m512i c[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            int at = i + 16 * j;
            __m512 y = type == FP8_BF16 ? widen(_mm256_loadu_si256((const __m256i *)((const fp8_half *)x + at)))
                                        : _mm512_loadu_ps((const fp8_float *)x + at);
            c[j] = round16(_mm512_mul_ps(y, f), r);
        }
        __m512i all = _mm512_castsi128_si512(_mm512_cvtepi32_epi8(c[0]));
        all = _mm512_inserti32x4(all, _mm512_cvtepi32_epi8(c[1]), 1);
        all = _mm512_inserti32x4(all, _mm512_cvtepi32_epi8(c[2]), 2);
        all = _mm512_inserti32x4(all, _mm512_cvtepi32_epi8(c[3]), 3);
        if (past_cache) {
            _mm512_stream_si512((void *)(codes + i), all);
        } else {
            _mm512_storeu_si512(codes + i, all);
        }
    }
}

static inline const void *at(const struct fp8_quantize *q, int64_t row, int64_t column) {
    return (const char *)q->x + (row * q->x_row + column) * (q->type == FP8_BF16 ? 2 : 4);
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
        if (q->type == FP8_BF16) {
            encode128(at(q, row, column), FP8_BF16, factor, r, codes, q->past_cache);
        } else {
            encode128(at(q, row, column), FP8_F32, factor, r, codes, q->past_cache);
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
    if (q->type == FP8_BF16) {
        return largest(maxima(at(q, row, column), FP8_BF16, _mm512_setzero_si512()), FP8_BF16);
    }
    return largest(maxima(at(q, row, column), FP8_F32, _mm512_setzero_si512()), FP8_F32);
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
    int64_t step = q->type == FP8_BF16 ? 32 : 16; /* elements of a cache line */
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

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/*
 * Rows [row, row + rows), blocks [block, block + blocks) of columns; with 128x128 the rows begin a block of scales and
 * there are up to MAX_BLOCKS blocks.
 */
OCTET_EXPORT void octet_fp8_quantize_avx512(const struct fp8_quantize *q, int64_t row, int64_t rows, int64_t block,
                                            int64_t blocks) {
    struct rounding r = rounding_of(q->format);
    if (q->group_rows == 1) {
        for (int64_t i = row; i < row + rows; i += LINE_ROWS) {
            for (int64_t b = block; b < block + blocks; b += LINE_BLOCKS) {
                lines(q, &r, i, least(LINE_ROWS, row + rows - i), b, least(LINE_BLOCKS, block + blocks - b));
            }
        }
    } else {
        for (int64_t i = row; i < row + rows; i += FP8_BLOCK) {
            squares(q, &r, i, row + rows - i < FP8_BLOCK ? row + rows - i : FP8_BLOCK, block, blocks);
        }
    }
    if (q->past_cache) {
        _mm_sfence();
    }
}
