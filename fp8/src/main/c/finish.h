/*
 * The epilogue: what is done with finished FP32 sums, in FP32, a part of a row at a time. It is included by one file for
 * each instruction set, and the loops with unit stride are left to the compiler's vectoriser.
 */
#ifndef OCTET_FP8_FINISH_H
#define OCTET_FP8_FINISH_H

#include <math.h>
#include <string.h>

#include "fp8.h"

static inline float bf16_to_float(uint16_t x) {
    return fp8_bits((uint32_t)x << 16);
}

/* To nearest, ties to even; a NaN becomes the quiet one with its sign. */
static inline uint16_t bf16_of(float x) {
    uint32_t b = fp8_bits_of(x);
    uint32_t rounded = (b + 0x7FFF + (b >> 16 & 1)) >> 16;
    uint32_t nan = (b >> 16 & 0x8000) | 0x7FC0;
    return (uint16_t)((b & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded);
}

static void add_addend(const struct fp8_floats *c, int64_t m, int64_t n, float *restrict row, int64_t count) {
    int64_t from = m * c->row_stride + n * c->column_stride;
    int64_t step = c->column_stride;
    if (c->type == FP8_F32) {
        const fp8_float *x = (const fp8_float *)c->at + from;
        for (int64_t i = 0; i < count; i++) {
            row[i] += x[i * step];
        }
    } else {
        const fp8_half *x = (const fp8_half *)c->at + from;
        for (int64_t i = 0; i < count; i++) {
            row[i] += bf16_to_float(x[i * step]);
        }
    }
}

/* Writes columns n to n + count of row m of D from sums, which it may change. */
static void finish_row(const struct fp8_gemm *g, int64_t m, int64_t n, float *restrict row, int64_t count) {
    if (g->addend.at != 0) {
        add_addend(&g->addend, m, n, row, count);
    }
    if (g->bias != 0) {
        for (int64_t i = 0; i < count; i++) {
            row[i] += g->bias[n + i];
        }
    }
    if (g->silu) { /* in double, so that only the last rounding counts */
        for (int64_t i = 0; i < count; i++) {
            double x = row[i];
            row[i] = (float)(x / (1 + exp(-x)));
        }
    }
    int64_t to = m * g->d.row_stride + n * g->d.column_stride;
    int64_t step = g->d.column_stride;
    if (g->d.type == FP8_F32) {
        fp8_float *d = (fp8_float *)g->d.at + to;
        if (step == 1) {
            memcpy(d, row, (size_t)count * sizeof(float));
        } else {
            for (int64_t i = 0; i < count; i++) {
                d[i * step] = row[i];
            }
        }
    } else {
        fp8_half *d = (fp8_half *)g->d.at + to;
        if (step == 1) {
            for (int64_t i = 0; i < count; i++) {
                d[i] = bf16_of(row[i]);
            }
        } else {
            for (int64_t i = 0; i < count; i++) {
                d[i * step] = bf16_of(row[i]);
            }
        }
    }
}

#endif
