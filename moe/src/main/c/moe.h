/*
 * The interface of the kernels of experts with Java (dev.octet.moe.ffm). Java has checked every shape, stride and address
 * before it calls. All fields are 64 bits wide, so that the layout is the same for every compiler; strides are in bytes.
 */
#ifndef OCTET_MOE_H
#define OCTET_MOE_H

#include "octet.h"

/* Changes with every change of the functions or of the structures below. */
#define OCTET_MOE_ABI 1

/* Elements in a caller's memory, which may lie at any address. */
typedef float moe_float __attribute__((aligned(1)));
typedef uint16_t moe_half __attribute__((aligned(1)));

/* Rows of F32 or BF16 whose columns are neighbours, to experts or back. */
struct octet_moe_permute {
    const uint8_t *from;
    int64_t from_row;
    int64_t from_bf16;
    uint8_t *to;
    int64_t to_row;
    int64_t to_bf16;
    int64_t columns;
    int64_t element; /* bytes of one, where rows are copied */
    int64_t tokens;
    int64_t slots;
    const uint8_t *weights; /* FP32 [token][slot], or null: all are 1 */
    int64_t weights_token;
    int64_t weights_slot;
    int64_t past_cache; /* what is written is aligned to 64, and so much that it should not go through the caches */
};

/* A column of scales after the other, from tokens to positions. */
struct octet_moe_gather {
    const uint8_t *from;
    int64_t from_row;
    int64_t from_column;
    uint8_t *to;
    int64_t to_row;
    int64_t to_column;
    int64_t columns;
    int64_t element; /* 1 or 4 bytes */
    int64_t one;     /* the scale of padding */
};

/* F32 or BF16; elements of a row are neighbours. */
struct octet_moe_matrix {
    const uint8_t *at;
    int64_t row;
    int64_t bf16;
};

/* out[t][e] = SUM_k hidden[t][k] * weight[e][k] */
struct octet_moe_router {
    struct octet_moe_matrix hidden;
    struct octet_moe_matrix weight;
    uint8_t *out; /* FP32 */
    int64_t out_token;
    int64_t out_expert;
    int64_t tokens;
    int64_t experts;
    int64_t d;
    float *packed; /* of few tokens: [token][d up to a multiple of 32] */
};

static inline int64_t moe_least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline float moe_bits(uint32_t bits) {
    union {
        uint32_t i;
        float f;
    } u = {bits};
    return u.f;
}

static inline uint32_t moe_bits_of(float x) {
    union {
        float f;
        uint32_t i;
    } u = {x};
    return u.i;
}

static inline float moe_load(const uint8_t *at, int64_t bf16) {
    return bf16 ? moe_bits((uint32_t) * (const moe_half *)at << 16) : *(const moe_float *)at;
}

/* To BF16 to nearest, ties to even; a NaN becomes the quiet one with its sign. */
static inline void moe_store(uint8_t *at, int64_t bf16, float x) {
    uint32_t bits = moe_bits_of(x);
    if (!bf16) {
        *(moe_float *)at = x;
    } else if (x != x) {
        *(moe_half *)at = (uint16_t)((bits >> 16 & 0x8000) | 0x7FC0);
    } else {
        *(moe_half *)at = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}

#endif
