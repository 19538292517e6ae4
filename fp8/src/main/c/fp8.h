/*
 * The FP8 kernels' interface with Java (dev.octet.fp8.ffm). Java has checked every shape, stride and address before it
 * calls; see FfmGemm.java. All fields are 64 bits wide, so that the layout is the same for every compiler.
 */
#ifndef OCTET_FP8_H
#define OCTET_FP8_H

#include "octet.h"

/* Changes with every change of the functions or of the structure below. */
#define FP8_ABI 4

/* Elements in a caller's memory, which may lie at any address. */
typedef float fp8_float __attribute__((aligned(1)));
typedef uint16_t fp8_half __attribute__((aligned(1)));

enum { FP8_E4M3 = 0, FP8_E5M2 = 1 };
enum { FP8_F32 = 0, FP8_BF16 = 1, FP8_F16 = 2 };
enum { FP8_BLOCK = 128 };

/* Codes [rows, K] and their scales. Codes have stride 1 along K or along the rows, or there is one row or column. */
struct fp8_operand {
    const uint8_t *codes;
    int64_t row_stride; /* in bytes */
    int64_t k_stride;
    int64_t format;
    const void *scales;
    int64_t scale_shift; /* the scales of a row lie at (row >> scale_shift) * scale_row */
    int64_t scale_row;   /* in elements */
    int64_t scale_block; /* between blocks of 128 along K */
    int64_t e8m0;        /* scales are exponents in a byte, else FP32 */
};

/* F32 or BF16 [M, N]; address 0: not there. Strides in elements. */
struct fp8_floats {
    void *at;
    int64_t row_stride;
    int64_t column_stride;
    int64_t type;
};

/* D = activation(A * B^T + addend + bias) */
struct fp8_gemm {
    int64_t m;
    int64_t n;
    int64_t k;
    struct fp8_operand a;
    struct fp8_operand b;
    struct fp8_floats d;
    struct fp8_floats addend;
    const float *bias;
    int64_t silu;
    /* Packed A and its scales [block][row], aligned to 64; see gemm.h for their sizes. */
    void *packed;
    float *packed_scales;
};

/* How many rows or columns share a scale, if all do. */
#define FP8_ALL INT64_MAX

/* Quantises elements with unit stride along rows. */
struct fp8_quantize {
    const void *x;
    int64_t x_row; /* in elements */
    int64_t type;
    uint8_t *codes;
    int64_t code_row;
    int64_t format;
    void *scales;
    int64_t scale_row; /* between rows of scales, in elements */
    int64_t scale_block;
    int64_t e8m0;
    int64_t power_of_two;
    int64_t group_rows; /* 1, 128, FP8_ALL */
    int64_t group_columns;
    int64_t rows;
    int64_t columns;
    int64_t past_cache; /* what is written is aligned to 64, and so much that it should not go through the caches */
};

/* Codes times scales to floats, or floats to codes without scales; unit stride along rows. */
struct fp8_convert {
    uint8_t *codes;
    int64_t code_row;
    int64_t format;
    void *floats;
    int64_t float_row; /* in elements */
    int64_t type;
    const void *scales;
    int64_t scale_row;
    int64_t scale_block;
    int64_t e8m0;
    int64_t group_rows; /* 1, 128, FP8_ALL */
    int64_t group_columns;
    int64_t saturate;
    int64_t past_cache;
};

static inline int64_t fp8_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t fp8_blocks(const struct fp8_gemm *g) {
    return (g->k + FP8_BLOCK - 1) / FP8_BLOCK;
}

static inline float fp8_bits(uint32_t bits) {
    union {
        uint32_t i;
        float f;
    } u = {bits};
    return u.f;
}

static inline uint32_t fp8_bits_of(float x) {
    union {
        float f;
        uint32_t i;
    } u = {x};
    return u.i;
}

/* The value of an E8M0 code. */
static inline float fp8_exponent(uint32_t e) {
    return fp8_bits(e == 255 ? 0x7FC00000 : e == 0 ? 0x00400000 : e << 23);
}

static inline float fp8_scale(const struct fp8_operand *x, int64_t row, int64_t block) {
    int64_t at = (row >> x->scale_shift) * x->scale_row + block * x->scale_block;
    return x->e8m0 ? fp8_exponent(((const uint8_t *)x->scales)[at]) : ((const fp8_float *)x->scales)[at];
}

#endif
