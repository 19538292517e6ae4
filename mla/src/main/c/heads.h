/*
 * One BF16 matrix for each head, times a few to many tokens, for one instruction set: a file that includes this has
 * defined SUFFIX and included the vectors (lanes_*.h). Products and sums are of FP32.
 *
 *     out[token][n] = SUM over k of weight[n][k] * x[token][k]
 *
 * For few tokens reading the matrix is what takes the time, so it is read once, from end to end, and lines that are
 * needed soon are fetched on the way: those of the thread's probable next task in the end. A vector of lanes has twice
 * as many numbers of BF16; a shift makes floats of the even ones, a mask of the odd ones, and nothing is moved.
 *
 *   along n   rows of the matrix are [k][n]: chunks of rows that fit into the first-level cache; tiles of one vector of
 *             BF16 by 4 or 8 tokens, whose sums wait in memory for the next chunk. A sum is made in the order of k, one
 *             FMA after the other, whatever the vectors
 *   along k   rows are [n][k]: tiles of as many sums as there are lanes, of 2 rows by 8 tokens or 4 by 4, lanes along
 *             k; a tree of shuffles and additions makes one vector of them
 *
 * A token's result does not depend on the others.
 */
#include "rows.h"

enum {
    MANY = LANES / 2,           /* tokens of a group, if there are more than 4 */
    FEW = 4,
    PAIR = 2 * LANES,           /* numbers of BF16 in a vector */
    CHUNK_BYTES = 32 << 10,     /* of a matrix along n: the first-level cache has some 48 KiB, half as much of sums */
    ROWS_BYTES = 16 << 10,      /* of a matrix along k, which meet all tokens before the next ones do */
    AHEAD_BYTES = 8 << 10       /* how far ahead lines along k are fetched */
};

/** Lines along n that are needed soon: those of some rows, then of some of the next task's. */
struct soon {
    const uint8_t *row;
    int64_t at, bytes, pitch, rows;
    const uint8_t *next;
    int64_t next_rows;
};

INLINE void fetch(struct soon *s) {
    if (s->rows == 0) {
        return;
    }
    _mm_prefetch((const char *)s->row + s->at, _MM_HINT_T1);
    s->at += 64;
    if (s->at >= s->bytes) {
        s->at = 0;
        s->row += s->pitch;
        if (--s->rows == 0) {
            s->row = s->next;
            s->rows = s->next_rows;
            s->next_rows = 0;
        }
    }
}

/** Where a task's first row begins. */
INLINE const uint8_t *first_row(const struct octet_mla_heads *c, int64_t head, int64_t part) {
    return c->weight + head * c->weight_head + part * c->part * (c->along_n ? 2 : c->weight_row);
}

INLINE int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

INLINE const uint8_t *token_at(const struct octet_mla_heads *c, int64_t token, int64_t head) {
    return c->x.at + token * c->x.token + head * c->x.head;
}

/* ---------------------------------------------------------------------------------------------------------- along n */

/** sums[token] += SUM over rows of w[row] * x[row][token]: TOKENS tokens by one vector of BF16, even ones and odd. */
INLINE void n_tile(const int TOKENS, const uint8_t *w, int64_t pitch, int64_t rows, const float *x, float *sums,
        int64_t sum_pitch, struct soon *s) {
    vec even[MANY], odd[MANY];
#pragma GCC unroll 8
    for (int t = 0; t < TOKENS; t++) {
        even[t] = v_load(sums + t * sum_pitch);
        odd[t] = v_load(sums + t * sum_pitch + LANES);
    }
    for (int64_t i = 0; i < rows; i++) {
        fetch(s);
        vec both = v_loadu(w), e = v_even(both), o = v_odd(both);
#pragma GCC unroll 8
        for (int t = 0; t < TOKENS; t++) {
            vec y = v_all(x[t]);
            even[t] = v_fma(e, y, even[t]);
            odd[t] = v_fma(o, y, odd[t]);
        }
        w += pitch;
        x += TOKENS;
    }
#pragma GCC unroll 8
    for (int t = 0; t < TOKENS; t++) {
        v_store(sums + t * sum_pitch, even[t]);
        v_store(sums + t * sum_pitch + LANES, odd[t]);
    }
}

static void n_many(const uint8_t *w, int64_t pitch, int64_t rows, const float *x, float *sums, int64_t sum_pitch,
        struct soon *s) {
    n_tile(MANY, w, pitch, rows, x, sums, sum_pitch, s);
}

static void n_few(const uint8_t *w, int64_t pitch, int64_t rows, const float *x, float *sums, int64_t sum_pitch,
        struct soon *s) {
    n_tile(FEW, w, pitch, rows, x, sums, sum_pitch, s);
}

/** Tokens of a group to [group][k][token], zeros for those that are not there. */
static void pack_n(const struct octet_mla_heads *c, int64_t head, int64_t token, int64_t tokens, int64_t group,
        float *row, float *to) {
    for (int64_t t = 0; t < group; t++) {
        if (t < tokens) {
            load_floats(token_at(c, token + t, head), c->x.bf16, c->x.element, c->k, row);
        }
        for (int64_t i = 0; i < c->k; i++) {
            to[i * group + t] = t < tokens ? row[i] : 0;
        }
    }
}

static void along_n(const struct octet_mla_heads *c, int64_t head, int64_t first, int64_t columns, int64_t token,
        int64_t tokens, const uint8_t *w, const uint8_t *next_task, float *work) {
    const int64_t group = tokens > FEW ? MANY : FEW, groups = (tokens + group - 1) / group;
    float *x = work, *sums = work + OCTET_MLA_HEAD_TOKENS * c->k;
    for (int64_t g = 0; g < groups; g++) {
        pack_n(c, head, token + g * group, tokens - g * group, group, sums, x + g * group * c->k);
    }
    memset(sums, 0, (size_t)(groups * group * columns) * 4);
    const int64_t step = CHUNK_BYTES / (2 * columns) > 8 ? CHUNK_BYTES / (2 * columns) : 8;
    struct soon none = {0}; /* each line is fetched in one group's turn, all of them evenly */
    struct soon s = {w + smaller(step, c->k) * c->weight_row, 0, 2 * columns, c->weight_row, c->k - step, next_task,
        next_task ? smaller(step, c->k) : 0};
    if (s.rows <= 0) {
        s = (struct soon) {next_task, 0, 2 * columns, c->weight_row, s.next_rows, 0, 0};
    }
    for (int64_t k = 0; k < c->k; k += step) {
        int64_t rows = smaller(step, c->k - k);
        for (int64_t g = 0; g < groups; g++) {
            const float *packed = x + g * group * c->k + k * group;
            float *to = sums + g * group * columns;
            for (int64_t n = 0; n < columns; n += PAIR) {
                (group == FEW ? n_few : n_many)(w + k * c->weight_row + 2 * n, c->weight_row, rows, packed, to + n,
                        columns, n / PAIR % groups == g ? &s : &none);
            }
        }
    }
    for (int64_t t = 0; t < tokens; t++) {
        uint8_t *to = (uint8_t *)c->out.at + (token + t) * c->out.token + head * c->out.head + first * c->out.element;
        for (int64_t n = 0; n < columns; n += PAIR) {
            vec low = v_load(sums + t * columns + n), high = v_load(sums + t * columns + n + LANES);
            v_zip(&low, &high);
            store_floats(low, LANES, to + n * c->out.element, c->out.bf16, c->out.element);
            store_floats(high, LANES, to + (n + LANES) * c->out.element, c->out.bf16, c->out.element);
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- along k */

/** A vector that is loaded once, where a compiler would load it again for each of its uses. */
#define IN_REGISTER(x) __asm__("" : "+v"(x))

/** sums[row][token] of TOKENS tokens and as many rows as make LANES sums; other rows are fetched in passing. */
INLINE void k_tile(const int TOKENS, const uint8_t *const *w, const uint8_t *const *ahead, const float *x, int64_t k,
        float *sums) {
    const int ROWS = LANES / TOKENS;
    vec acc[LANES];
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++) {
        acc[i] = v_all(0);
    }
    for (int64_t d = 0; d < k; d += PAIR) {
        vec e[LANES / FEW], o[LANES / FEW];
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            _mm_prefetch((const char *)ahead[r] + 2 * d, _MM_HINT_T0);
            vec both = v_loadu(w[r] + 2 * d);
            e[r] = v_even(both);
            o[r] = v_odd(both);
        }
#pragma GCC unroll 8
        for (int t = 0; t < TOKENS; t++) {
            vec y = v_load(x + t * PAIR), z = v_load(x + t * PAIR + LANES);
            IN_REGISTER(y);
            IN_REGISTER(z);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) {
                acc[r * TOKENS + t] = v_fma(e[r], y, acc[r * TOKENS + t]);
            }
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) {
                acc[r * TOKENS + t] = v_fma(o[r], z, acc[r * TOKENS + t]);
            }
        }
        x += TOKENS * PAIR;
    }
    /* After all steps lane i has the sum of accumulator LANES / 4 * (i % 4) + i / 4. */
#pragma GCC unroll 4
    for (int step = 0; step < HALVINGS; step++) {
        const int count = LANES >> (step + 1);
#pragma GCC unroll 8
        for (int i = 0; i < count; i++) {
            acc[i] = v_add_halves(acc[2 * i], acc[2 * i + 1], step);
        }
    }
    float line[LANES] __attribute__((aligned(64)));
    v_store(line, acc[0]);
    for (int i = 0; i < LANES; i++) {
        sums[LANES / 4 * (i % 4) + i / 4] = line[i];
    }
}

static void k_many(const uint8_t *const *w, const uint8_t *const *ahead, const float *x, int64_t k, float *sums) {
    k_tile(MANY, w, ahead, x, k, sums);
}

static void k_few(const uint8_t *const *w, const uint8_t *const *ahead, const float *x, int64_t k, float *sums) {
    k_tile(FEW, w, ahead, x, k, sums);
}

/** A token's values to [pair of vectors][token of the group][even ones, odd ones], zeros if it is not there. */
static void pack_k(const struct octet_mla_heads *c, const uint8_t *from, int64_t group, float *row, float *to) {
    if (from) {
        load_floats(from, c->x.bf16, c->x.element, c->k, row);
    }
    for (int64_t d = 0; d < c->k; d += PAIR) {
        vec low = from ? v_load(row + d) : v_all(0), high = from ? v_load(row + d + LANES) : v_all(0);
        v_unzip(&low, &high);
        v_store(to + d * group, low);
        v_store(to + d * group + LANES, high);
    }
}

static void along_k(const struct octet_mla_heads *c, int64_t head, int64_t first, int64_t columns, int64_t token,
        int64_t tokens, const uint8_t *w, const uint8_t *next_task, float *work) {
    const int64_t group = tokens > FEW ? MANY : FEW, groups = (tokens + group - 1) / group;
    const int64_t pitch = (columns + LANES - 1) / LANES * LANES;
    float *x = work, *results = work + OCTET_MLA_HEAD_TOKENS * c->k;
    for (int64_t t = 0; t < groups * group; t++) {
        pack_k(c, t < tokens ? token_at(c, token + t, head) : 0, group, results,
                x + t / group * group * c->k + t % group * PAIR);
    }
    const int64_t step = LANES / group, ahead = (AHEAD_BYTES / (2 * c->k) + step) / step * step;
    const int64_t block = (ROWS_BYTES / (2 * c->k) + step - 1) / step * step;
    for (int64_t from = 0; from < columns; from += block) {
        for (int64_t g = 0; g < groups; g++) {
            for (int64_t n = from; n < smaller(from + block, columns); n += step) {
                const uint8_t *rows[LANES / FEW], *soon[LANES / FEW];
                for (int64_t r = 0; r < step; r++) {
                    rows[r] = w + smaller(n + r, columns - 1) * c->weight_row;
                    int64_t next = n + r + ahead;
                    soon[r] = n / step % groups != g ? rows[r] : next < columns ? w + next * c->weight_row
                            : next_task ? next_task + (next - columns) * c->weight_row : rows[r];
                }
                float sums[LANES];
                (group == FEW ? k_few : k_many)(rows, soon, x + g * group * c->k, c->k, sums);
                for (int64_t r = 0; r < smaller(step, columns - n); r++) {
                    for (int64_t t = 0; t < group; t++) {
                        results[(g * group + t) * pitch + n + r] = sums[r * group + t];
                    }
                }
            }
        }
    }
    for (int64_t t = 0; t < tokens; t++) {
        uint8_t *to = (uint8_t *)c->out.at + (token + t) * c->out.token + head * c->out.head + first * c->out.element;
        for (int64_t n = 0; n < columns; n += LANES) {
            store_floats(v_load(results + t * pitch + n), columns - n, to + n * c->out.element, c->out.bf16,
                    c->out.element);
        }
    }
}

#define NAME2(name, suffix) octet_mla_##name##_##suffix
#define NAME1(name, suffix) NAME2(name, suffix)

void NAME1(heads, SUFFIX)(const struct octet_mla_heads *c, int64_t head, int64_t part, float *work) {
    const int64_t first = part * c->part, columns = smaller(c->part, c->n - first);
    const int64_t parts = (c->n + c->part - 1) / c->part, next = head * parts + part + c->threads;
    const uint8_t *w = first_row(c, head, part);
    for (int64_t token = 0; token < c->tokens; token += OCTET_MLA_HEAD_TOKENS) {
        int64_t tokens = smaller(OCTET_MLA_HEAD_TOKENS, c->tokens - token);
        const uint8_t *soon = token == 0 && next < c->heads * parts ? first_row(c, next / parts, next % parts) : 0;
        (c->along_n ? along_n : along_k)(c, head, first, columns, token, tokens, w, soon, work);
    }
}
