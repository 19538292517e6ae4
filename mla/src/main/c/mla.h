/*
 * The interface with Java (dev.octet.mla.ffm): attention in the absorbed form over a paged latent cache (decode.h), and
 * in either form with FMAs of FP32 (attend.h). Java has checked every shape, length, stride, page and address before it
 * calls; see NativeDecode.java and NativeAttention.java. All fields are 64 bits wide, so that the layout is the same
 * for every compiler.
 */
#ifndef OCTET_MLA_H
#define OCTET_MLA_H

#include "octet.h"

/* Changes with every change of the functions or of the structures below. */
#define OCTET_MLA_ABI 3

/* Bytes of working memory of a task. */
#define OCTET_MLA_SCRATCH (512 << 10)

enum {
    OCTET_MLA_BF16 = 0,  /* rank + rope values of BF16 */
    OCTET_MLA_FP8 = 1    /* rank codes of E4M3, rank / 128 scales of FP32, rope values of BF16 */
};

/** One call, or as much of it as fits into the working memory at a time. 8 bytes a field. */
struct octet_mla_call {
    const uint8_t *records;     /* [pages][page_size][record_bytes] */
    int64_t format;
    int64_t record_bytes;
    int64_t page_size;          /* tokens */
    int64_t rank;               /* values of the latent: a multiple of 128 */
    int64_t rope;               /* values of the rotary key: even; rank + rope is at most 576 */
    int64_t heads;              /* rows of one query token */
    double scale;               /* what scores are multiplied by */
    int64_t causal;
    int64_t window;             /* keys that a query sees at most, 0 for all */
    const uint8_t *query;       /* [tokens][heads][rank + rope], strides in bytes */
    int64_t query_bf16;         /* else FP32 */
    int64_t query_token, query_head, query_element;
    uint8_t *out;               /* [tokens][heads][rank], strides in bytes */
    int64_t out_bf16;
    int64_t out_token, out_head, out_element;
    uint8_t *lse;               /* FP32 [tokens][heads], strides in bytes, or null */
    int64_t lse_token, lse_head;
    const struct octet_mla_unit *units;
    int64_t unit_count;
    int64_t threads;            /* a hint: the thread that does a split may get the one so many behind it next */
};

/** Rows that share their keys: queries of one sequence times heads. 8 bytes a field. */
struct octet_mla_unit {
    const int32_t *pages;       /* the sequence's page table */
    int64_t keys;               /* tokens of the sequence */
    int64_t queries;            /* query tokens of the sequence: the last ones */
    int64_t first_query;        /* number of its first query token among those of all sequences */
    int64_t first_row;          /* row r is query token r / heads, head r % heads */
    int64_t rows;
    int64_t first_key;          /* keys that any of its rows sees */
    int64_t end_key;
    int64_t splits;             /* pieces of these keys */
    int64_t split_keys;         /* keys of each but the last: a multiple of 24 */
    uint8_t *packed;            /* queries: 4 (rank + rope) bytes a row, rows rounded up to 16; aligned to 64 */
    float *partials;            /* [splits][rows rounded up to 16][rank]; aligned to 64 */
    float *stats;               /* [splits][2][rows rounded up to 16], maxima, then sums; aligned to 64 */
};

struct octet_mla_scratch;

/*
 * The three passes of a call, for each instruction set. Each function does one task of one unit:
 *
 *   pack      32 rows: queries into the form that scores are made from
 *   attend    a split: its keys' part of all rows' sums
 *   join      16 rows: all splits into a result, which is written
 *
 * A task of a pass needs those of the pass before that belong to its unit; tasks of one pass may run side by side, each
 * with OCTET_MLA_SCRATCH bytes to work in, aligned to 64.
 */
#define OCTET_MLA_STEP(name, suffix)                                                                                   \
    OCTET_EXPORT void octet_mla_##name##_##suffix(const struct octet_mla_call *c, int64_t unit, int64_t task,          \
            struct octet_mla_scratch *w)
#define OCTET_MLA_STEPS(suffix)                                                                                        \
    OCTET_MLA_STEP(pack, suffix);                                                                                      \
    OCTET_MLA_STEP(attend, suffix);                                                                                    \
    OCTET_MLA_STEP(join, suffix)

OCTET_MLA_STEPS(avx512);
OCTET_MLA_STEPS(avx512bf16);

/* ------------------------------------------------------------------------------------------------------ either form */

/* Most rows of a unit, and most splits. */
#define OCTET_MLA_ROWS 128
#define OCTET_MLA_SPLITS 16
/* Keys of a split, but for the last one, are a multiple of this. */
#define OCTET_MLA_KEY_STEP 24
/* Bytes of working memory of a task: some of a fixed size, and 4 a value of rows, keys and values. */
#define OCTET_MLA_FIXED_WORK (24 << 10)
#define OCTET_MLA_WORK(own, rope, value_dims)                                                                          \
    (OCTET_MLA_FIXED_WORK                                                                                              \
     + 4 * (OCTET_MLA_ROWS + 96) * (((own) + (rope) + 79) / 64 * 64 + ((value_dims) + 127) / 64 * 64))

/** A tensor [tokens][heads][values], strides in bytes. */
struct octet_mla_rows {
    const uint8_t *at;
    int64_t bf16;               /* else FP32 */
    int64_t token, head, element;
};

/** One call, or as much of it as fits into the working memory at a time. 8 bytes a field. */
struct octet_mla_attention {
    struct octet_mla_rows query;
    struct octet_mla_rows keys, rope_keys, values; /* of the naive form */
    struct octet_mla_rows out;
    uint8_t *lse;               /* FP32 [tokens][heads], strides in bytes, or null */
    int64_t lse_token, lse_head;
    const uint8_t *records;     /* of the absorbed form: [pages][page_size][record_bytes] */
    int64_t absorbed;
    int64_t format;
    int64_t record_bytes;
    int64_t page_size;          /* tokens */
    int64_t own;                /* values of a head's own key, or of a latent */
    int64_t rope;               /* values of the rotary key: own + rope is from 1 to 576 */
    int64_t value_dims;         /* values of a value, up to 576 */
    int64_t rows_per_query;     /* heads that share a unit: all in the absorbed form, 1 in the naive form */
    double scale;               /* what scores are multiplied by */
    int64_t causal;
    int64_t window;             /* keys that a query sees at most, 0 for all */
    const struct octet_mla_group *groups;
};

/** Rows that share their keys. 8 bytes a field. */
struct octet_mla_group {
    const int32_t *pages;       /* the sequence's page table */
    int64_t keys;               /* key tokens of the sequence */
    int64_t queries;            /* query tokens of the sequence: the last ones */
    int64_t first_query;        /* number of its first query token among those of all sequences */
    int64_t first_token;        /* of its first key token */
    int64_t head;               /* row r is query token r / rows_per_query, head head + r % rows_per_query */
    int64_t first_row;
    int64_t rows;
    int64_t first_key;          /* keys that any of its rows sees */
    int64_t end_key;
    int64_t splits;             /* pieces of these keys */
    int64_t split_keys;         /* keys of each but the last: a multiple of 24 */
    /* With more than one split, aligned to 64: */
    float *partials;            /* [splits][rows rounded up to 16][value_dims rounded up to 64] */
    float *stats;               /* [splits][2][rows rounded up to 16], maxima, then sums */
};

/*
 * The two passes of a call, for each instruction set:
 *
 *   sums      a split: its keys' part of all rows' sums, and if there is no other, the result
 *   results   16 rows of a group with several splits into a result
 *
 * Each with OCTET_MLA_WORK bytes to work in, aligned to 64. With avx512bf16 everything that is read is BF16.
 */
#define OCTET_MLA_PASS(name, suffix)                                                                                   \
    OCTET_EXPORT void octet_mla_##name##_##suffix(const struct octet_mla_attention *c, int64_t group, int64_t task,    \
            float *work)
#define OCTET_MLA_PASSES(suffix)                                                                                       \
    OCTET_MLA_PASS(sums, suffix);                                                                                      \
    OCTET_MLA_PASS(results, suffix)

OCTET_MLA_PASSES(avx2);
OCTET_MLA_PASSES(avx512);
OCTET_MLA_PASSES(avx512bf16);

/* ------------------------------------------------------------------------------------------- a matrix for each head */

/* Tokens that are multiplied before a matrix is read again. */
#define OCTET_MLA_HEAD_TOKENS 64
/* Bytes of working memory of a task: its tokens, and its part of the results. */
#define OCTET_MLA_HEADS_WORK(k, part) (4 * OCTET_MLA_HEAD_TOKENS * ((k) + ((part) + 15) / 16 * 16))

/** out[token][head][n] = SUM over k of weight[head][n][k] * x[token][head][k]. 8 bytes a field. */
struct octet_mla_heads {
    struct octet_mla_rows x;    /* [tokens][heads][k] */
    struct octet_mla_rows out;  /* [tokens][heads][n] */
    const uint8_t *weight;      /* BF16 */
    int64_t weight_head;        /* bytes from one head's matrix to the next */
    int64_t weight_row;         /* bytes from one row to the next */
    int64_t along_n;            /* whether a row runs along n, else along k; its extent is a multiple of 32 */
    int64_t tokens, heads, n, k;
    int64_t part;               /* of n, that a task computes; a multiple of 32 */
    int64_t threads;            /* a hint: the thread that does a task may get the one so many behind it next */
};

#define OCTET_MLA_HEADS(suffix)                                                                                        \
    OCTET_EXPORT void octet_mla_heads_##suffix(const struct octet_mla_heads *c, int64_t head, int64_t part,            \
            float *work)

/** A part of a head's results for all tokens, with OCTET_MLA_HEADS_WORK bytes to work in, aligned to 64. */
OCTET_MLA_HEADS(avx2);
OCTET_MLA_HEADS(avx512);

#endif
