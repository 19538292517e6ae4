/*
 * Tokens times the centroids of experts, in FP32. A product is the sum of 32 partial sums, of which the p-th has the
 * fused multiply-adds of elements p, p + 32, p + 64 and so on, in this order; sums 16, 8, 4, 2 and 1 apart are added then.
 * So it has the same bits for any number of tokens, for weights as they lie or packed, and for every instruction set.
 *
 * Few tokens: memory is the limit, so weights are multiplied as they lie, several rows at a time, and fetched a KiB ahead
 * of the hardware. BF16 is taken as even and odd elements, an operation each, and so are the tokens, packed before. Many
 * tokens: both sides are packed as floats, so that what a vector holds of a row follows what it held before: partial sums
 * of 0 to LANES - 1, of LANES to 2 LANES - 1, and so on. Tiles of TILE_TOKENS by TILE_EXPERTS go through L1.
 */

enum {
    PARTS = 32,
    GROUPS = PARTS / LANES,
    AHEAD = 1024,
    /* Of a task of many tokens: multiples of the tile for each instruction set. Operands and sums stay in L2. */
    TASK_TOKENS = 48,
    TASK_EXPERTS = 32,
    STRETCH = 1024,
    CHUNKS = STRETCH / PARTS,
    GROUP_ROW = CHUNKS * LANES /* floats of a row of a group */
};

/* Floats of working memory of a task of many tokens. */
enum { ROUTER_WORK = (TASK_TOKENS + TASK_EXPERTS) * STRETCH + TASK_TOKENS * TASK_EXPERTS * PARTS };

INLINE float sum_of_parts(float *parts) {
    for (int step = PARTS / 2; step > 0; step /= 2) {
        for (int i = 0; i < step; i++) {
            parts[i] += parts[i + step];
        }
    }
    return parts[0];
}

INLINE void put(const struct octet_moe_router *r, int64_t token, int64_t expert, float *parts) {
    *(moe_float *)(r->out + token * r->out_token + expert * r->out_expert) = sum_of_parts(parts);
}

/* A chunk of PARTS elements of a row as floats, zeros behind the last. */
INLINE void widen(const struct octet_moe_matrix *m, const uint8_t *at, int64_t count, float *to) {
    if (count == PARTS && m->column == (m->bf16 ? 2 : 4)) {
        for (int g = 0; g < GROUPS; g++) {
            store(to + g * LANES, m->bf16 ? load_halves(at + 2 * g * LANES) : load(at + 4 * g * LANES), 0);
        }
        return;
    }
    for (int64_t i = 0; i < PARTS; i++) {
        to[i] = i < count ? moe_load(at + i * m->column, m->bf16) : 0;
    }
}

/* ------------------------------------------------------------------------------------------------ few tokens */

/* Packs all tokens in the order in which the weights' elements are taken. */
OCTET_EXPORT void LEVEL(router_pack)(const struct octet_moe_router *r) {
    int64_t chunks = (r->d + PARTS - 1) / PARTS;
    for (int64_t t = 0; t < r->tokens; t++) {
        for (int64_t c = 0; c < chunks; c++) {
            float x[PARTS], *to = r->packed + (t * chunks + c) * PARTS;
            widen(&r->hidden, r->hidden.at + t * r->hidden.row + c * PARTS * r->hidden.column,
                  moe_least(PARTS, r->d - c * PARTS), x);
            for (int i = 0; i < PARTS && r->weight.bf16; i++) {
                int within = i % (2 * LANES);
                to[i / (2 * LANES) * 2 * LANES + within / 2 + (within % 2) * LANES] = x[i];
            }
            if (!r->weight.bf16) {
                memcpy(to, x, sizeof x);
            }
        }
    }
}

/* A chunk of a row of weights as vectors. */
INLINE void load_weights(const uint8_t *at, int64_t bf16, vec *w) {
#pragma GCC unroll 8
    for (int g = 0; g < GROUPS; g += 2) {
        if (bf16) {
            load_pairs(at + 2 * g * LANES, w + g, w + g + 1);
        } else {
            w[g] = load(at + 4 * g * LANES);
            w[g + 1] = load(at + 4 * (g + 1) * LANES);
        }
    }
}

INLINE void few(const struct octet_moe_router *r, int64_t token, int64_t expert, int tokens, int experts,
                int64_t bf16) {
    int64_t size = bf16 ? 2 : 4, whole = r->d / PARTS, chunks = (r->d + PARTS - 1) / PARTS;
    const float *x = r->packed + token * chunks * PARTS;
    const uint8_t *weights = r->weight.at + expert * r->weight.row;
    vec sums[16]; /* tokens * experts * GROUPS */
#pragma GCC unroll 16
    for (int i = 0; i < tokens * experts * GROUPS; i++) {
        sums[i] = zero();
    }
    for (int64_t c = 0; c < whole; c++) {
#pragma GCC unroll 8
        for (int e = 0; e < experts; e++) {
            const uint8_t *at = weights + e * r->weight.row + c * PARTS * size;
            vec w[GROUPS];
            __builtin_prefetch(at + AHEAD);
            if (!bf16) {
                __builtin_prefetch(at + AHEAD + 64);
            }
            load_weights(at, bf16, w);
#pragma GCC unroll 2
            for (int t = 0; t < tokens; t++) {
#pragma GCC unroll 8
                for (int g = 0; g < GROUPS; g++) {
                    vec *s = sums + (t * experts + e) * GROUPS + g;
                    *s = multiply_add(w[g], load(x + (t * chunks + c) * PARTS + g * LANES), *s);
                }
            }
        }
    }
    for (int e = 0; e < experts; e++) {
        uint8_t rest[4 * PARTS] = {0};
        vec w[GROUPS];
        if (chunks > whole) {
            memcpy(rest, weights + e * r->weight.row + whole * PARTS * size, (size_t)((r->d - whole * PARTS) * size));
        }
        load_weights(rest, bf16, w);
        for (int t = 0; t < tokens; t++) {
            float lanes[PARTS], parts[PARTS];
            for (int g = 0; g < GROUPS; g++) {
                vec s = sums[(t * experts + e) * GROUPS + g];
                if (chunks > whole) {
                    s = multiply_add(w[g], load(x + (t * chunks + whole) * PARTS + g * LANES), s);
                }
                store(lanes + g * LANES, s, 0);
            }
            for (int i = 0; i < PARTS; i++) {
                int within = i % (2 * LANES);
                parts[i] = bf16 ? lanes[i - within + within / 2 + (within % 2) * LANES] : lanes[i];
            }
            put(r, token + t, expert + e, parts);
        }
    }
}

INLINE void few_tokens(const struct octet_moe_router *r, int64_t first, int64_t end, int64_t bf16) {
    int64_t e = first;
    if (r->tokens == 1) {
        for (; e + FEW_EXPERTS_OF_ONE <= end; e += FEW_EXPERTS_OF_ONE) {
            few(r, 0, e, 1, FEW_EXPERTS_OF_ONE, bf16);
        }
    } else {
        for (; e + FEW_EXPERTS_OF_TWO <= end; e += FEW_EXPERTS_OF_TWO) {
            int64_t t = 0;
            for (; t + 2 <= r->tokens; t += 2) {
                few(r, t, e, 2, FEW_EXPERTS_OF_TWO, bf16);
            }
            if (t < r->tokens) {
                few(r, t, e, 1, FEW_EXPERTS_OF_TWO, bf16);
            }
        }
    }
    for (; e < end; e++) {
        for (int64_t t = 0; t < r->tokens; t++) {
            few(r, t, e, 1, 1, bf16);
        }
    }
}

/* Packed tokens times some experts, whose weights are neighbours along a row. */
OCTET_EXPORT void LEVEL(router_few)(const struct octet_moe_router *r, int64_t first, int64_t end) {
    if (r->weight.bf16) {
        few_tokens(r, first, end, 1);
    } else {
        few_tokens(r, first, end, 0);
    }
}

/* ------------------------------------------------------------------------------------------------ many tokens */

OCTET_EXPORT int64_t LEVEL(router_layout)(int64_t which) {
    return which == 0 ? TASK_TOKENS : which == 1 ? TASK_EXPERTS : ROUTER_WORK * (int64_t)sizeof(float);
}

/* A stretch of rows as floats [group][row][chunk][lane], rows up to a multiple of the tile's and the last chunk with zeros. */
INLINE void pack(const struct octet_moe_matrix *m, int64_t first, int64_t count, int64_t padded, int64_t k,
                 int64_t length, float *to) {
    for (int64_t i = 0; i < padded; i++) {
        for (int64_t c = 0; c * PARTS < length; c++) {
            float x[PARTS] = {0};
            if (i < count) {
                widen(m, m->at + (first + i) * m->row + (k + c * PARTS) * m->column,
                      moe_least(PARTS, length - c * PARTS), x);
            }
            for (int g = 0; g < GROUPS; g++) {
                store(to + (g * padded + i) * GROUP_ROW + c * LANES, load(x + g * LANES), 0);
            }
        }
    }
}

/* Adds the products of some rows of either side to sums [token][expert][lane]. */
INLINE void tile(const float *a, const float *b, int64_t chunks, float *sums) {
    vec s[TILE_TOKENS][TILE_EXPERTS];
#pragma GCC unroll 8
    for (int t = 0; t < TILE_TOKENS; t++) {
#pragma GCC unroll 8
        for (int e = 0; e < TILE_EXPERTS; e++) {
            s[t][e] = load(sums + (t * TILE_EXPERTS + e) * LANES);
        }
    }
    for (int64_t c = 0; c < chunks * LANES; c += LANES) {
        vec w[TILE_EXPERTS];
#pragma GCC unroll 8
        for (int e = 0; e < TILE_EXPERTS; e++) {
            w[e] = load(b + e * GROUP_ROW + c);
        }
#pragma GCC unroll 8
        for (int t = 0; t < TILE_TOKENS; t++) {
            vec x = load(a + t * GROUP_ROW + c);
#pragma GCC unroll 8
            for (int e = 0; e < TILE_EXPERTS; e++) {
                s[t][e] = multiply_add(w[e], x, s[t][e]);
            }
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < TILE_TOKENS; t++) {
#pragma GCC unroll 8
        for (int e = 0; e < TILE_EXPERTS; e++) {
            store(sums + (t * TILE_EXPERTS + e) * LANES, s[t][e], 0);
        }
    }
}

/* Up to TASK_TOKENS times up to TASK_EXPERTS; work: aligned to 64. */
OCTET_EXPORT void LEVEL(router_many)(const struct octet_moe_router *r, int64_t token, int64_t expert, float *work) {
    int64_t m = moe_least(TASK_TOKENS, r->tokens - token), n = moe_least(TASK_EXPERTS, r->experts - expert);
    int64_t rows = (m + TILE_TOKENS - 1) / TILE_TOKENS * TILE_TOKENS;
    int64_t columns = (n + TILE_EXPERTS - 1) / TILE_EXPERTS * TILE_EXPERTS;
    float *a = work, *b = a + TASK_TOKENS * STRETCH, *sums = b + TASK_EXPERTS * STRETCH;
    memset(sums, 0, (size_t)(rows * columns * PARTS) * sizeof(float)); /* [group][tile][token][expert][lane] */
    for (int64_t k = 0; k < r->d; k += STRETCH) {
        int64_t length = moe_least(STRETCH, r->d - k), chunks = (length + PARTS - 1) / PARTS;
        pack(&r->hidden, token, m, rows, k, length, a);
        pack(&r->weight, expert, n, columns, k, length, b);
        for (int64_t g = 0; g < GROUPS; g++) {
            for (int64_t t = 0; t < rows; t += TILE_TOKENS) {
                for (int64_t e = 0; e < columns; e += TILE_EXPERTS) {
                    tile(a + (g * rows + t) * GROUP_ROW, b + (g * columns + e) * GROUP_ROW, chunks,
                         sums + (g * rows * columns + t * columns + e * TILE_TOKENS) * LANES);
                }
            }
        }
    }
    for (int64_t t = 0; t < m; t++) {
        for (int64_t e = 0; e < n; e++) {
            float parts[PARTS];
            int64_t within = t % TILE_TOKENS * TILE_EXPERTS + e % TILE_EXPERTS;
            int64_t at = (t - t % TILE_TOKENS) * columns + (e - e % TILE_EXPERTS) * TILE_TOKENS + within;
            for (int g = 0; g < GROUPS; g++) {
                store(parts + g * LANES, load(sums + (g * rows * columns + at) * LANES), 0);
            }
            put(r, token + t, expert + e, parts);
        }
    }
}
