/*
 * The GEMM, D = A * B^T with promotion every 128 of K, for any instruction set. A file that includes this one defines
 * first, for its instruction set:
 *
 *   SUFFIX             the end of the functions' names
 *   L                  lanes of a vector of FP32
 *   U                  elements of K in a unit of 32 bits: 2 of BF16 or 1 of FP32, both of which hold every code exactly
 *   vec, uvec          vectors of L sums, of L units
 *   STEP               codes that are decoded at once
 *   struct format      what decoding needs; format_of(format)
 *   decode(codes, out, f)                STEP codes to STEP / (U * L) vectors of units, in order
 *   decode_shuffled(codes, out, f)       the same in any order, always the same one, where that is cheaper
 *   dot(sum, a, b)     sum + a * b in each lane, for BF16 both products one after the other
 *   zero, set1, load, store, mul, madd (fused), uload, ustore, uset1 (broadcast of a unit in memory),
 *   total (adds the lanes in a fixed order)
 *
 * or, with OWN_DECODING, decode_block, decode_few, rows_format and rows_block as below and in gemm_rows.h instead of STEP,
 * decode and decode_shuffled. Then, if it has decode_turned, for gemm_tiles.h, and DECODES_TURNED:
 *
 *   decode_turned(s, codes, stride, turned, out, out_stride, f)    16 codes of L rows to 16 / U vectors, lanes along the
 *                      rows, in 16 / U parts, of which this is part s; turned are four vectors that they share
 *
 * or else, for gemm_panels.h:
 *
 *   transpose          of L vectors of L units, in place
 *   V, C               vectors of rows and columns of the largest tile; V * C is a multiple of 3 if V is 4
 *   TAIL               rows of the largest tile with columns in its lanes, at most 8; or not defined
 *   SMALL_L1           if running sums should not be fetched ahead, as L1 is full
 *   OWN_SWEEP          if it has a function sweep of its own, which it declares
 *   RUN                tasks' decoded columns that fit in L1: a multiple of V * C
 *
 * Sums of a block are added up in FP32 from 0, multiplied with the product of the scales, and added to the running sums
 * by one FMA: at most 127 + 2 + B - 1 roundings for a term, as the error bound wants. A NaN code becomes a NaN, an
 * infinite one an infinity: IEEE arithmetic does the rest.
 */
#include <string.h>

#include "codes.h"
#include "finish.h"
#include "fp8.h"

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(f) JOIN(octet_fp8_##f, SUFFIX)
#define INLINE static inline __attribute__((always_inline))

/* Units of a block of 128. */
enum { UNITS = FP8_BLOCK / U };

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

#ifndef OWN_DECODING
/* Vectors that one step of decoding gives. */
enum { STEP_VECS = STEP / (U * L) };

/* 128 codes to UNITS units. */
INLINE void decode_block(const uint8_t *codes, uint32_t *units, int shuffled, struct format f) {
    for (int s = 0; s < FP8_BLOCK; s += STEP) {
        uvec x[STEP_VECS];
        if (shuffled) {
            decode_shuffled(codes + s, x, f);
        } else {
            decode(codes + s, x, f);
        }
        for (int v = 0; v < STEP_VECS; v++) {
            ustore(units + s / U + v * L, x[v]);
        }
    }
}

/* The same for few rows of A. */
INLINE void decode_few(const uint8_t *codes, uint32_t *units, struct format f) {
    decode_block(codes, units, 1, f);
}

/* How their B is decoded. */
static inline struct format rows_format(const struct fp8_gemm *g) {
    return format_of(g->b.format);
}
#endif

#include "gemm_rows.h"
#ifdef DECODES_TURNED
#include "gemm_tiles.h"
#else
#include "gemm_panels.h"
#endif
