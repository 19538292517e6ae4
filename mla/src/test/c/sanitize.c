/*
 * The C kernels on random small problems, every buffer exactly as large as promised, so that AddressSanitizer or
 * valgrind sees any byte too far; results are compared with sums in FP64.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mla.h"
#include "sanitize.h"

typedef void attention_pass(const struct octet_mla_attention *, int64_t, int64_t, float *);
typedef void heads_pass(const struct octet_mla_heads *, int64_t, int64_t, float *);
typedef void decode_step(const struct octet_mla_call *, int64_t, int64_t, struct octet_mla_scratch *);

static int64_t any(const int64_t *of, int64_t n) {
    return of[below(n)];
}

static const int64_t LENGTHS[] = {1, 1, 2, 7, 15, 16, 17, 31, 33, 48, 64, 97, 128, 129, 200};
static const int64_t DIMS[] = {1, 2, 7, 16, 17, 31, 33, 64, 66, 128, 129, 192};
#define ANY(of) any(of, (int64_t)(sizeof of / sizeof of[0]))

static float as_float(const uint8_t *at, int64_t bf16) {
    uint32_t bits;
    if (bf16) {
        uint16_t half;
        memcpy(&half, at, 2);
        bits = (uint32_t)half << 16;
    } else {
        memcpy(&bits, at, 4);
    }
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/** A tensor with gaps, perhaps from an odd address or with no stride of one; free() takes *memory. */
static struct octet_mla_rows rows(int64_t tokens, int64_t heads, int64_t dims, int64_t bf16, uint8_t **memory) {
    struct octet_mla_rows r;
    int64_t size = bf16 ? 2 : 4, offset = below(3);
    r.bf16 = bf16;
    r.element = size * (below(4) ? 1 : 2);
    r.head = r.element * dims + size * below(3);
    r.token = r.head * heads + size * below(3);
    int64_t last = (tokens - 1) * r.token + (heads - 1) * r.head + (dims - 1) * r.element;
    int64_t bytes = tokens == 0 || dims == 0 ? 0 : last + size;
    *memory = exactly(offset + bytes);
    r.at = *memory + offset;
    for (int64_t i = 0; i + size <= bytes; i += size) {
        float x = (float)below(2001) / 1000 - 1;
        uint32_t bits;
        memcpy(&bits, &x, 4);
        uint16_t half = (uint16_t)(bits >> 16);
        memcpy(*memory + offset + i, bf16 ? (void *)&half : (void *)&bits, (size_t)size);
    }
    return r;
}

static double value(const struct octet_mla_rows *r, int64_t token, int64_t head, int64_t d) {
    return as_float(r->at + token * r->token + head * r->head + d * r->element, r->bf16);
}

static double e4m3(uint8_t c) {
    int e = (c & 0x7f) >> 3, m = c & 7;
    double x = e == 0 ? ldexp(m, -9) : ldexp(m + 8, e - 10);
    return c & 0x80 ? -x : x;
}

/** Dimension d of a key, or of a value. */
static double key(const struct octet_mla_attention *c, const struct octet_mla_group *g, int64_t head, int64_t j,
        int64_t d) {
    if (!c->absorbed) {
        return d < c->own ? value(&c->keys, g->first_token + j, head, d)
                : value(&c->rope_keys, g->first_token + j, 0, d - c->own);
    }
    const uint8_t *r = c->records
            + ((int64_t)g->pages[j / c->page_size] * c->page_size + j % c->page_size) * c->record_bytes;
    if (c->format == OCTET_MLA_BF16) {
        return as_float(r + 2 * d, 1);
    }
    return d < c->own ? e4m3(r[d]) * as_float(r + c->own + d / 128 * 4, 0)
            : as_float(r + c->own + c->own / 128 * 4 + 2 * (d - c->own), 1);
}

static void check_row(const struct octet_mla_attention *c, const struct octet_mla_group *g, int64_t query, int64_t head,
        const char *name) {
    int64_t at = g->keys - g->queries + query, token = g->first_query + query;
    int64_t first = c->window && at - c->window + 1 > 0 ? at - c->window + 1 : 0;
    int64_t end = !c->causal || at + 1 > g->keys ? g->keys : at + 1 < 0 ? 0 : at + 1;
    double *p = exactly((g->keys + 1) * 8), max = -INFINITY, sum = 0;
    for (int64_t j = first; j < end; j++) {
        double s = 0;
        for (int64_t d = 0; d < c->own + c->rope; d++) {
            s += value(&c->query, token, head, d) * key(c, g, head, j, d);
        }
        p[j] = s * c->scale;
        max = p[j] > max ? p[j] : max;
    }
    for (int64_t j = first; j < end; j++) {
        p[j] = exp(p[j] - max);
        sum += p[j];
    }
    for (int64_t d = 0; d < c->value_dims; d++) {
        double expected = 0;
        for (int64_t j = first; j < end; j++) {
            double v = c->absorbed ? key(c, g, head, j, d) : value(&c->values, g->first_token + j, head, d);
            expected += p[j] / sum * v;
        }
        double actual = value(&c->out, token, head, d);
        if (!(fabs(actual - expected) <= 1e-4 + (c->out.bf16 ? ldexp(fabs(expected), -8) : 0))) {
            printf("%s: out[%ld, %ld, %ld] is %g, not %g; %ld + %ld by %ld\n", name, (long)token, (long)head, (long)d,
                   actual, expected, (long)c->own, (long)c->rope, (long)c->value_dims);
            exit(1);
        }
    }
    if (c->lse) {
        double expected = first >= end ? INFINITY : max + log(sum);
        double actual = as_float(c->lse + token * c->lse_token + head * c->lse_head, 0);
        if (!(actual == expected || fabs(actual - expected) <= 1e-4)) {
            printf("%s: lse[%ld, %ld] is %g, not %g\n", name, (long)token, (long)head, actual, expected);
            exit(1);
        }
    }
    free(p);
}

/** A cache with its pages in any order. */
static uint8_t *cache(struct octet_mla_attention *c, struct octet_mla_group *g) {
    static const int64_t SIZES[] = {1, 3, 16, 64};
    c->absorbed = 1;
    c->format = below(2);
    c->own = 128 * (1 + below(2));
    c->rope = 2 * below(20);
    c->value_dims = c->own;
    c->page_size = ANY(SIZES);
    c->record_bytes = c->format == OCTET_MLA_BF16 ? 2 * (c->own + c->rope) : c->own + c->own / 128 * 4 + 2 * c->rope;
    int64_t pages = up(g->keys, c->page_size) / c->page_size;
    uint8_t *records = exactly(pages * c->page_size * c->record_bytes);
    int32_t *table = exactly(pages * 4);
    for (int64_t i = 0; i < pages; i++) {
        table[i] = (int32_t)(pages - 1 - i);
    }
    for (int64_t t = 0; t < pages * c->page_size; t++) {
        uint8_t *r = records + t * c->record_bytes;
        for (int64_t i = 0; i < c->record_bytes; i++) {
            r[i] = (uint8_t)next();
        }
        for (int64_t i = 0; c->format == OCTET_MLA_FP8 && i < c->own; i++) {
            r[i] = (uint8_t)(below(0x40) | below(2) << 7);
        }
        for (int64_t i = c->format == OCTET_MLA_FP8 ? c->own + c->own / 128 * 4 : 0; i < c->record_bytes; i += 2) {
            r[i + 1] = (uint8_t)(0x3e | below(2) << 7); /* BF16 between 1/8 and 1/2 */
        }
        for (int64_t b = 0; c->format == OCTET_MLA_FP8 && b < c->own / 128; b++) {
            float scale = (float)(1 + below(4)) / 4;
            memcpy(r + c->own + 4 * b, &scale, 4);
        }
    }
    c->records = records;
    g->pages = table;
    return records;
}

/** One sequence behind another's tokens, and a head of it; some of its rows, in one split or several. */
struct problem {
    struct octet_mla_attention c;
    struct octet_mla_group g;
    uint8_t *memory[6];
    uint8_t *records;
    int64_t heads;
};

static void make(struct problem *p, int absorbed, int64_t bf16) {
    memset(p, 0, sizeof *p);
    struct octet_mla_attention *c = &p->c;
    struct octet_mla_group *g = &p->g;
    p->heads = 1 + below(absorbed ? 20 : 3);
    g->queries = absorbed ? 1 + below(3) : ANY(LENGTHS);
    g->keys = below(10) ? ANY(LENGTHS) : 0;
    g->first_query = below(3);
    g->first_token = below(3);
    c->scale = 0.1;
    c->causal = below(4) != 0;
    c->window = c->causal && below(3) == 0 ? ANY(LENGTHS) : 0;
    int64_t tokens = g->first_query + g->queries;
    if (absorbed) {
        p->records = cache(c, g);
        c->rows_per_query = p->heads;
    } else {
        c->own = below(8) ? ANY(DIMS) : 0;
        c->rope = c->own == 0 || below(2) ? ANY(DIMS) : 0;
        c->value_dims = below(8) ? ANY(DIMS) : 0;
        c->rows_per_query = 1;
        c->keys = rows(g->first_token + g->keys, p->heads, c->own, bf16 || below(2), &p->memory[0]);
        c->rope_keys = rows(g->first_token + g->keys, 1, c->rope, bf16 || below(2), &p->memory[1]);
        c->values = rows(g->first_token + g->keys, p->heads, c->value_dims, bf16 || below(2), &p->memory[2]);
    }
    c->query = rows(tokens, p->heads, c->own + c->rope, bf16 || below(2), &p->memory[3]);
    c->out = rows(tokens, p->heads, c->value_dims, below(2), &p->memory[4]);
    if (below(2)) {
        struct octet_mla_rows lse = rows(tokens, p->heads, 1, 0, &p->memory[5]);
        c->lse = (uint8_t *)lse.at;
        c->lse_token = lse.token;
        c->lse_head = lse.head;
    }
    c->groups = g;
}

/** Which keys some rows see together, and their splits. */
static void cut(struct problem *p, int64_t first_row, int64_t rows) {
    const struct octet_mla_attention *c = &p->c;
    struct octet_mla_group *g = &p->g;
    int64_t from = g->keys - g->queries + first_row / c->rows_per_query;
    int64_t to = g->keys - g->queries + (first_row + rows - 1) / c->rows_per_query;
    g->first_row = first_row;
    g->rows = rows;
    g->first_key = c->window && from - c->window + 1 > 0 ? from - c->window + 1 : 0;
    g->first_key = g->first_key < g->keys ? g->first_key : g->keys;
    g->end_key = !c->causal || to + 1 > g->keys ? g->keys : to + 1 < 0 ? 0 : to + 1;
    g->end_key = g->end_key > g->first_key ? g->end_key : g->first_key;
    int64_t keys = g->end_key - g->first_key, most = 1 + below(3);
    g->split_keys = up(keys / most + 1, OCTET_MLA_KEY_STEP);
    g->splits = keys == 0 ? 1 : up(keys, g->split_keys) / g->split_keys;
}

static void finish(struct problem *p, int64_t first_head, int64_t heads, const char *name) {
    for (int64_t i = 0; i < p->g.queries; i++) {
        for (int64_t h = first_head; h < first_head + heads; h++) {
            check_row(&p->c, &p->g, i, h, name);
        }
    }
}

static void free_all(struct problem *p) {
    for (int i = 0; i < 6; i++) {
        free(p->memory[i]);
    }
    free(p->records);
    free((void *)p->g.pages);
}

static void attention(attention_pass *sums, attention_pass *results, int absorbed, int64_t bf16, const char *name) {
    struct problem p;
    make(&p, absorbed, bf16);
    struct octet_mla_group *g = &p.g;
    g->head = absorbed ? 0 : below(p.heads);
    int64_t all = g->queries * p.c.rows_per_query;
    float *work = aligned(OCTET_MLA_WORK(p.c.own, p.c.rope, p.c.value_dims));
    for (int64_t row = 0; row < all; row += OCTET_MLA_ROWS) {
        cut(&p, row, all - row < OCTET_MLA_ROWS ? all - row : OCTET_MLA_ROWS);
        int64_t rows16 = up(g->rows, 16);
        g->partials = aligned(g->splits * rows16 * up(p.c.value_dims, 64) * 4);
        g->stats = aligned(g->splits * 2 * rows16 * 4);
        for (int64_t i = 0; i < g->splits; i++) {
            sums(&p.c, 0, i, work);
        }
        for (int64_t i = 0; g->splits > 1 && i < rows16 / 16; i++) {
            results(&p.c, 0, i, work);
        }
        free(g->partials);
        free(g->stats);
    }
    finish(&p, g->head, absorbed ? p.heads : 1, name);
    free(work);
    free_all(&p);
}

#if defined(__x86_64__)
static void decode(decode_step *pack, decode_step *attend, decode_step *join, const char *name) {
    struct problem p;
    make(&p, 1, 0);
    const struct octet_mla_attention *a = &p.c;
    struct octet_mla_call c = {
        .records = a->records, .format = a->format, .record_bytes = a->record_bytes, .page_size = a->page_size,
        .rank = a->own, .rope = a->rope, .heads = p.heads, .scale = a->scale, .causal = a->causal, .window = a->window,
        .query = a->query.at, .query_bf16 = a->query.bf16, .query_token = a->query.token, .query_head = a->query.head,
        .query_element = a->query.element, .out = (uint8_t *)a->out.at, .out_bf16 = a->out.bf16,
        .out_token = a->out.token, .out_head = a->out.head, .out_element = a->out.element, .lse = a->lse,
        .lse_token = a->lse_token, .lse_head = a->lse_head, .unit_count = 1, .threads = 1 + below(2)};
    struct octet_mla_scratch *scratch = aligned(OCTET_MLA_SCRATCH);
    int64_t all = p.g.queries * p.heads;
    for (int64_t row = 0; row < all; row += OCTET_MLA_ROWS) {
        cut(&p, row, all - row < OCTET_MLA_ROWS ? all - row : OCTET_MLA_ROWS);
        const struct octet_mla_group *g = &p.g;
        int64_t rows16 = up(g->rows, 16);
        struct octet_mla_unit u = {
            .pages = g->pages, .keys = g->keys, .queries = g->queries, .first_query = g->first_query,
            .first_row = g->first_row, .rows = g->rows, .first_key = g->first_key, .end_key = g->end_key,
            .splits = g->splits, .split_keys = g->split_keys, .packed = aligned(rows16 * (a->own + a->rope) * 4),
            .partials = aligned(g->splits * rows16 * a->own * 4), .stats = aligned(g->splits * 2 * rows16 * 4)};
        c.units = &u;
        for (int64_t i = 0; i < up(g->rows, 32) / 32; i++) {
            pack(&c, 0, i, scratch);
        }
        for (int64_t i = 0; i < g->splits; i++) {
            attend(&c, 0, i, scratch);
        }
        for (int64_t i = 0; i < rows16 / 16; i++) {
            join(&c, 0, i, scratch);
        }
        free(u.packed);
        free(u.partials);
        free(u.stats);
    }
    finish(&p, 0, p.heads, name);
    free(scratch);
    free_all(&p);
}
#endif

/** One matrix for each head: its rows have gaps, and only the heads' own memory is there. */
static void heads(heads_pass *pass, const char *name) {
    static const int64_t TOKENS[] = {1, 2, 4, 5, 8, 9, 17, 64, 70};
    struct octet_mla_heads c = {
        .along_n = below(2), .tokens = ANY(TOKENS), .heads = 1 + below(3), .threads = 1 + below(3)};
    int64_t whole = 32 * (1 + below(20)), odd = ANY(LENGTHS);
    c.n = c.along_n ? whole : odd;
    c.k = c.along_n ? odd : whole;
    c.part = up(1 + below(c.n), 32);
    int64_t rows_of = c.along_n ? c.k : c.n, length = c.along_n ? c.n : c.k;
    uint8_t *memory[3];
    struct octet_mla_rows w = rows(c.heads, rows_of, length, 1, &memory[0]);
    while (w.element != 2) {
        free(memory[0]);
        w = rows(c.heads, rows_of, length, 1, &memory[0]);
    }
    c.weight = w.at;
    c.weight_head = w.token;
    c.weight_row = w.head;
    c.x = rows(c.tokens, c.heads, c.k, below(2), &memory[1]);
    c.out = rows(c.tokens, c.heads, c.n, below(2), &memory[2]);
    float *work = aligned(OCTET_MLA_HEADS_WORK(c.k, c.part));
    for (int64_t h = 0; h < c.heads; h++) {
        for (int64_t part = 0; part * c.part < c.n; part++) {
            pass(&c, h, part, work);
        }
    }
    for (int64_t t = 0; t < c.tokens; t++) {
        for (int64_t h = 0; h < c.heads; h++) {
            for (int64_t n = 0; n < c.n; n++) {
                double sum = 0, magnitude = 0;
                for (int64_t k = 0; k < c.k; k++) {
                    double product = value(&w, h, c.along_n ? k : n, c.along_n ? n : k) * value(&c.x, t, h, k);
                    sum += product;
                    magnitude += fabs(product);
                }
                double actual = value(&c.out, t, h, n);
                double bound = (double)c.k * ldexp(magnitude, -23) + (c.out.bf16 ? ldexp(fabs(sum), -8) : 0);
                if (!(fabs(actual - sum) <= bound)) {
                    printf("%s: out[%ld, %ld, %ld] is %g, not %g; %ld by %ld\n", name, (long)t, (long)h, (long)n,
                           actual, sum, (long)c.n, (long)c.k);
                    exit(1);
                }
            }
        }
    }
    free(work);
    for (int i = 0; i < 3; i++) {
        free(memory[i]);
    }
}

static void one_round(int32_t sets) {
#if defined(__x86_64__)
    if (sets & OCTET_AVX2) {
        attention(octet_mla_sums_avx2, octet_mla_results_avx2, 0, 0, "prefill, avx2");
        attention(octet_mla_sums_avx2, octet_mla_results_avx2, 1, 0, "decode, avx2");
        heads(octet_mla_heads_avx2, "heads, avx2");
    }
    if (sets & OCTET_AVX512) {
        attention(octet_mla_sums_avx512, octet_mla_results_avx512, 0, 0, "prefill, avx512");
        heads(octet_mla_heads_avx512, "heads, avx512");
        decode(octet_mla_pack_avx512, octet_mla_attend_avx512, octet_mla_join_avx512, "decode, avx512");
    }
    if (sets & OCTET_AVX512_BF16) {
        attention(octet_mla_sums_avx512bf16, octet_mla_results_avx512bf16, 0, 1, "prefill, avx512bf16");
        decode(octet_mla_pack_avx512bf16, octet_mla_attend_avx512bf16, octet_mla_join_avx512bf16,
               "decode, avx512bf16");
    }
#endif
}
