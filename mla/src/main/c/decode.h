/*
 * Decode with AVX-512, whatever the products are made of. A file that includes this has defined SUFFIX, and how keys
 * are kept and multiplied:
 *
 *   struct keys      a chunk of keys in the form that products take
 *   load_keys        fills it, but for what block_of and convert do
 *   block_of         a block of dimensions of a group of keys, and convert, which brings some of them into that form
 *   pack_rows        brings 16 queries into the form that products take
 *   score_block      s[key][row] += SUM over d of query[row][d] * key[d], of a block and a group
 *   values           o[row][d] = alpha[row] * o[row][d] + SUM over keys of s[key][row] * key[d]
 *
 * Schedule of a split: chunks of at most 96 keys. The first panel's scores are made group by group of 24 keys; in
 * passing records of the next group, of this chunk or the next, are prefetched, and the next block of dimensions is
 * brought into the form that products take. So only a thread's very first keys are waited for. For each panel of 32 rows
 * (or the last 16) scores, mask, weights, sums of values. Lanes lie along the rows in scores and weights, along the
 * dimensions in values: nothing is ever added across lanes. Sums of a chunk start from 0 and are then added to the
 * row's, so that rounding errors grow with 96 + keys / 96 steps.
 *
 * Numbers that are not finite: if a score of a panel is none, the panel's part of the chunk is done again from FP32,
 * key by key, values of a key only for rows that see it. So neither the way in which operands are split nor a masked
 * weight of 0 makes a NaN where there is none by the definition. A key or a query that is not finite makes scores that
 * are not.
 */
#include <immintrin.h>
#include <string.h>

#include "ln.h"

struct octet_mla_scratch {
    float s[CHUNK + 1][PANEL] __attribute__((aligned(64)));             /* scores, then weights */
    float alpha[PANEL] __attribute__((aligned(64)));
    int32_t first[MAX_ROWS] __attribute__((aligned(64)));               /* the keys that a row sees */
    int32_t end[MAX_ROWS] __attribute__((aligned(64)));
    float x[PANEL][MAX_DIMS] __attribute__((aligned(64)));              /* queries, or a line of the result */
    float key[MAX_DIMS] __attribute__((aligned(64)));
    const uint8_t *tokens[CHUNK + GROUP + 1];                           /* records of a chunk and what follows; null */
    struct keys k;
};

_Static_assert(sizeof(struct octet_mla_scratch) <= OCTET_MLA_SCRATCH, "working memory is too small");

#define NAME2(name, suffix) octet_mla_##name##_##suffix
#define NAME1(name, suffix) NAME2(name, suffix)
#define STEP(name)                                                                                                     \
    void NAME1(name, SUFFIX)(const struct octet_mla_call *c, int64_t unit, int64_t task, struct octet_mla_scratch *w)

/* ---------------------------------------------------------------------------------------------------------- weights */

/** 2^x for x <= 0: the polynomial of least relative error on [-1/2, 1/2], 2^-28.9, with rounded coefficients. */
INLINE __m512 exp2_ps(__m512 x) {
    const __m512 round = _mm512_set1_ps(0x1.8p23f + 127);
    __m512 shifted = _mm512_add_ps(x, round);
    __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, round));
    __m512 y = _mm512_fmadd_ps(f, _mm512_set1_ps(0x1.41fbbcp-13f), _mm512_set1_ps(0x1.5f3e52p-10f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.3b2d4cp-7f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.c6aee8p-5f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.ebfbdcp-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(0x1.62e43p-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(1));
    y = _mm512_mul_ps(y, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(shifted), 23)));
    /* A product, not a sum of bits, so that a NaN stays one. */
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(-126), _CMP_LT_OQ), y, _mm512_setzero_ps());
}

static int all_finite(float (*s)[PANEL], int vectors, int64_t keys) {
    __m512 probe = _mm512_setzero_ps();
    for (int64_t j = 0; j < keys; j++) {
        for (int r = 0; r < vectors; r++) {
            probe = _mm512_fmadd_ps(_mm512_load_ps(s[j] + 16 * r), _mm512_setzero_ps(), probe);
        }
    }
    return _mm512_cmp_ps_mask(probe, probe, _CMP_UNORD_Q) == 0;
}

static void mask(float *s, int64_t keys, int64_t first_key, const int32_t *first, const int32_t *end) {
    __m512i from = _mm512_load_si512(first), to = _mm512_load_si512(end);
    for (int64_t j = 0; j < keys; j++) {
        __m512i key = _mm512_set1_epi32((int)(first_key + j));
        __mmask16 seen = _mm512_cmple_epi32_mask(from, key) & _mm512_cmpgt_epi32_mask(to, key);
        _mm512_store_ps(s + j * PANEL,
                _mm512_mask_blend_ps(seen, _mm512_set1_ps(-__builtin_inff()), _mm512_load_ps(s + j * PANEL)));
    }
}

/** Scores of 16 rows become weights. */
static void weights(float *s, int64_t keys, float factor, float *max, float *sum, float *alpha) {
    const __m512 none = _mm512_set1_ps(-__builtin_inff());
    __m512 old = _mm512_load_ps(max);
    __m512 m = old;
    for (int64_t j = 0; j < keys; j++) {
        __m512 x = _mm512_load_ps(s + j * PANEL);
        m = _mm512_max_ps(x, m); /* the second one if the first is a NaN */
    }
    _mm512_store_ps(max, m);
    __m512 reference = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(m, none, _CMP_EQ_OQ), m, _mm512_setzero_ps());
    __m512 by = _mm512_set1_ps(factor);
    __m512 total = _mm512_setzero_ps();
    for (int64_t j = 0; j < keys; j++) {
        __m512 w = exp2_ps(_mm512_mul_ps(_mm512_sub_ps(_mm512_load_ps(s + j * PANEL), reference), by));
        total = _mm512_add_ps(total, w);
        _mm512_store_ps(s + j * PANEL, w);
    }
    __m512 decay = exp2_ps(_mm512_mul_ps(_mm512_sub_ps(old, reference), by));
    __m512 sums = _mm512_load_ps(sum);
    _mm512_store_ps(sum, _mm512_fmadd_ps(sums, decay, total));
    _mm512_store_ps(alpha, decay);
}

/* ---------------------------------------------------------------------------------------------------------- records */

INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/** Where the records of some tokens are, and a null behind the last. */
static void find_tokens(const struct octet_mla_call *c, const struct octet_mla_unit *u, int64_t key, int64_t keys,
        const uint8_t **to) {
    int64_t page = key / c->page_size, slot = key % c->page_size;
    const uint8_t *at = 0;
    for (int64_t j = 0; j < keys; j++) {
        if (j == 0 || slot == c->page_size) {
            page += j != 0;
            slot = j == 0 ? slot : 0;
            at = c->records + ((int64_t)u->pages[page] * c->page_size + slot) * c->record_bytes;
        }
        to[j] = at;
        at += c->record_bytes;
        slot++;
    }
    to[keys] = 0;
}

/* ------------------------------------------------------------------------------------------------------- not finite */

INLINE int64_t position(const struct octet_mla_call *c, const struct octet_mla_unit *u, int64_t row) {
    return u->keys - u->queries + (u->first_row + row) / c->heads;
}
INLINE int64_t first_seen(const struct octet_mla_call *c, int64_t position) {
    return c->window && position - c->window + 1 > 0 ? position - c->window + 1 : 0;
}
INLINE int64_t end_seen(const struct octet_mla_call *c, int64_t position, int64_t keys) {
    return !c->causal || position + 1 > keys ? keys : position + 1 < 0 ? 0 : position + 1;
}

/** One row of a tensor as floats, zeros behind it. */
static void load_row(const uint8_t *at, int64_t bf16, int64_t stride, int64_t dims, float *to) {
    int64_t d = 0;
    if (bf16 && stride == 2) {
        for (; d + 16 <= dims; d += 16) {
            __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(at + 2 * d)));
            _mm512_store_si512(to + d, _mm512_slli_epi32(x, 16));
        }
    } else if (!bf16 && stride == 4) {
        for (; d + 16 <= dims; d += 16) {
            _mm512_store_ps(to + d, _mm512_loadu_ps(at + 4 * d));
        }
    }
    for (; d < dims; d++) {
        if (bf16) {
            uint16_t half;
            memcpy(&half, at + d * stride, 2);
            uint32_t bits = (uint32_t)half << 16;
            memcpy(to + d, &bits, 4);
        } else {
            memcpy(to + d, at + d * stride, 4);
        }
    }
    for (; d < MAX_DIMS; d++) {
        to[d] = 0;
    }
}

/** The query of a row as floats; zeros for a row that is not there. */
static void load_query(const struct octet_mla_call *c, const struct octet_mla_unit *u, int64_t r, float *to) {
    int64_t row = u->first_row + r;
    load_row(c->query + (u->first_query + row / c->heads) * c->query_token + row % c->heads * c->query_head,
            c->query_bf16, c->query_element, r < u->rows ? c->rank + c->rope : 0, to);
}

/** One key as floats, zeros behind it. */
static void load_key(const struct octet_mla_call *c, const uint8_t *record, float *to) {
    if (c->format == OCTET_MLA_BF16) {
        load_row(record, 1, 2, c->rank + c->rope, to);
        return;
    }
    uint16_t latent[MAX_DIMS] __attribute__((aligned(64)));
    decode_codes(record, c->rank, latent);
    load_row((const uint8_t *)latent, 1, 2, c->rank, to);
    for (int64_t d = 0; d < c->rank; d++) {
        float scale;
        memcpy(&scale, record + c->rank + d / BLOCK * 4, 4);
        to[d] *= scale;
    }
    float rope[MAX_DIMS] __attribute__((aligned(64)));
    load_row(record + c->rank + c->rank / BLOCK * 4, 1, 2, c->rope, rope);
    memcpy(to + c->rank, rope, (size_t)c->rope * 4);
}

static float dot(const float *x, const float *y) {
    __m512 sum = _mm512_setzero_ps();
    for (int64_t d = 0; d < MAX_DIMS; d += 16) {
        sum = _mm512_fmadd_ps(_mm512_load_ps(x + d), _mm512_load_ps(y + d), sum);
    }
    return _mm512_reduce_add_ps(sum);
}

/**
 * Scores of a panel whose products of sums of BF16 are not all finite, from FP32: an infinity that is the sum of two
 * BF16 numbers times another one may have become a NaN.
 */
static void score_slowly(const struct octet_mla_call *c, const struct octet_mla_unit *u, struct octet_mla_scratch *w,
        int64_t row, int vectors, const uint8_t *const *token, int64_t keys) {
    for (int64_t r = 0; r < 16 * vectors; r++) {
        load_query(c, u, row + r, w->x[r]);
    }
    for (int64_t j = 0; j < keys; j++) {
        load_key(c, token[j], w->key);
        for (int64_t r = 0; r < 16 * vectors; r++) {
            w->s[j][r] = dot(w->x[r], w->key);
        }
    }
}

/** Values of such a panel: only those that a row sees, since 0 times a NaN would be one. */
static void add_slowly(const struct octet_mla_call *c, struct octet_mla_scratch *w, int64_t row, int vectors,
        const uint8_t *const *token, int64_t key, int64_t keys, float *o) {
    for (int64_t r = 0; r < 16 * vectors; r++) {
        float *to = o + (row + r) * c->rank;
        __m512 alpha = _mm512_set1_ps(w->alpha[r]);
        for (int64_t d = 0; d < c->rank; d += 16) {
            _mm512_store_ps(to + d, _mm512_mul_ps(_mm512_load_ps(to + d), alpha));
        }
    }
    for (int64_t j = 0; j < keys; j++) {
        load_key(c, token[j], w->key);
        for (int64_t r = 0; r < 16 * vectors; r++) {
            float *to = o + (row + r) * c->rank;
            __m512 p = _mm512_set1_ps(w->s[j][r]);
            for (int64_t d = 0; d < c->rank && w->first[row + r] <= key + j && key + j < w->end[row + r]; d += 16) {
                _mm512_store_ps(to + d, _mm512_fmadd_ps(p, _mm512_load_ps(w->key + d), _mm512_load_ps(to + d)));
            }
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- a split */

static void scores(const struct octet_mla_call *c, struct octet_mla_scratch *w, const uint8_t *q, int vectors,
        int64_t keys, struct ahead *a) {
    const int64_t dims = c->rank + c->rope;
    memset(w->s, 0, (size_t)((keys + GROUP - 1) / GROUP * GROUP) * sizeof w->s[0]);
    struct pending p = {0};
    if (w->k.converted) {
        /* Packed queries of a block meet all groups while they are in the first-level cache. */
        for (int64_t d = 0; d < dims; d += BLOCK) {
            for (int64_t j = 0; j < keys; j += GROUP) {
                score_block(c, &w->k, q, vectors, j, d, w->s, a, &p);
            }
        }
        return;
    }
    p = block_of(c, &w->k, 0, 0);
    convert(&p, GROUP);
    for (int64_t j = 0; j < keys; j += GROUP) {
        for (int64_t d = 0; d < dims; d += BLOCK) {
            p.keys = 0;
            if (d + BLOCK < dims) {
                p = block_of(c, &w->k, j, d + BLOCK);
            } else if (j + GROUP < keys) {
                p = block_of(c, &w->k, j + GROUP, 0);
            }
            score_block(c, &w->k, q, vectors, j, d, w->s, a, &p);
        }
    }
    w->k.converted = 1;
}

static void attend_chunk(const struct octet_mla_call *c, const struct octet_mla_unit *u, struct octet_mla_scratch *w,
        int64_t key, int64_t keys, float *o, float *max, float *sum, struct ahead *a) {
    const uint8_t *const *token = w->tokens;
    const float factor = (float)(c->scale * 1.4426950408889634);
    const int64_t padded = (u->rows + 15) / 16 * 16;
    load_keys(c, &w->k, token, keys);
    for (int64_t row = 0; row < padded; row += PANEL) {
        int vectors = padded - row >= PANEL ? 2 : 1;
        int64_t last = row + 16 * vectors < u->rows ? row + 16 * vectors - 1 : u->rows - 1;
        /* Ranges move on from row to row. */
        if (w->end[last] <= key || w->first[row] >= key + keys) {
            continue;
        }
        scores(c, w, u->packed + row * packed_bytes(c), vectors, keys, a);
        int fast = all_finite(w->s, vectors, keys);
        if (!fast) {
            score_slowly(c, u, w, row, vectors, token, keys);
        }
        int masked = w->first[last] > key || w->end[row] < key + keys;
        for (int r = 0; r < vectors; r++) {
            int64_t at = row + 16 * r;
            if (masked) {
                mask(w->s[0] + 16 * r, keys, key, w->first + at, w->end + at);
            }
            weights(w->s[0] + 16 * r, keys, factor, max + at, sum + at, w->alpha + 16 * r);
        }
        if (fast) {
            values(c, &w->k, w->s, vectors, keys, w->alpha, o + row * c->rank);
        } else {
            add_slowly(c, w, row, vectors, token, key, keys, o);
        }
    }
}

/** The first keys of the split that the calling thread probably gets next. */
static void find_next_split(const struct octet_mla_call *c, int64_t unit, int64_t split, const uint8_t **to) {
    for (split += c->threads; unit < c->unit_count && split >= c->units[unit].splits; unit++) {
        split -= c->units[unit].splits;
    }
    int64_t keys = 0;
    if (unit < c->unit_count) {
        const struct octet_mla_unit *u = c->units + unit;
        int64_t from = u->first_key + split * u->split_keys;
        keys = smaller(u->end_key - from, GROUP);
        find_tokens(c, u, from, keys, to);
    }
    to[keys] = 0;
}

STEP(attend) {
    const struct octet_mla_unit *u = c->units + unit;
    const int64_t padded = (u->rows + 15) / 16 * 16;
    float *o = u->partials + task * padded * c->rank;
    float *max = u->stats + task * 2 * padded, *sum = max + padded;
    memset(o, 0, (size_t)(padded * c->rank) * 4);
    for (int64_t r = 0; r < padded; r++) {
        max[r] = -__builtin_inff();
        sum[r] = 0;
        int64_t at = position(c, u, r);
        w->first[r] = r < u->rows ? (int32_t)first_seen(c, at) : 0;
        w->end[r] = r < u->rows ? (int32_t)end_seen(c, at, u->keys) : INT32_MAX;
    }
    int64_t from = u->first_key + task * u->split_keys;
    int64_t to = from + u->split_keys < u->end_key ? from + u->split_keys : u->end_key;
    /* For each 16 dimensions of a tile: a group of records in the time of a group's scores. */
    const int64_t records = (c->record_bytes + 63) / 64 * GROUP, steps = (c->rank + c->rope + 15) / 16;
    const int lines = (int)((records - 1) / (padded > 16 ? 2 * steps : steps) + 1);
    find_tokens(c, u, from, smaller(to - from, GROUP), w->tokens);
    struct ahead first = {w->tokens, 0, c->record_bytes, INT32_MAX};
    prefetch(&first);
    for (int64_t key = from; key < to; key += CHUNK) {
        int64_t keys = smaller(to - key, CHUNK), more = smaller(to - key - keys, GROUP);
        find_tokens(c, u, key, keys + more, w->tokens);
        if (more == 0) {
            find_next_split(c, unit, task, w->tokens + keys);
        }
        struct ahead a = {w->tokens + smaller(keys, GROUP), 0, c->record_bytes, lines};
        attend_chunk(c, u, w, key, keys, o, max, sum, &a);
    }
}

/* ---------------------------------------------------------------------------------------------- queries and results */

STEP(pack) {
    const struct octet_mla_unit *u = c->units + unit;
    int64_t first = task * PANEL;
    int vectors = u->rows - first > 16 ? 2 : 1;
    for (int r = 0; r < vectors; r++) {
        for (int64_t i = 0; i < 16; i++) {
            load_query(c, u, first + 16 * r + i, w->x[i]);
        }
        pack_rows(c, w->x, r, vectors, u->packed + first * packed_bytes(c));
    }
}

/** One row of a tensor, rounded to nearest. */
static void store_row(const float *x, int64_t dims, int64_t bf16, int64_t stride, uint8_t *to) {
    for (int64_t d = 0; d < dims; d += 16) {
        __m512 v = _mm512_load_ps(x + d);
        __m512i bits = _mm512_castps_si512(v), top = _mm512_srli_epi32(bits, 16);
        if (!bf16 && stride == 4) {
            _mm512_storeu_ps(to + 4 * d, v);
            continue;
        }
        __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
        __m512i rounded = _mm512_srli_epi32(
                _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
        __m512i nan = _mm512_or_si512(_mm512_and_si512(top, _mm512_set1_epi32(0x8000)), _mm512_set1_epi32(0x7fc0));
        __m256i half = _mm512_cvtepi32_epi16(
                _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), rounded, nan));
        if (stride == 2) {
            _mm256_storeu_si256((__m256i *)(to + 2 * d), half);
            continue;
        }
        uint16_t halves[16];
        memcpy(halves, &half, sizeof halves);
        for (int64_t i = 0; i < 16; i++) {
            memcpy(to + (d + i) * stride, bf16 ? (const void *)(halves + i) : x + d + i, bf16 ? 2 : 4);
        }
    }
}

/** Joins the splits of 16 rows and writes these. */
STEP(join) {
    const struct octet_mla_unit *u = c->units + unit;
    const int64_t rank = c->rank, rows16 = (u->rows + 15) / 16 * 16;
    const __m512 none = _mm512_set1_ps(-__builtin_inff());
    const float *stats = u->stats + 16 * task;
    __m512 factor = _mm512_set1_ps((float)(c->scale * 1.4426950408889634));
    __m512 m = none;
    for (int64_t i = 0; i < u->splits; i++) {
        m = _mm512_max_ps(_mm512_load_ps(stats + 2 * i * rows16), m);
    }
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < u->splits; i++) {
        __m512 mine = _mm512_load_ps(stats + 2 * i * rows16);
        __m512 x = exp2_ps(_mm512_mul_ps(_mm512_sub_ps(mine, m), factor));
        /* All scores were -Infinity, NaN or not seen: a sum is 0 or NaN, and is to stay so. */
        x = _mm512_mask_blend_ps(_mm512_cmp_ps_mask(mine, none, _CMP_EQ_OQ), x, _mm512_set1_ps(1));
        _mm512_store_ps(w->s[i], x);
        sum = _mm512_fmadd_ps(x, _mm512_load_ps(stats + (2 * i + 1) * rows16), sum);
    }
    float largest[16], sums[16];
    _mm512_storeu_ps(largest, m);
    _mm512_storeu_ps(sums, sum);
    for (int64_t i = 0; i < u->splits; i++) {
        _mm512_store_ps(w->s[i], _mm512_div_ps(_mm512_load_ps(w->s[i]), sum));
    }
    for (int64_t r = 0; r < 16 && 16 * task + r < u->rows; r++) {
        int64_t at = position(c, u, 16 * task + r);
        int nothing = first_seen(c, at) >= end_seen(c, at, u->keys);
        int64_t row = u->first_row + 16 * task + r;
        int64_t token = u->first_query + row / c->heads, head = row % c->heads;
        float *line = w->x[0];
        const float *part = u->partials + (16 * task + r) * rank;
        for (int64_t d = 0; d < rank; d += STRIPE) {
            __m512 acc[4];
            for (int i = 0; i < 4; i++) acc[i] = _mm512_setzero_ps();
            for (int64_t i = 0; i < u->splits && !nothing; i++) {
                __m512 share = _mm512_set1_ps(w->s[i][r]);
                for (int j = 0; j < 4; j++) {
                    acc[j] = _mm512_fmadd_ps(share, _mm512_load_ps(part + i * rows16 * rank + d + 16 * j), acc[j]);
                }
            }
            for (int j = 0; j < 4; j++) _mm512_store_ps(line + d + 16 * j, acc[j]);
        }
        store_row(line, rank, c->out_bf16, c->out_element, c->out + token * c->out_token + head * c->out_head);
        if (c->lse) {
            float lse = nothing ? __builtin_inff() : sums[r] > 0 ? (float)((double)largest[r] * c->scale + ln(sums[r]))
                    : sums[r] == 0 ? -__builtin_inff() : sums[r];
            memcpy(c->lse + token * c->lse_token + head * c->lse_head, &lse, 4);
        }
    }
}
