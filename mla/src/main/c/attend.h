/*
 * Attention with a running softmax, in the naive form and over a paged cache, for one instruction set. A file that
 * includes this has defined SUFFIX, has included the vectors (lanes_*.h), and says in UNIT_DIMS of how many dimensions
 * the products of scores are made at a time: of one in FP32, or of two in BF16.
 *
 * Schedule of a split: queries of the unit, up to 128 rows, are packed to [panel][unit][row]; then for each chunk of at
 * most 96 keys these are brought into rows of units and values into rows of FP32, and for each panel of two vectors of
 * rows (or one) that sees any of them
 *
 *   scores   s[key][row] = SUM over d of q[row][d] * k[key][d]: lanes along the rows, a unit of a key is broadcast
 *   mask     only where a row does not see all of the keys; a panel takes only those that any of its rows sees
 *   weights  maximum, 2^x, sum: each lane is a row
 *   values   o[row][d] = alpha[row] * o[row][d] + SUM over keys of s[key][row] * v[key][d]: lanes along the values
 *
 * Between tiles of scores keys of the next chunk are fetched. Sums of a chunk start from 0
 * and are then added to the row's, those of 128 dimensions likewise, so that rounding errors grow with 96 + keys / 96
 * steps. Nothing is ever added across lanes.
 *
 * Numbers that are not finite: products and sums make of them what they are by the definition, but for values that a
 * row does not see, whose weight of 0 would make a NaN. If a panel is masked and the chunk has such values, they are
 * added key by key, only to rows that see them.
 */
#include "ln.h"
#include "rows.h"

enum { STRIPE_DIMS = STRIPE_VECTORS * LANES, BLOCK_UNITS = BLOCK / UNIT_DIMS };

#define NAME2(name, suffix) octet_mla_##name##_##suffix
#define NAME1(name, suffix) NAME2(name, suffix)
#define PASS(name)                                                                                                     \
    void NAME1(name, SUFFIX)(const struct octet_mla_attention *c, int64_t group, int64_t task, float *work)

struct fixed {
    float s[CHUNK][PANEL] __attribute__((aligned(64)));                 /* scores, then weights */
    float alpha[PANEL] __attribute__((aligned(64)));
    float max[OCTET_MLA_ROWS] __attribute__((aligned(64)));
    float sum[OCTET_MLA_ROWS] __attribute__((aligned(64)));
    int32_t first[OCTET_MLA_ROWS] __attribute__((aligned(64)));         /* the keys that a row sees */
    int32_t end[OCTET_MLA_ROWS] __attribute__((aligned(64)));
};

_Static_assert(sizeof(struct fixed) <= OCTET_MLA_FIXED_WORK, "working memory is too small");

/** Working memory of a task, and of which lengths its rows are. */
struct work {
    struct fixed *fixed;
    int64_t units;       /* of a query or key, each 4 bytes */
    int64_t key_pitch;   /* an odd number of lines of 64 bytes, so that keys spread over the first-level cache's sets */
    int64_t value_pitch; /* likewise */
    int64_t sum_pitch;   /* values, rounded up to 64 */
    float *q;
    float *k;
    float *v;
    float *o;
};

INLINE int64_t round_up(int64_t n, int64_t step) {
    return (n + step - 1) / step * step;
}

static struct work work_in(const struct octet_mla_attention *c, float *memory) {
    struct work w;
    w.fixed = (struct fixed *)(void *)memory;
    w.units = (c->own + c->rope + UNIT_DIMS - 1) / UNIT_DIMS;
    w.key_pitch = round_up(w.units - 16, 32) + 16;
    w.sum_pitch = round_up(c->value_dims, 64);
    w.value_pitch = c->absorbed ? w.key_pitch : w.sum_pitch + 16;
    w.q = memory + OCTET_MLA_FIXED_WORK / 4;
    w.k = w.q + OCTET_MLA_ROWS * round_up(w.units, 16);
    w.v = c->absorbed ? w.k : w.k + CHUNK * w.key_pitch;
    w.o = (c->absorbed ? w.k + CHUNK * w.key_pitch : w.v + CHUNK * w.value_pitch);
    return w;
}

/* ---------------------------------------------------------------------------------------------------------- weights */

/** 2^x for x <= 0: the polynomial of least relative error on [-1/2, 1/2], 2^-28.9, with rounded coefficients. */
INLINE vec exp2_of(vec x) {
    const vec round = v_all(0x1.8p23f + 127);
    vec shifted = v_add(x, round);
    vec f = v_sub(x, v_sub(shifted, round));
    vec y = v_fma(f, v_all(0x1.41fbbcp-13f), v_all(0x1.5f3e52p-10f));
    y = v_fma(y, f, v_all(0x1.3b2d4cp-7f));
    y = v_fma(y, f, v_all(0x1.c6aee8p-5f));
    y = v_fma(y, f, v_all(0x1.ebfbdcp-3f));
    y = v_fma(y, f, v_all(0x1.62e43p-1f));
    y = v_fma(y, f, v_all(1));
    /* A product, not a sum of bits, so that a NaN stays one. */
    return v_unless_below(v_mul(y, v_exponent(shifted)), x, -126);
}

static void mask(float *s, int64_t keys, int64_t first_key, const int32_t *first, const int32_t *end) {
    for (int64_t j = 0; j < keys; j++) {
        v_store(s + j * PANEL, v_mask(v_load(s + j * PANEL), first, end, (int32_t)(first_key + j)));
    }
}

/** Scores of a vector of rows become weights. */
static void weights(float *s, int64_t keys, float factor, float *max, float *sum, float *alpha) {
    vec old = v_load(max);
    vec m = old;
    for (int64_t j = 0; j < keys; j++) {
        m = v_max(v_load(s + j * PANEL), m);
    }
    v_store(max, m);
    vec reference = v_if_none(m, m, v_all(0));
    vec by = v_all(factor);
    vec total = v_all(0);
    for (int64_t j = 0; j < keys; j++) {
        vec w = exp2_of(v_mul(v_sub(v_load(s + j * PANEL), reference), by));
        total = v_add(total, w);
        v_store(s + j * PANEL, w);
    }
    vec decay = exp2_of(v_mul(v_sub(old, reference), by));
    v_store(sum, v_fma(v_load(sum), decay, total));
    v_store(alpha, decay);
}

/* -------------------------------------------------------------------------------------------------- keys and values */

/** Part of a row as units, from dimension d on. */
INLINE void load_units(const uint8_t *at, int64_t bf16, int64_t stride, int64_t n, float *row, int64_t d) {
#if UNIT_DIMS == 1
    load_floats(at, bf16, stride, n, row + d);
#else
    (void)bf16;
    uint8_t *to = (uint8_t *)row + 2 * d;
    int64_t i = 0;
    for (; stride == 2 && i + 2 * LANES <= n; i += 2 * LANES) {
        v_storeu(to + 2 * i, v_loadu(at + 2 * i));
    }
    for (; i < n; i++) {
        memcpy(to + 2 * i, at + i * stride, 2);
    }
#endif
}

static const uint8_t *record(const struct octet_mla_attention *c, const struct octet_mla_group *g, int64_t key) {
    return c->records + ((int64_t)g->pages[key / c->page_size] * c->page_size + key % c->page_size) * c->record_bytes;
}

/** The key of a record as floats. */
static void load_record(const struct octet_mla_attention *c, const uint8_t *from, float *to) {
    if (c->format == OCTET_MLA_BF16) {
        load_floats(from, 1, 2, c->own + c->rope, to);
        return;
    }
    for (int64_t b = 0; b < c->own; b += BLOCK) {
        float scale;
        memcpy(&scale, from + c->own + b / BLOCK * 4, 4);
        vec by = v_all(scale);
        for (int64_t d = b; d < b + BLOCK; d += LANES) {
            v_storeu(to + d, v_decode(from + d, by));
        }
    }
    load_floats(from + c->own + c->own / BLOCK * 4, 1, 2, c->rope, to + c->own);
}

/** Brings some keys and their values into rows; behind the last ones are zeros. */
static void load_keys(const struct octet_mla_attention *c, const struct octet_mla_group *g, const struct work *w,
        int64_t key, int64_t keys) {
    for (int64_t j = 0; j < keys; j++) {
        float *k = w->k + j * w->key_pitch, *v = w->v + j * w->value_pitch;
        if (c->absorbed) {
            load_record(c, record(c, g, key + j), k);
            continue;
        }
        int64_t token = g->first_token + key + j;
        if (UNIT_DIMS == 2) {
            k[w->units - 1] = 0; /* half of it may stay so */
        }
        load_units(c->keys.at + token * c->keys.token + g->head * c->keys.head, c->keys.bf16, c->keys.element, c->own,
                k, 0);
        load_units(c->rope_keys.at + token * c->rope_keys.token, c->rope_keys.bf16, c->rope_keys.element, c->rope, k,
                c->own);
        load_floats(c->values.at + token * c->values.token + g->head * c->values.head, c->values.bf16,
                c->values.element, c->value_dims, v);
        for (int64_t d = c->value_dims; d < w->sum_pitch; d++) {
            v[d] = 0;
        }
    }
    for (int64_t j = keys; j < round_up(keys, 2 * KEYS); j++) {
        memset(w->k + j * w->key_pitch, 0, (size_t)w->units * 4);
    }
}

static int values_are_finite(const struct octet_mla_attention *c, const struct work *w, int64_t keys) {
    vec probe = v_all(0);
    for (int64_t j = 0; j < keys; j++) {
        const float *v = w->v + j * w->value_pitch;
        for (int64_t d = 0; d < round_up(c->value_dims, LANES); d += LANES) {
            probe = v_fma(v_load(v + d), v_all(0), probe);
        }
    }
    return !v_any_nan(probe);
}

/** Keys that are needed soon. */
struct upcoming {
    int64_t key;
    int64_t end;
    int64_t each; /* to be fetched for each tile of scores */
};

INLINE void prefetch_row(const uint8_t *at, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)at + i, _MM_HINT_T0);
    }
}

INLINE void prefetch_next(const struct octet_mla_attention *c, const struct octet_mla_group *g, struct upcoming *a) {
    for (int64_t i = 0; i < a->each && a->key < a->end; i++, a->key++) {
        if (c->absorbed) {
            prefetch_row(record(c, g, a->key), c->record_bytes);
            continue;
        }
        int64_t token = g->first_token + a->key;
        if (c->keys.element <= 4) {
            prefetch_row(c->keys.at + token * c->keys.token + g->head * c->keys.head, c->own * c->keys.element);
        }
        if (c->values.element <= 4) {
            prefetch_row(c->values.at + token * c->values.token + g->head * c->values.head,
                    c->value_dims * c->values.element);
        }
    }
}

/* ----------------------------------------------------------------------------------------------------------- scores */

INLINE vec v_dot(vec x, vec y, vec sum) {
#if UNIT_DIMS == 1
    return v_fma(x, y, sum);
#else
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
#endif
}

/** s[key][row] = (or +=) SUM over d of q[d][row] * k[key][d]: VECTORS of rows by COUNT keys. */
INLINE void score_tile(const int VECTORS, const int COUNT, const float *q, const float *k, int64_t pitch, int64_t units,
        float *s, int add) {
    vec acc[2 * KEYS];
#pragma GCC unroll 24
    for (int i = 0; i < VECTORS * COUNT; i++) {
        acc[i] = v_all(0);
    }
    for (int64_t d = 0; d < units; d++) {
        vec x[2];
#pragma GCC unroll 2
        for (int r = 0; r < VECTORS; r++) {
            x[r] = v_load(q + LANES * r);
        }
#pragma GCC unroll 24
        for (int j = 0; j < COUNT; j++) {
            vec y = v_all(k[j * pitch]);
#pragma GCC unroll 2
            for (int r = 0; r < VECTORS; r++) {
                acc[j * VECTORS + r] = v_dot(x[r], y, acc[j * VECTORS + r]);
            }
        }
        q += LANES * VECTORS;
        k++;
    }
#pragma GCC unroll 24
    for (int j = 0; j < COUNT; j++) {
#pragma GCC unroll 2
        for (int r = 0; r < VECTORS; r++) {
            float *at = s + j * PANEL + r * LANES;
            v_store(at, add ? v_add(acc[j * VECTORS + r], v_load(at)) : acc[j * VECTORS + r]);
        }
    }
}

static void score_2(const float *q, const float *k, int64_t pitch, int64_t units, float *s, int add) {
    score_tile(2, KEYS, q, k, pitch, units, s, add);
}

static void score_1(const float *q, const float *k, int64_t pitch, int64_t units, float *s, int add) {
    score_tile(1, 2 * KEYS, q, k, pitch, units, s, add);
}

/** Scores of a panel and of keys [from, to), rounded up to a tile. */
static void scores(const struct octet_mla_attention *c, const struct octet_mla_group *g, const struct work *w,
        const float *q, int vectors, int64_t from, int64_t to, struct upcoming *a) {
    for (int64_t d = 0; d < w->units; d += BLOCK_UNITS) {
        int64_t units = w->units - d < BLOCK_UNITS ? w->units - d : BLOCK_UNITS;
        for (int64_t j = from; j < to; j += vectors == 2 ? KEYS : 2 * KEYS) {
            (vectors == 2 ? score_2 : score_1)(q, w->k + j * w->key_pitch + d, w->key_pitch, units, w->fixed->s[j],
                    d > 0);
            prefetch_next(c, g, a);
        }
        q += units * vectors * LANES;
    }
}

/* ----------------------------------------------------------------------------------------------------------- values */

/** o[row][d] = alpha[row] * o[row][d] + SUM over keys of p[key][row] * v[key][d]: ROWS rows by a stripe. */
INLINE void value_tile(const int ROWS, const float *p, const float *v, int64_t pitch, int64_t keys, const float *alpha,
        float *o, int64_t sum_pitch) {
    vec acc[6 * STRIPE_VECTORS];
#pragma GCC unroll 24
    for (int i = 0; i < STRIPE_VECTORS * ROWS; i++) {
        acc[i] = v_all(0);
    }
    for (int64_t j = 0; j < keys; j++) {
        vec x[STRIPE_VECTORS];
#pragma GCC unroll 4
        for (int i = 0; i < STRIPE_VECTORS; i++) {
            x[i] = v_load(v + LANES * i);
        }
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            vec y = v_all(p[r]);
#pragma GCC unroll 4
            for (int i = 0; i < STRIPE_VECTORS; i++) {
                acc[STRIPE_VECTORS * r + i] = v_fma(x[i], y, acc[STRIPE_VECTORS * r + i]);
            }
        }
        v += pitch;
        p += PANEL;
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        vec factor = v_all(alpha[r]);
#pragma GCC unroll 4
        for (int i = 0; i < STRIPE_VECTORS; i++) {
            float *at = o + r * sum_pitch + LANES * i;
            v_store(at, v_fma(v_load(at), factor, acc[STRIPE_VECTORS * r + i]));
        }
    }
}

static void values_6(const float *p, const float *v, int64_t pitch, int64_t keys, const float *alpha, float *o,
        int64_t sum_pitch) {
    value_tile(6, p, v, pitch, keys, alpha, o, sum_pitch);
}

static void values_4(const float *p, const float *v, int64_t pitch, int64_t keys, const float *alpha, float *o,
        int64_t sum_pitch) {
    value_tile(4, p, v, pitch, keys, alpha, o, sum_pitch);
}

static void values(const struct octet_mla_attention *c, const struct work *w, int vectors, int64_t from, int64_t to,
        float *o) {
    const int64_t rows = vectors * LANES, sixes = rows / 16 * 12;
    const float *p = w->fixed->s[from], *alpha = w->fixed->alpha;
    for (int64_t d = 0; d < c->value_dims; d += STRIPE_DIMS) {
        const float *v = w->v + from * w->value_pitch + d;
        int64_t r = 0;
        for (; r < sixes; r += 6) {
            values_6(p + r, v, w->value_pitch, to - from, alpha + r, o + r * w->sum_pitch + d, w->sum_pitch);
        }
        for (; r < rows; r += 4) {
            values_4(p + r, v, w->value_pitch, to - from, alpha + r, o + r * w->sum_pitch + d, w->sum_pitch);
        }
    }
}

/** The same if there are values that are not finite, and rows that don't see all of them. */
static void add_slowly(const struct octet_mla_attention *c, const struct work *w, int64_t row, int vectors, int64_t key,
        int64_t from, int64_t to, float *o) {
    for (int64_t r = 0; r < vectors * LANES; r++, o += w->sum_pitch) {
        for (int64_t d = 0; d < c->value_dims; d += LANES) {
            vec sum = v_mul(v_load(o + d), v_all(w->fixed->alpha[r]));
            for (int64_t j = from; j < to; j++) {
                if (w->fixed->first[row + r] <= key + j && key + j < w->fixed->end[row + r]) {
                    sum = v_fma(v_all(w->fixed->s[j][r]), v_load(w->v + j * w->value_pitch + d), sum);
                }
            }
            v_store(o + d, sum);
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- queries */

INLINE int64_t token_of(const struct octet_mla_attention *c, const struct octet_mla_group *g, int64_t r) {
    return g->first_query + (g->first_row + r) / c->rows_per_query;
}
INLINE int64_t head_of(const struct octet_mla_attention *c, const struct octet_mla_group *g, int64_t r) {
    return g->head + (g->first_row + r) % c->rows_per_query;
}

/** Packs all rows to [panel][unit][row], rows that are not there as zeros. */
static void pack(const struct octet_mla_attention *c, const struct octet_mla_group *g, const struct work *w) {
    const int64_t padded = round_up(g->rows, LANES), pitch = round_up(w->units, 16);
    float *x = w->k; /* which nobody needs yet */
    for (int64_t r = 0; r < padded; r += LANES) {
        memset(x, 0, (size_t)(LANES * pitch) * 4);
        for (int64_t i = 0; i < LANES && r + i < g->rows; i++) {
            load_units(c->query.at + token_of(c, g, r + i) * c->query.token + head_of(c, g, r + i) * c->query.head,
                    c->query.bf16, c->query.element, c->own + c->rope, x + i * pitch, 0);
        }
        int64_t first = r / PANEL * PANEL, width = padded - first < PANEL ? padded - first : PANEL;
        float *to = w->q + first * w->units + (r - first);
        for (int64_t d = 0; d < w->units; d += LANES) {
            vec y[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++) {
                y[i] = v_loadu(x + i * pitch + d);
            }
            v_transpose(y);
            for (int64_t i = 0; i < LANES && d + i < w->units; i++) {
                v_store(to, y[i]);
                to += width;
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- results */

INLINE int64_t position(const struct octet_mla_attention *c, const struct octet_mla_group *g, int64_t r) {
    return g->keys - g->queries + (g->first_row + r) / c->rows_per_query;
}
INLINE int64_t first_seen(const struct octet_mla_attention *c, int64_t position) {
    return c->window && position - c->window + 1 > 0 ? position - c->window + 1 : 0;
}
INLINE int64_t end_seen(const struct octet_mla_attention *c, int64_t position, int64_t keys) {
    return !c->causal || position + 1 > keys ? keys : position + 1 < 0 ? 0 : position + 1;
}

/** Writes a row and its log-sum-exp. */
static void write(const struct octet_mla_attention *c, const struct octet_mla_group *g, int64_t r, const float *x,
        float max, float sum) {
    int64_t at = position(c, g, r), token = token_of(c, g, r), head = head_of(c, g, r);
    int nothing = first_seen(c, at) >= end_seen(c, at, g->keys);
    uint8_t *to = (uint8_t *)c->out.at + token * c->out.token + head * c->out.head;
    for (int64_t d = 0; d < c->value_dims; d += LANES) {
        store_floats(nothing ? v_all(0) : v_load(x + d), c->value_dims - d, to + d * c->out.element, c->out.bf16,
                c->out.element);
    }
    if (c->lse) {
        float lse = nothing ? __builtin_inff() : sum > 0 ? (float)((double)max * c->scale + ln(sum))
                : sum == 0 ? -__builtin_inff() : sum;
        memcpy(c->lse + token * c->lse_token + head * c->lse_head, &lse, 4);
    }
}

PASS(results) {
    const struct octet_mla_group *g = c->groups + group;
    const struct work w = work_in(c, work);
    const int64_t rows16 = round_up(g->rows, 16), last = g->rows - 16 * task < 16 ? g->rows - 16 * task : 16;
    const vec factor = v_all((float)(c->scale * 1.4426950408889634));
    for (int64_t i = 0; i < last; i += LANES) {
        const float *stats = g->stats + 16 * task + i;
        vec m = v_all(-__builtin_inff()), sum = v_all(0);
        for (int64_t s = 0; s < g->splits; s++) {
            m = v_max(v_load(stats + 2 * s * rows16), m);
        }
        for (int64_t s = 0; s < g->splits; s++) {
            vec mine = v_load(stats + 2 * s * rows16);
            vec x = exp2_of(v_mul(v_sub(mine, m), factor));
            /* All scores were -Infinity, NaN or not seen: a sum is 0 or NaN, and is to stay so. */
            x = v_if_none(x, mine, v_all(1));
            v_store(w.fixed->s[s], x);
            sum = v_fma(x, v_load(stats + (2 * s + 1) * rows16), sum);
        }
        for (int64_t s = 0; s < g->splits; s++) {
            v_store(w.fixed->s[s], v_div(v_load(w.fixed->s[s]), sum));
        }
        v_store(w.fixed->max, m);
        v_store(w.fixed->sum, sum);
        for (int64_t r = 0; r < LANES && i + r < last; r++) {
            for (int64_t d = 0; d < c->value_dims; d += LANES) {
                vec acc = v_all(0);
                for (int64_t s = 0; s < g->splits; s++) {
                    acc = v_fma(v_all(w.fixed->s[s][r]),
                            v_load(g->partials + (s * rows16 + 16 * task + i + r) * w.sum_pitch + d), acc);
                }
                v_store(w.o + d, acc);
            }
            write(c, g, 16 * task + i + r, w.o, w.fixed->max[r], w.fixed->sum[r]);
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- a split */

PASS(sums) {
    const struct octet_mla_group *g = c->groups + group;
    const struct work w = work_in(c, work);
    struct fixed *f = w.fixed;
    const float factor = (float)(c->scale * 1.4426950408889634);
    const int64_t padded = round_up(g->rows, LANES), rows16 = round_up(g->rows, 16);
    float *o = g->splits == 1 ? w.o : g->partials + task * rows16 * w.sum_pitch;
    memset(o, 0, (size_t)(padded * w.sum_pitch) * 4);
    for (int64_t r = 0; r < padded; r++) {
        f->max[r] = -__builtin_inff();
        f->sum[r] = 0;
        int64_t at = position(c, g, r);
        f->first[r] = r < g->rows ? (int32_t)first_seen(c, at) : 0;
        f->end[r] = r < g->rows ? (int32_t)end_seen(c, at, g->keys) : INT32_MAX;
    }
    pack(c, g, &w);
    const int64_t from = g->first_key + task * g->split_keys;
    const int64_t to = from + g->split_keys < g->end_key ? from + g->split_keys : g->end_key;
    const int64_t chunks = (to - from + CHUNK - 1) / CHUNK;
    const int64_t step = chunks == 0 ? 1 : round_up((to - from + chunks - 1) / chunks, 2 * KEYS);
    for (int64_t key = from; key < to; key += step) {
        int64_t keys = to - key < step ? to - key : step;
        int64_t tiles = round_up(keys, KEYS) / KEYS * ((padded + PANEL - 1) / PANEL)
                * ((w.units + BLOCK_UNITS - 1) / BLOCK_UNITS);
        struct upcoming a = {key + keys, key + 2 * keys < to ? key + 2 * keys : to, 0};
        a.each = (a.end - a.key + tiles - 1) / tiles;
        load_keys(c, g, &w, key, keys);
        int finite = -1;
        for (int64_t row = 0; row < padded; row += PANEL) {
            int vectors = padded - row >= PANEL ? 2 : 1;
            int64_t last = (row + PANEL < g->rows ? row + PANEL : g->rows) - 1;
            int64_t begin = f->first[row] > key ? (f->first[row] - key) / (2 * KEYS) * (2 * KEYS) : 0;
            int64_t end = f->end[last] < key + keys ? f->end[last] - key : keys;
            if (begin >= end) {
                continue;
            }
            scores(c, g, &w, w.q + row * w.units, vectors, begin, end, &a);
            int masked = f->first[last] > key + begin || f->end[row] < key + end;
            for (int r = 0; r < vectors; r++) {
                int64_t at = row + LANES * r;
                if (masked) {
                    mask(f->s[begin] + LANES * r, end - begin, key + begin, f->first + at, f->end + at);
                }
                weights(f->s[begin] + LANES * r, end - begin, factor, f->max + at, f->sum + at, f->alpha + LANES * r);
            }
            if (masked && finite < 0) {
                finite = values_are_finite(c, &w, keys);
            }
            if (masked && !finite) {
                add_slowly(c, &w, row, vectors, key, begin, end, o + row * w.sum_pitch);
            } else {
                values(c, &w, vectors, begin, end, o + row * w.sum_pitch);
            }
        }
    }
    if (g->splits > 1) {
        memcpy(g->stats + task * 2 * rows16, f->max, (size_t)padded * 4);
        memcpy(g->stats + (task * 2 + 1) * rows16, f->sum, (size_t)padded * 4);
        return;
    }
    for (int64_t r = 0; r < g->rows; r++) {
        vec inverse = v_all(1 / f->sum[r]);
        for (int64_t d = 0; d < c->value_dims; d += LANES) {
            v_store(o + r * w.sum_pitch + d, v_mul(v_load(o + r * w.sum_pitch + d), inverse));
        }
        write(c, g, r, o + r * w.sum_pitch, f->max[r], f->sum[r]);
    }
}
