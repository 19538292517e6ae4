/* Codes as bytes: copies of parts of an operand with K contiguous and padded with zeros. */
#ifndef OCTET_FP8_CODES_H
#define OCTET_FP8_CODES_H

#include <string.h>

#include "fp8.h"

#if defined(__SSE2__)
#include <emmintrin.h>

/* to[i][j] = from[j][i], 16 by 16 */
static inline void transpose_bytes(const uint8_t *from, int64_t stride, uint8_t *to, int64_t to_stride) {
    __m128i r[16], t[16];
    for (int i = 0; i < 16; i++) {
        r[i] = _mm_loadu_si128((const __m128i *)(from + i * stride));
    }
    /* Four times the same perfect shuffle of 256 bytes: its fourth power swaps the halves of the index. */
    for (int pass = 0; pass < 4; pass++) {
        for (int i = 0; i < 8; i++) {
            t[2 * i] = _mm_unpacklo_epi8(r[i], r[i + 8]);
            t[2 * i + 1] = _mm_unpackhi_epi8(r[i], r[i + 8]);
        }
        for (int i = 0; i < 16; i++) {
            r[i] = t[i];
        }
    }
    for (int i = 0; i < 16; i++) {
        _mm_storeu_si128((__m128i *)(to + i * to_stride), r[i]);
    }
}
#else
static inline void transpose_bytes(const uint8_t *from, int64_t stride, uint8_t *to, int64_t to_stride) {
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++) {
            to[i * to_stride + j] = from[j * stride + i];
        }
    }
}
#endif

/*
 * Copies rows [row, row + rows) of a block of K to to[rows][128]; what lies beyond K becomes 0. The rows are either
 * contiguous along K or neighbours in memory.
 */
static void copy_block(const struct fp8_operand *x, int64_t row, int64_t rows, int64_t from_k, int64_t length,
                       uint8_t *to) {
    const uint8_t *from = x->codes + row * x->row_stride + from_k * x->k_stride;
    if (x->k_stride == 1) {
        for (int64_t i = 0; i < rows; i++) {
            memcpy(to + i * FP8_BLOCK, from + i * x->row_stride, (size_t)length);
            memset(to + i * FP8_BLOCK + length, 0, (size_t)(FP8_BLOCK - length));
        }
        return;
    }
    if (length < FP8_BLOCK) {
        memset(to, 0, (size_t)(rows * FP8_BLOCK));
    }
    int64_t whole_rows = rows & ~15, whole_k = length & ~15;
    for (int64_t i = 0; i < whole_rows; i += 16) {
        for (int64_t j = 0; j < whole_k; j += 16) {
            transpose_bytes(from + i + j * x->k_stride, x->k_stride, to + i * FP8_BLOCK + j, FP8_BLOCK);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = i < whole_rows ? whole_k : 0; j < length; j++) {
            to[i * FP8_BLOCK + j] = from[i * x->row_stride + j * x->k_stride];
        }
    }
}

#endif
