/*
 * Tokens times the centroids of experts, in FP32, rows whose elements are neighbours. A product is the sum of 32 partial
 * sums, of which the p-th has the fused multiply-adds of elements p, p + 32, p + 64 and so on, in this order; sums 16, 8, 4,
 * 2 and 1 apart are added then. So it has the same bits for any number of tokens and for every instruction set that has this kernel.
 *
 * Neither side is copied: where BF16 meets BF16 a vector of both is taken as even and odd elements, an operation each, and
 * partial sums are put in their order at the end. Few tokens: memory is the limit, so that several rows of weights are read
 * side by side, and fetched a KiB ahead of the hardware; tokens alone are widened before. Many tokens: tiles of
 * TILE_TOKENS by TILE_EXPERTS, a stretch of the rows at a time, which stays in L1 for tokens and in L2 for experts.
 */

enum {
    PARTS = 32,
    GROUPS = PARTS / LANES,
    TWO = 2 * LANES,
    AHEAD = 1024,
    /* Of a task of many tokens: a stretch of its operands and all of its sums stay in L2. */
    TASK_TOKENS = 48,
    TASK_EXPERTS = 64,
    STRETCH = 4096, /* bytes of a row */
    TILE_SUMS = TILE_TOKENS * TILE_EXPERTS * PARTS,
    TILES = ((TASK_TOKENS + TILE_TOKENS - 1) / TILE_TOKENS) * ((TASK_EXPERTS + TILE_EXPERTS - 1) / TILE_EXPERTS)
};

/* Adds up partial sums, LANES by LANES as they are kept: even and odd ones of TWO, or as they stand. */
INLINE void finish(const struct octet_moe_router *r, int64_t token, int64_t expert, const float *lanes, int pairs) {
    float parts[PARTS];
    for (int i = 0; i < PARTS; i++) {
        int within = i % TWO;
        parts[i] = pairs ? lanes[i - within + within / 2 + within % 2 * LANES] : lanes[i];
    }
    for (int step = PARTS / 2; step > 0; step /= 2) {
        for (int i = 0; i < step; i++) {
            parts[i] += parts[i + step];
        }
    }
    *(moe_float *)(r->out + token * r->out_token + expert * r->out_expert) = parts[0];
}

/* The first or the second vector of TWO elements. */
INLINE vec one_of_two(const uint8_t *at, int64_t bf16, int pairs, int second) {
    if (pairs) {
        return second ? load_odd(at) : load_even(at);
    }
    return bf16 ? load_halves(at + second * 2 * LANES) : load(at + second * 4 * LANES);
}

/* ------------------------------------------------------------------------------------------------ few tokens */

/* Widens all tokens, in the order in which the weights' elements are taken, with zeros up to a multiple of PARTS. */
OCTET_EXPORT void LEVEL(router_pack)(const struct octet_moe_router *r) {
    int64_t chunks = (r->d + PARTS - 1) / PARTS, size = r->hidden.bf16 ? 2 : 4;
    int pairs = (int)r->weight.bf16;
    for (int64_t t = 0; t < r->tokens; t++) {
        const uint8_t *from = r->hidden.at + t * r->hidden.row;
        float *to = r->packed + t * chunks * PARTS;
        for (int64_t k = 0; k < chunks * PARTS; k += TWO) {
            if (k + TWO <= r->d && (r->hidden.bf16 || !pairs)) {
                store(to + k, one_of_two(from + k * size, r->hidden.bf16, pairs, 0), 0);
                store(to + k + LANES, one_of_two(from + k * size, r->hidden.bf16, pairs, 1), 0);
                continue;
            }
            for (int i = 0; i < TWO; i++) {
                int at = pairs ? i / 2 + i % 2 * LANES : i;
                to[k + at] = k + i < r->d ? moe_load(from + (k + i) * size, r->hidden.bf16) : 0;
            }
        }
    }
}

/* Adds a chunk of rows of weights times that of tokens. */
INLINE void few_chunk(const uint8_t *weights, int64_t row, const float *x, int64_t token, int tokens, int experts,
                      int64_t bf16, int ahead, vec *sums) {
#pragma GCC unroll 8
    for (int e = 0; e < experts; e++) {
        const uint8_t *at = weights + e * row;
        for (int b = 0; b < PARTS * (bf16 ? 2 : 4) && ahead; b += 64) {
            __builtin_prefetch(at + AHEAD + b);
        }
#pragma GCC unroll 8
        for (int g = 0; g < GROUPS; g++) {
            vec w = one_of_two(at + g / 2 * TWO * (bf16 ? 2 : 4), bf16, (int)bf16, g % 2);
#pragma GCC unroll 2
            for (int t = 0; t < tokens; t++) {
                vec *s = sums + (t * experts + e) * GROUPS + g;
                *s = multiply_add(w, load(x + t * token + g * LANES), *s);
            }
        }
    }
}

INLINE void few(const struct octet_moe_router *r, int64_t token, int64_t expert, int tokens, int experts,
                int64_t bf16) {
    int64_t size = bf16 ? 2 : 4, row = r->weight.row, whole = r->d / PARTS, padded = (r->d + PARTS - 1) / PARTS * PARTS;
    const float *x = r->packed + token * padded;
    const uint8_t *weights = r->weight.at + expert * row;
    vec sums[16]; /* tokens * experts * GROUPS */
#pragma GCC unroll 16
    for (int i = 0; i < tokens * experts * GROUPS; i++) {
        sums[i] = zero();
    }
    for (int64_t c = 0; c < whole; c++) {
        few_chunk(weights + c * PARTS * size, row, x + c * PARTS, padded, tokens, experts, bf16, 1, sums);
    }
    if (whole * PARTS < r->d) {
        uint8_t rest[8 * 4 * PARTS]; /* experts * PARTS */
        memset(rest, 0, sizeof rest);
        for (int e = 0; e < experts; e++) {
            memcpy(rest + e * 4 * PARTS, weights + e * row + whole * PARTS * size,
                   (size_t)((r->d - whole * PARTS) * size));
        }
        few_chunk(rest, 4 * PARTS, x + whole * PARTS, padded, tokens, experts, bf16, 0, sums);
    }
    for (int t = 0; t < tokens; t++) {
        for (int e = 0; e < experts; e++) {
            float lanes[PARTS];
            for (int g = 0; g < GROUPS; g++) {
                store(lanes + g * LANES, sums[(t * experts + e) * GROUPS + g], 0);
            }
            finish(r, token + t, expert + e, lanes, (int)bf16);
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

/* Packed tokens times some experts. */
OCTET_EXPORT void LEVEL(router_few)(const struct octet_moe_router *r, int64_t first, int64_t end) {
    if (r->weight.bf16) {
        few_tokens(r, first, end, 1);
    } else {
        few_tokens(r, first, end, 0);
    }
}

/* ------------------------------------------------------------------------------------------------ many tokens */

OCTET_EXPORT int64_t LEVEL(router_layout)(int64_t which) {
    return which == 0 ? TASK_TOKENS : which == 1 ? TASK_EXPERTS : TILES * TILE_SUMS * (int64_t)sizeof(float);
}

/* Adds some chunks of rows times rows to sums [GROUPS][token][expert][LANES]. */
INLINE void tile(const uint8_t *const *a, const uint8_t *const *b, int64_t k, int64_t chunks, int64_t a_bf16,
                 int64_t b_bf16, float *sums) {
    int64_t a_size = a_bf16 ? 2 : 4, b_size = b_bf16 ? 2 : 4;
    int pairs = a_bf16 && b_bf16;
#pragma GCC unroll 8
    for (int g = 0; g < GROUPS; g++, sums += TILE_TOKENS * TILE_EXPERTS * LANES) {
        vec s[TILE_TOKENS][TILE_EXPERTS];
#pragma GCC unroll 32
        for (int i = 0; i < TILE_TOKENS * TILE_EXPERTS; i++) {
            (&s[0][0])[i] = load(sums + i * LANES);
        }
        for (int64_t i = k + g / 2 * TWO; i < k + chunks * PARTS; i += PARTS) {
            vec w[TILE_EXPERTS];
#pragma GCC unroll 8
            for (int e = 0; e < TILE_EXPERTS; e++) {
                w[e] = one_of_two(b[e] + i * b_size, b_bf16, pairs, g % 2);
            }
#pragma GCC unroll 8
            for (int t = 0; t < TILE_TOKENS; t++) {
                vec x = one_of_two(a[t] + i * a_size, a_bf16, pairs, g % 2);
#pragma GCC unroll 8
                for (int e = 0; e < TILE_EXPERTS; e++) {
                    s[t][e] = multiply_add(w[e], x, s[t][e]);
                }
            }
        }
#pragma GCC unroll 32
        for (int i = 0; i < TILE_TOKENS * TILE_EXPERTS; i++) {
            store(sums + i * LANES, (&s[0][0])[i], 0);
        }
    }
}

/* The last elements of some rows, with zeros behind them. */
INLINE void copy_rest(const uint8_t **rows, int count, int64_t from, int64_t elements, int64_t bf16, uint8_t *to) {
    int64_t size = bf16 ? 2 : 4;
    memset(to, 0, (size_t)(count * 4 * PARTS));
    for (int i = 0; i < count; i++) {
        memcpy(to + i * 4 * PARTS, rows[i] + from * size, (size_t)(elements * size));
        rows[i] = to + i * 4 * PARTS;
    }
}

INLINE void many(const struct octet_moe_router *r, int64_t token, int64_t expert, int64_t a_bf16, int64_t b_bf16,
                 float *work) {
    int64_t m = moe_least(TASK_TOKENS, r->tokens - token), n = moe_least(TASK_EXPERTS, r->experts - expert);
    int64_t whole = r->d / PARTS * PARTS, stretch = STRETCH / (a_bf16 && b_bf16 ? 2 : 4);
    int64_t tiles = ((m + TILE_TOKENS - 1) / TILE_TOKENS) * ((n + TILE_EXPERTS - 1) / TILE_EXPERTS);
    memset(work, 0, (size_t)tiles * TILE_SUMS * sizeof(float));
    for (int64_t k = 0; k < r->d; k += stretch) {
        float *sums = work;
        for (int64_t t = 0; t < m; t += TILE_TOKENS) {
            for (int64_t e = 0; e < n; e += TILE_EXPERTS, sums += TILE_SUMS) {
                /* Rows behind the last are the last: nobody looks at what comes of them. */
                const uint8_t *a[TILE_TOKENS], *b[TILE_EXPERTS];
                for (int i = 0; i < TILE_TOKENS; i++) {
                    a[i] = r->hidden.at + (token + moe_least(m - 1, t + i)) * r->hidden.row;
                }
                for (int i = 0; i < TILE_EXPERTS; i++) {
                    b[i] = r->weight.at + (expert + moe_least(n - 1, e + i)) * r->weight.row;
                }
                int64_t end = moe_least(whole, k + stretch);
                tile(a, b, k, (end - k) / PARTS, a_bf16, b_bf16, sums);
                if (end < r->d && end < k + stretch) {
                    uint8_t tokens[TILE_TOKENS * 4 * PARTS], experts[TILE_EXPERTS * 4 * PARTS];
                    copy_rest(a, TILE_TOKENS, whole, r->d - whole, a_bf16, tokens);
                    copy_rest(b, TILE_EXPERTS, whole, r->d - whole, b_bf16, experts);
                    tile(a, b, 0, 1, a_bf16, b_bf16, sums);
                }
            }
        }
    }
    float *sums = work;
    for (int64_t t = 0; t < m; t += TILE_TOKENS) {
        for (int64_t e = 0; e < n; e += TILE_EXPERTS, sums += TILE_SUMS) {
            for (int64_t i = 0; i < TILE_TOKENS * TILE_EXPERTS; i++) {
                float lanes[PARTS];
                for (int g = 0; g < GROUPS; g++) {
                    store(lanes + g * LANES, load(sums + (g * TILE_TOKENS * TILE_EXPERTS + i) * LANES), 0);
                }
                if (t + i / TILE_EXPERTS < m && e + i % TILE_EXPERTS < n) {
                    finish(r, token + t + i / TILE_EXPERTS, expert + e + i % TILE_EXPERTS, lanes, a_bf16 && b_bf16);
                }
            }
        }
    }
}

/* Up to TASK_TOKENS times up to TASK_EXPERTS; work: aligned to 64. */
OCTET_EXPORT void LEVEL(router_many)(const struct octet_moe_router *r, int64_t token, int64_t expert, float *work) {
    switch ((r->hidden.bf16 ? 2 : 0) | (r->weight.bf16 ? 1 : 0)) {
        case 0: many(r, token, expert, 0, 0, work); break;
        case 1: many(r, token, expert, 0, 1, work); break;
        case 2: many(r, token, expert, 1, 0, work); break;
        default: many(r, token, expert, 1, 1, work); break;
    }
}
