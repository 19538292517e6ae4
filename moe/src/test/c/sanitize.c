/*
 * The C kernels on random small problems, every buffer exactly as large as promised, so that AddressSanitizer or
 * valgrind sees any byte too far; results are compared with plain loops, but for the router's to the bit.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moe.h"
#include "sanitize.h"

struct kernels {
    const char *name;
    void (*expand)(const struct octet_moe_permute *, int64_t, int64_t, const int32_t *);
    void (*reduce)(const struct octet_moe_permute *, int64_t, int64_t, const int32_t *);
    void (*router_pack)(const struct octet_moe_router *);
    void (*router_few)(const struct octet_moe_router *, int64_t, int64_t);
    void (*router_many)(const struct octet_moe_router *, int64_t, int64_t, float *);
    int64_t (*router_layout)(int64_t);
};

#define DECLARE_ROWS(s)                                                                                                \
    void octet_moe_expand_##s(const struct octet_moe_permute *, int64_t, int64_t, const int32_t *);                    \
    void octet_moe_reduce_##s(const struct octet_moe_permute *, int64_t, int64_t, const int32_t *);

#define DECLARE(s)                                                                                                     \
    DECLARE_ROWS(s)                                                                                                    \
    void octet_moe_router_pack_##s(const struct octet_moe_router *);                                                   \
    void octet_moe_router_few_##s(const struct octet_moe_router *, int64_t, int64_t);                                  \
    void octet_moe_router_many_##s(const struct octet_moe_router *, int64_t, int64_t, float *);                        \
    int64_t octet_moe_router_layout_##s(int64_t);                                                                      \
    static const struct kernels K_##s = {#s, octet_moe_expand_##s, octet_moe_reduce_##s, octet_moe_router_pack_##s,    \
                                         octet_moe_router_few_##s, octet_moe_router_many_##s,                          \
                                         octet_moe_router_layout_##s};
#if defined(__x86_64__)
DECLARE_ROWS(avx2)
static const struct kernels K_avx2 = {"avx2", octet_moe_expand_avx2, octet_moe_reduce_avx2, 0, 0, 0, 0};
DECLARE(avx512)
#else
DECLARE(neon)
#endif
void octet_moe_gather(const struct octet_moe_gather *, int64_t, int64_t, const int32_t *);

static const int64_t SIZES[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 257, 300};

static int64_t size(void) {
    return SIZES[below(sizeof SIZES / sizeof SIZES[0])];
}

static void check(int good, const char *what, const char *set) {
    if (!good) {
        fprintf(stderr, "%s, %s: wrong, state %llu\n", what, set, (unsigned long long)state);
        exit(1);
    }
}

/* Rows from an odd address, with gaps or none; or aligned, rows too. free() takes *memory. */
static uint8_t *matrix(int64_t rows, int64_t columns, int64_t bf16, int lines, int64_t *row, uint8_t **memory) {
    int64_t bytes = bf16 ? 2 : 4, offset = lines ? 0 : below(3);
    *row = lines ? up(columns * bytes, 64) : (columns + below(3)) * bytes;
    int64_t all = (rows - 1) * *row + columns * bytes;
    *memory = lines ? aligned(all) : exactly(offset + all);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            moe_store(*memory + offset + i * *row + j * bytes, bf16, (float)below(2001) / 1000 - 1);
        }
    }
    return *memory + offset;
}

static uint32_t bits(const uint8_t *at, int64_t element) {
    uint32_t x = 0;
    memcpy(&x, at, (size_t)element);
    return x;
}

/* Every position is some slot's, or nobody's. */
static int32_t *positions(int64_t slots, int64_t count) {
    int32_t *p = exactly(slots * 4);
    for (int64_t i = 0; i < slots; i++) {
        p[i] = i < count && below(8) ? (int32_t)i : -1;
    }
    for (int64_t i = slots - 1; i > 0; i--) {
        int64_t j = below(i + 1);
        int32_t x = p[i];
        p[i] = p[j];
        p[j] = x;
    }
    return p;
}

static void there(const struct kernels *k) {
    int64_t tokens = 1 + below(6), slots = 1 + below(5), count = 1 + below(tokens * slots), bf16 = below(2);
    int lines = (int)below(2);
    uint8_t *from, *to, *wanted;
    float *weights = exactly(tokens * slots * 4);
    struct octet_moe_permute p = {.from_bf16 = bf16, .to_bf16 = bf16, .columns = size(), .element = bf16 ? 2 : 4,
                                  .tokens = tokens, .slots = slots, .weights_slot = 4, .weights_token = 4 * slots,
                                  .past_cache = lines && below(2)};
    if (!lines && below(3) == 0) { /* as many bytes */
        p.columns *= p.element;
        p.element = 1;
        p.from_bf16 = p.to_bf16 = 0;
    }
    p.from = matrix(tokens, p.columns * p.element / (bf16 ? 2 : 4), bf16, lines, &p.from_row, &from);
    p.to = matrix(count, p.columns * p.element / (bf16 ? 2 : 4), bf16, lines, &p.to_row, &to);
    for (int64_t i = 0; i < tokens * slots; i++) {
        weights[i] = (float)below(2001) / 1000 - 1;
    }
    p.weights = p.element == 1 || below(2) ? 0 : (const uint8_t *)weights;
    int32_t *at = positions(tokens * slots, count);
    int64_t cut = below(tokens + 1);
    k->expand(&p, 0, cut, at);
    k->expand(&p, cut, tokens - cut, at + cut * slots);
    for (int64_t i = 0; i < tokens * slots; i++) {
        for (int64_t c = 0; c < p.columns && at[i] >= 0; c++) {
            const uint8_t *x = p.from + i / slots * p.from_row + c * p.element;
            uint8_t expected[4] = {0};
            wanted = expected;
            memcpy(wanted, x, (size_t)p.element);
            if (p.weights) {
                moe_store(wanted, bf16, moe_load(x, bf16) * weights[i]);
            }
            check(bits(wanted, p.element) == bits(p.to + at[i] * p.to_row + c * p.element, p.element), "expand", k->name);
        }
    }
    free(from);
    free(to);
    free(weights);
    free(at);
}

static void back(const struct kernels *k) {
    int64_t tokens = 1 + below(6), slots = 1 + below(10), count = 1 + below(tokens * slots);
    int lines = (int)below(2);
    uint8_t *from, *to;
    float *weights = exactly(tokens * slots * 4);
    struct octet_moe_permute p = {.from_bf16 = below(2), .to_bf16 = below(2), .columns = size(), .tokens = tokens,
                                  .slots = slots, .weights_slot = 4, .weights_token = 4 * slots,
                                  .past_cache = lines && below(2)};
    p.from = matrix(count, p.columns, p.from_bf16, (int)below(2), &p.from_row, &from);
    p.to = matrix(tokens, p.columns, p.to_bf16, lines, &p.to_row, &to);
    for (int64_t i = 0; i < tokens * slots; i++) {
        weights[i] = (float)below(2001) / 1000 - 1;
    }
    p.weights = below(3) ? (const uint8_t *)weights : 0;
    int32_t *at = positions(tokens * slots, count);
    int64_t cut = 1 + below(tokens), from_size = p.from_bf16 ? 2 : 4, to_size = p.to_bf16 ? 2 : 4;
    k->reduce(&p, 0, cut, at);
    if (cut < tokens) {
        k->reduce(&p, cut, tokens - cut, at + cut * slots);
    }
    for (int64_t t = 0; t < tokens; t++) {
        for (int64_t c = 0; c < p.columns; c++) {
            float sum = 0;
            for (int64_t j = t * slots; j < (t + 1) * slots; j++) {
                if (at[j] >= 0) {
                    sum = fmaf(moe_load(p.from + at[j] * p.from_row + c * from_size, p.from_bf16),
                               p.weights ? weights[j] : 1, sum);
                }
            }
            uint8_t expected[4] = {0};
            moe_store(expected, p.to_bf16, sum);
            check(bits(expected, to_size) == bits(p.to + t * p.to_row + c * to_size, to_size), "reduce", k->name);
        }
    }
    free(from);
    free(to);
    free(weights);
    free(at);
}

static void scales(void) {
    int64_t tokens = 1 + below(9), count = 1 + below(20), columns = 1 + below(4), element = below(2) ? 1 : 4;
    uint8_t *from = exactly(tokens * columns * element), *to = exactly(count * columns * element);
    int32_t *of = exactly(count * 4);
    struct octet_moe_gather g = {.from = from, .from_row = element, .from_column = tokens * element, .to = to,
                                 .to_row = element, .to_column = count * element, .columns = columns,
                                 .element = element, .one = 127};
    for (int64_t i = 0; i < tokens * columns * element; i++) {
        from[i] = (uint8_t)next();
    }
    for (int64_t i = 0; i < count; i++) {
        of[i] = (int32_t)below(tokens + 1) - 1;
    }
    int64_t cut = below(count + 1);
    octet_moe_gather(&g, 0, cut, of);
    octet_moe_gather(&g, cut, count - cut, of + cut);
    for (int64_t i = 0; i < count * columns; i++) {
        int64_t c = i / count, r = i % count;
        check(bits(to + i * element, element)
                      == (of[r] < 0 ? 127 : bits(from + (c * tokens + of[r]) * element, element)), "gather", "all");
    }
    free(from);
    free(to);
    free(of);
}

static float logit(const struct octet_moe_router *r, int64_t t, int64_t e) {
    return *(moe_float *)(r->out + t * r->out_token + e * r->out_expert);
}

static void route(const struct kernels *k) {
    int64_t tokens = 1 + below(60), experts = 1 + below(70), d = below(20) ? size() : 1024 * (1 + below(3)) + size();
    struct octet_moe_router r = {.tokens = tokens, .experts = experts, .d = d, .out_expert = 4};
    uint8_t *hidden, *weight;
    r.hidden.bf16 = below(2);
    r.weight.bf16 = below(2);
    r.hidden.at = matrix(tokens, d, r.hidden.bf16, 0, &r.hidden.row, &hidden);
    r.weight.at = matrix(experts, d, r.weight.bf16, 0, &r.weight.row, &weight);
    r.out_token = experts * 4 + 4 * below(2);
    r.out = exactly((tokens - 1) * r.out_token + experts * 4);
    float *work = aligned(k->router_layout(2));
    for (int64_t t = 0; t < tokens; t += k->router_layout(0)) {
        for (int64_t e = 0; e < experts; e += k->router_layout(1)) {
            k->router_many(&r, t, e, work);
        }
    }
    int64_t a = r.hidden.bf16 ? 2 : 4, b = r.weight.bf16 ? 2 : 4;
    for (int64_t t = 0; t < tokens; t += 1 + below(9)) {
        for (int64_t e = 0; e < experts; e++) {
            double sum = 0, magnitude = 0;
            for (int64_t i = 0; i < d; i++) {
                double x = (double)moe_load(r.hidden.at + t * r.hidden.row + i * a, r.hidden.bf16)
                        * moe_load(r.weight.at + e * r.weight.row + i * b, r.weight.bf16);
                sum += x;
                magnitude += fabs(x);
            }
            check(fabs(sum - logit(&r, t, e)) <= ((double)d / 32 + 6) * 0x1p-24 * magnitude, "router", k->name);
        }
    }
    /* The last tokens once more, as few. */
    struct octet_moe_router few = r;
    few.tokens = 1 + below(tokens < 8 ? tokens : 8);
    few.hidden.at = r.hidden.at + (tokens - few.tokens) * r.hidden.row;
    few.packed = exactly(few.tokens * up(d, 32) * 4);
    few.out_token = experts * 4;
    few.out = exactly(few.tokens * experts * 4);
    k->router_pack(&few);
    int64_t cut = below(experts + 1);
    k->router_few(&few, 0, cut);
    k->router_few(&few, cut, experts);
    for (int64_t t = 0; t < few.tokens; t++) {
        for (int64_t e = 0; e < experts; e++) {
            float x = logit(&few, t, e), y = logit(&r, tokens - few.tokens + t, e);
            check(memcmp(&x, &y, 4) == 0, "few tokens of the router", k->name);
        }
    }
    free(hidden);
    free(weight);
    free(r.out);
    free(work);
    free(few.packed);
    free(few.out);
}

static void one(const struct kernels *k) {
    there(k);
    back(k);
    if (k->router_many) {
        route(k);
    }
}

static void one_round(int32_t sets) {
    scales();
#if defined(__x86_64__)
    if (sets & OCTET_AVX2) {
        one(&K_avx2);
    }
    if (sets & OCTET_AVX512) {
        one(&K_avx512);
    }
#else
    if (sets & OCTET_NEON) {
        one(&K_neon);
    }
#endif
}
