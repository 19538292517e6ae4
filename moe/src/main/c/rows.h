/*
 * Rows of tokens to their positions, and the weighted sums of positions back. Memory is the limit.
 *
 * There, a token at a time: its row stays in L1 while it is written to each of its positions, and the row of the next
 * token is fetched meanwhile. What is written goes past the caches if there is much of it: a store through them would
 * read the line first, which is nearly a third of all that memory moves.
 *
 * Back, a token at a time: a few cache lines of each of its rows, so that every row is a stream of its own, and the same
 * lines of the next token's rows are fetched meanwhile: for BF16 the window of a core is too short to see them. A sum has
 * the order of the slots, a fused multiply-add for each, from +0 on.
 */

enum { LINE = 64, VECTORS = 8, MOST_SLOTS = 64 };

INLINE float weight_of(const struct octet_moe_permute *p, int64_t token, int64_t slot) {
    return p->weights ? *(const moe_float *)(p->weights + token * p->weights_token + slot * p->weights_slot) : 1;
}

INLINE void fetch(const uint8_t *at, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch(at + i);
    }
}

INLINE void copy_row(const uint8_t *from, uint8_t *to, int64_t bytes, int past_cache) {
    int64_t i = 0;
    for (; i + 16 * LANES <= bytes; i += 16 * LANES) {
        vec a = load(from + i), b = load(from + i + 4 * LANES);
        vec c = load(from + i + 8 * LANES), d = load(from + i + 12 * LANES);
        store(to + i, a, past_cache);
        store(to + i + 4 * LANES, b, past_cache);
        store(to + i + 8 * LANES, c, past_cache);
        store(to + i + 12 * LANES, d, past_cache);
    }
    for (; i + 4 * LANES <= bytes; i += 4 * LANES) {
        store(to + i, load(from + i), past_cache);
    }
    if (i < bytes) {
        memcpy(to + i, from + i, (size_t)(bytes - i));
    }
}

INLINE void scale_row(const uint8_t *from, uint8_t *to, int64_t columns, int64_t bf16, float weight, int past_cache) {
    int64_t i = 0, size = bf16 ? 2 : 4;
    vec w = all(weight);
    for (; i + 2 * LANES <= columns; i += 2 * LANES) {
        vec a, b;
        if (bf16) {
            a = load_even(from + 2 * i);
            b = load_odd(from + 2 * i);
            store_pairs(to + 2 * i, times(a, w), times(b, w), past_cache);
        } else {
            store(to + 4 * i, times(load(from + 4 * i), w), past_cache);
            store(to + 4 * i + 4 * LANES, times(load(from + 4 * i + 4 * LANES), w), past_cache);
        }
    }
    for (; i < columns; i++) {
        moe_store(to + size * i, bf16, moe_load(from + size * i, bf16) * weight);
    }
}

INLINE void expand(const struct octet_moe_permute *p, int64_t first, int64_t count, const int32_t *positions,
                   int past_cache) {
    int64_t bytes = p->columns * p->element;
    int64_t share = (bytes / p->slots + LINE) / LINE * LINE; /* of the next row, for each slot */
    for (int64_t t = first; t < first + count; t++, positions += p->slots) {
        const uint8_t *from = p->from + t * p->from_row;
        for (int64_t j = 0; j < p->slots; j++) {
            if (positions[j] < 0) {
                continue;
            }
            if (t + 1 < p->tokens && j * share < bytes) {
                fetch(from + p->from_row + j * share, moe_least(share, bytes - j * share));
            }
            uint8_t *to = p->to + positions[j] * p->to_row;
            if (!p->weights) {
                copy_row(from, to, bytes, past_cache);
            } else if (p->to_bf16) {
                scale_row(from, to, p->columns, 1, weight_of(p, t, j), past_cache);
            } else {
                scale_row(from, to, p->columns, 0, weight_of(p, t, j), past_cache);
            }
        }
    }
    if (past_cache) {
        fence();
    }
}

/* Tokens from one on; their positions [token][slot], -1 for none. */
OCTET_EXPORT void LEVEL(expand)(const struct octet_moe_permute *p, int64_t first, int64_t count,
                                const int32_t *positions) {
    if (p->past_cache) {
        expand(p, first, count, positions, 1);
    } else {
        expand(p, first, count, positions, 0);
    }
}

/* 2 LANES elements; as even and odd ones if BF16 becomes BF16. */
INLINE void load_two(const uint8_t *at, int64_t bf16, int64_t to_bf16, vec *x) {
    if (!bf16) {
        x[0] = load(at);
        x[1] = load(at + 4 * LANES);
    } else if (to_bf16) {
        x[0] = load_even(at);
        x[1] = load_odd(at);
    } else {
        x[0] = load_halves(at);
        x[1] = load_halves(at + 2 * LANES);
    }
}

INLINE void store_two(uint8_t *at, int64_t bf16, int64_t to_bf16, const vec *x, int past_cache) {
    if (!to_bf16) {
        store(at, x[0], past_cache);
        store(at + 4 * LANES, x[1], past_cache);
    } else if (bf16) {
        store_pairs(at, x[0], x[1], past_cache);
    } else {
        store_halves(at, x[0], x[1], past_cache);
    }
}

/* Some vectors of sums. */
INLINE void sum_vectors(const uint8_t *const *rows, const float *weights, int64_t n, const uint8_t *const *next,
                        int64_t i, int64_t bf16, int64_t to_bf16, uint8_t *to, int vectors, int past_cache) {
    int64_t size = bf16 ? 2 : 4, to_size = to_bf16 ? 2 : 4;
    vec sum[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        sum[v] = zero();
    }
    for (int64_t j = 0; j < n; j++) {
        vec w = all(weights[j]);
        for (int64_t b = 0; b < vectors * LANES * size && next[j]; b += LINE) {
            __builtin_prefetch(next[j] + i * size + b);
        }
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v += 2) {
            vec x[2];
            load_two(rows[j] + (i + v * LANES) * size, bf16, to_bf16, x);
            sum[v] = multiply_add(x[0], w, sum[v]);
            sum[v + 1] = multiply_add(x[1], w, sum[v + 1]);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v += 2) {
        store_two(to + (i + v * LANES) * to_size, bf16, to_bf16, sum + v, past_cache);
    }
}

struct token_rows {
    const uint8_t *at[MOST_SLOTS];
    float weights[MOST_SLOTS];
    int64_t count;
};

INLINE void rows_of(const struct octet_moe_permute *p, int64_t token, const int32_t *positions, struct token_rows *r) {
    r->count = 0;
    for (int64_t j = 0; j < p->slots; j++) {
        if (positions[j] >= 0) {
            r->at[r->count] = p->from + positions[j] * p->from_row;
            r->weights[r->count++] = weight_of(p, token, j);
        }
    }
}

static __attribute__((noinline)) void sum_rest(const struct octet_moe_permute *p, const struct token_rows *r,
                                               int64_t i, uint8_t *to) {
    int64_t size = p->from_bf16 ? 2 : 4, to_size = p->to_bf16 ? 2 : 4;
    for (; i < p->columns; i++) {
        float sum = 0;
        for (int64_t j = 0; j < r->count; j++) {
            sum = fmaf(moe_load(r->at[j] + i * size, p->from_bf16), r->weights[j], sum);
        }
        moe_store(to + i * to_size, p->to_bf16, sum);
    }
}

INLINE void reduce(const struct octet_moe_permute *p, int64_t first, int64_t count, const int32_t *positions,
                   int64_t bf16, int64_t to_bf16, int past_cache) {
    struct token_rows rows[2];
    rows_of(p, first, positions, rows);
    for (int64_t t = 0; t < count; t++) {
        struct token_rows *r = rows + t % 2, *next = rows + (t + 1) % 2;
        next->count = 0;
        if (t + 1 < count) {
            rows_of(p, first + t + 1, positions + (t + 1) * p->slots, next);
        }
        for (int64_t j = next->count; j < r->count; j++) {
            next->at[j] = 0;
        }
        uint8_t *to = p->to + (first + t) * p->to_row;
        int64_t i = 0;
        for (; i + VECTORS * LANES <= p->columns; i += VECTORS * LANES) {
            sum_vectors(r->at, r->weights, r->count, next->at, i, bf16, to_bf16, to, VECTORS, past_cache);
        }
        for (; i + 2 * LANES <= p->columns; i += 2 * LANES) {
            sum_vectors(r->at, r->weights, r->count, next->at, i, bf16, to_bf16, to, 2, past_cache);
        }
        sum_rest(p, r, i, to);
    }
    if (past_cache) {
        fence();
    }
}

/* Tokens from one on; their positions [token][slot], -1 for none. At most MOST_SLOTS slots. */
OCTET_EXPORT void LEVEL(reduce)(const struct octet_moe_permute *p, int64_t first, int64_t count,
                                const int32_t *positions) {
    switch ((p->from_bf16 ? 4 : 0) | (p->to_bf16 ? 2 : 0) | (p->past_cache ? 1 : 0)) {
        case 0: reduce(p, first, count, positions, 0, 0, 0); break;
        case 1: reduce(p, first, count, positions, 0, 0, 1); break;
        case 2: reduce(p, first, count, positions, 0, 1, 0); break;
        case 3: reduce(p, first, count, positions, 0, 1, 1); break;
        case 4: reduce(p, first, count, positions, 1, 0, 0); break;
        case 5: reduce(p, first, count, positions, 1, 0, 1); break;
        case 6: reduce(p, first, count, positions, 1, 1, 0); break;
        default: reduce(p, first, count, positions, 1, 1, 1); break;
    }
}
