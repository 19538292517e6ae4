/*
 * Elements to FP32 and to codes: what quantisers and casts share. Before it comes lanes_SET.h, whose names begin with
 * what a vector is made of: f_ FP32, w_ words of 32 bits, h_ halves of 16, b_ bytes, i_ any bits.
 */
#ifndef OCTET_FP8_ROUND_H
#define OCTET_FP8_ROUND_H

#include <string.h>

#include "fp8.h"

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(f) JOIN(octet_fp8_##f, SUFFIX)

/* The numbers of dev.octet.fp8.cpu's FloatFormat, which says why this rounds. */
struct rounding {
    ivec min_normal; /* bits of the smallest normal value */
    ivec exponent;
    ivec magic;
    ivec shift; /* a vector, for a shift by one count for all takes two steps more */
    float max;
    uint8_t nan;
};

static inline struct rounding rounding_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    int shift = e4m3 ? 20 : 21;
    uint32_t min_normal = fp8_bits_of(e4m3 ? 0x1p-6f : 0x1p-14f);
    struct rounding r = {w_all((int32_t)min_normal), w_all(0x7F800000),
                         w_all((int32_t)(((uint32_t)shift << 23) + (-(min_normal >> shift) & 0xFF))),
                         w_all(shift), e4m3 ? 448.f : 57344.f, e4m3 ? 0x7F : 0x7E};
    return r;
}

/* Magnitudes that round to no code beyond the format's; a code in the low byte of each lane. */
INLINE ivec round_magnitude(ivec a, const struct rounding *r) {
    ivec e = i_and(w_max(a, r->min_normal), r->exponent);
    vec t = f_add(f_of_bits(a), f_of_bits(w_add(e, r->magic)));
    return w_add(f_bits(t), w_right_by(e, r->shift));
}

/* Signs of BYTES bytes and magnitudes of as many codes, which have none, in the order that packing leaves them in. */
INLINE ivec with_signs(ivec signs, ivec codes) {
    return i_and_or(signs, w_all((int32_t)0x80808080), codes);
}

/* Codes in two times HALVES lanes of 16 bits, whose upper bytes are 0; the signs are those of x. */
INLINE ivec pack_halves(const ivec *c, const ivec *x) {
    return i_order2(with_signs(h_pack_signed(x[0], x[1]), h_pack(c[0], c[1])));
}

/* The lowest seven bits of four times LANES lanes; the signs are those of x. Saturation keeps signs. */
INLINE ivec pack_words(const ivec *c, const ivec *x) {
    ivec low = w_all(0x7F);
    ivec codes = h_pack(w_pack(i_and(c[0], low), i_and(c[1], low)), w_pack(i_and(c[2], low), i_and(c[3], low)));
    ivec signs = h_pack_signed(w_pack_signed(x[0], x[1]), w_pack_signed(x[2], x[3]));
    return i_order4(with_signs(signs, codes));
}

static inline int64_t element_bytes(int64_t type) {
    return type == FP8_F32 ? 4 : 2;
}

/* A part of a vector, or of some, and zeros after it. By vectors, for a short memset is an instruction of 20 ns. */
INLINE void copy_padded(char *to, int64_t room, const void *from, int64_t n) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < room; i += BYTES) {
        i_store(to + i, i_zero());
    }
    memcpy(to, from, (size_t)n);
}

/* LANES elements as FP32, exactly. */
INLINE vec load(const void *x, int64_t type, int64_t i) {
    if (type == FP8_F32) {
        return f_load((const fp8_float *)x + i);
    }
    const fp8_half *half = (const fp8_half *)x + i;
    return type == FP8_F16 ? f_of_f16(half) : f_of_bf16(half);
}

static inline float element(const void *x, int64_t type, int64_t i) {
    if (type == FP8_F32) {
        return ((const fp8_float *)x)[i];
    }
    uint16_t half = ((const fp8_half *)x)[i];
    return type == FP8_F16 ? _cvtsh_ss(half) : fp8_bits((uint32_t)half << 16);
}

#endif
