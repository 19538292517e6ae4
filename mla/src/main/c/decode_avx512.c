/*
 * Decode with AVX-512 and no BF16: products are FMAs of FP32, as the Vector API's kernels make them, and their error
 * bound is the same. A key is brought into FP32 once for all rows, E4M3 times its scale, 16 dimensions at a time
 * between the products of the tile before.
 *
 *   scores   lanes along the rows; a dimension of a key is broadcast. Tiles of 24 keys by 16 rows or 12 by 32
 *   values   lanes along the dimensions; a weight is broadcast. Tiles of 6 (and 4) rows by 64 dimensions
 */
#define SUFFIX avx512
#include "avx512.h"

struct keys {
    float k[CHUNK][MAX_DIMS] __attribute__((aligned(64)));
    float scales[MAX_BLOCKS][CHUNK] __attribute__((aligned(64)));
    const uint8_t *const *token; /* records */
    int64_t keys;
    int converted;               /* whether k holds what it should */
};

/* ------------------------------------------------------------------------------------------------------------- keys */

static const uint16_t CODES[128] __attribute__((aligned(64))) = {E4M3_CODES(E4M3_BF16)};

/** Codes of E4M3 as BF16, without their scale: a table of 4 vectors, and the sign. */
INLINE __m512i decode_32(const uint8_t *from) {
    __m512i c = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)from));
    __m512i low = _mm512_permutex2var_epi16(_mm512_load_si512(CODES), c, _mm512_load_si512(CODES + 32));
    __m512i high = _mm512_permutex2var_epi16(_mm512_load_si512(CODES + 64), c, _mm512_load_si512(CODES + 96));
    __m512i x = _mm512_mask_blend_epi16(_mm512_test_epi16_mask(c, _mm512_set1_epi16(0x40)), low, high);
    return _mm512_or_si512(x, _mm512_slli_epi16(_mm512_and_si512(c, _mm512_set1_epi16(0x80)), 8));
}

static void decode_codes(const uint8_t *from, int64_t n, uint16_t *to) {
    for (int64_t i = 0; i < n; i += 32) {
        _mm512_store_si512(to + i, decode_32(from + i));
    }
}

INLINE __m512 widen(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

/** Keys of which a block of dimensions is still to be brought into FP32. */
struct pending {
    const uint8_t *const *token; /* the rest of them */
    int64_t keys;
    int64_t at;                  /* where the block begins in a record */
    int64_t dims;
    const float *scale;          /* of codes, else null */
    float *to;
};

/** Does some of them. */
INLINE void convert(struct pending *p, int64_t keys) {
    for (; keys > 0 && p->keys > 0; keys--, p->keys--) {
        const uint8_t *from = *p->token++ + p->at;
        int64_t d = 0;
        if (p->scale) {
            __m512 scale = _mm512_set1_ps(*p->scale++);
            for (; d < BLOCK; d += 32) {
                __m512i x = decode_32(from + d);
                _mm512_store_ps(p->to + d, _mm512_mul_ps(widen(_mm512_castsi512_si256(x)), scale));
                _mm512_store_ps(p->to + d + 16, _mm512_mul_ps(widen(_mm512_extracti64x4_epi64(x, 1)), scale));
            }
        } else {
            for (; d + 16 <= p->dims; d += 16) {
                _mm512_store_ps(p->to + d, widen(_mm256_loadu_si256((const __m256i *)(from + 2 * d))));
            }
            for (; d < p->dims; d++) {
                uint16_t half;
                memcpy(&half, from + 2 * d, 2);
                uint32_t bits = (uint32_t)half << 16;
                memcpy(p->to + d, &bits, 4);
            }
        }
        p->to += MAX_DIMS;
    }
}

/** A block of a group's keys; with the first one come their scales. */
static struct pending block_of(const struct octet_mla_call *c, struct keys *w, int64_t j, int64_t d) {
    struct pending p = {w->token + j, w->keys - j < GROUP ? w->keys - j : GROUP, 2 * d, BLOCK, 0, w->k[j] + d};
    if (d + BLOCK > c->rank + c->rope) {
        p.dims = c->rank + c->rope - d;
    }
    for (int64_t b = 0; d == 0 && c->format == OCTET_MLA_FP8 && b < c->rank / BLOCK; b++) {
        for (int64_t i = 0; i < p.keys; i++) {
            memcpy(&w->scales[b][j + i], p.token[i] + c->rank + 4 * b, 4);
        }
    }
    if (c->format == OCTET_MLA_FP8) {
        p.scale = d < c->rank ? w->scales[d / BLOCK] + j : 0;
        p.at = p.scale ? d : c->rank + c->rank / BLOCK * 4 + 2 * (d - c->rank);
    }
    return p;
}

/** Keys that are brought into FP32 between their products; behind the last ones are zeros. */
static void load_keys(const struct octet_mla_call *c, struct keys *w, const uint8_t *const *token, int64_t keys) {
    int64_t padded = (keys + GROUP - 1) / GROUP * GROUP;
    (void)c;
    w->token = token;
    w->keys = keys;
    w->converted = 0;
    for (int64_t j = keys; j < padded; j++) {
        memset(w->k[j], 0, sizeof w->k[j]);
    }
}

/* ----------------------------------------------------------------------------------------------------------- scores */

/** s[key][row] += SUM over d of q[d][row] * k[key][d]: VECTORS of 16 rows by KEYS keys. */
INLINE void score_tile(const int VECTORS, const int KEYS, const float *q, const float *k, int64_t dims, float *s,
        struct ahead *a, struct pending *p) {
    __m512 acc[24];
#pragma GCC unroll 24
    for (int i = 0; i < VECTORS * KEYS; i++) {
        acc[i] = _mm512_setzero_ps();
    }
    int64_t each = p->keys == 0 ? 0 : (p->keys * 16 - 1) / dims + 1;
    for (int64_t from = 0; from < dims; from += 16) {
        prefetch(a);
        convert(p, each);
        int64_t end = from + 16 < dims ? from + 16 : dims;
        for (int64_t d = from; d < end; d++) {
            __m512 x[2];
#pragma GCC unroll 2
            for (int r = 0; r < VECTORS; r++) {
                x[r] = _mm512_load_ps(q + 16 * r);
            }
#pragma GCC unroll 24
            for (int j = 0; j < KEYS; j++) {
                __m512 y = _mm512_set1_ps(k[j * MAX_DIMS]);
#pragma GCC unroll 2
                for (int r = 0; r < VECTORS; r++) {
                    acc[j * VECTORS + r] = _mm512_fmadd_ps(x[r], y, acc[j * VECTORS + r]);
                }
            }
            q += 16 * VECTORS;
            k++;
        }
    }
#pragma GCC unroll 24
    for (int j = 0; j < KEYS; j++) {
#pragma GCC unroll 2
        for (int r = 0; r < VECTORS; r++) {
            float *at = s + j * PANEL + r * 16;
            _mm512_store_ps(at, _mm512_add_ps(acc[j * VECTORS + r], _mm512_load_ps(at)));
        }
    }
}

static void score_2x12(const float *q, const float *k, int64_t dims, float *s, struct ahead *a, struct pending *p) {
    score_tile(2, 12, q, k, dims, s, a, p);
}

static void score_1x24(const float *q, const float *k, int64_t dims, float *s, struct ahead *a, struct pending *p) {
    score_tile(1, 24, q, k, dims, s, a, p);
}

/** Bytes of a packed query. */
INLINE int64_t packed_bytes(const struct octet_mla_call *c) {
    return (c->rank + c->rope) * 4;
}

/** Scores of a group's keys and a block of dimensions, and in passing what is pending. */
static void score_block(const struct octet_mla_call *c, struct keys *w, const uint8_t *packed, int vectors, int64_t j,
        int64_t d, float (*s)[PANEL], struct ahead *a, struct pending *p) {
    const int64_t all = c->rank + c->rope, dims = d + BLOCK < all ? BLOCK : all - d;
    const float *q = (const float *)(const void *)packed + d * vectors * 16;
    if (vectors == 1) {
        score_1x24(q, w->k[j] + d, dims, s[j], a, p);
        return;
    }
    score_2x12(q, w->k[j] + d, dims, s[j], a, p);
    score_2x12(q, w->k[j + 12] + d, dims, s[j + 12], a, p);
}

/* ----------------------------------------------------------------------------------------------------------- values */

/** o[row][d] = alpha[row] * o[row][d] + SUM over keys of p[key][row] * v[key][d]: ROWS rows by 64 values. */
INLINE void value_tile(const int ROWS, const float *p, const float *v, int64_t keys, const float *alpha, float *o,
        int64_t pitch) {
    __m512 acc[24];
#pragma GCC unroll 24
    for (int i = 0; i < 4 * ROWS; i++) {
        acc[i] = _mm512_setzero_ps();
    }
    for (int64_t j = 0; j < keys; j++) {
        __m512 x[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            x[i] = _mm512_load_ps(v + 16 * i);
        }
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            __m512 y = _mm512_set1_ps(p[r]);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                acc[4 * r + i] = _mm512_fmadd_ps(x[i], y, acc[4 * r + i]);
            }
        }
        v += MAX_DIMS;
        p += PANEL;
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        __m512 factor = _mm512_set1_ps(alpha[r]);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            float *at = o + r * pitch + 16 * i;
            _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_load_ps(at), factor, acc[4 * r + i]));
        }
    }
}

static void values_6(const float *p, const float *v, int64_t keys, const float *alpha, float *o, int64_t pitch) {
    value_tile(6, p, v, keys, alpha, o, pitch);
}

static void values_4(const float *p, const float *v, int64_t keys, const float *alpha, float *o, int64_t pitch) {
    value_tile(4, p, v, keys, alpha, o, pitch);
}

static void values(const struct octet_mla_call *c, struct keys *w, float (*s)[PANEL], int vectors, int64_t keys,
        const float *alpha, float *o) {
    for (int64_t d = 0; d < c->rank; d += STRIPE) {
        int64_t r = 0;
        for (; r < 12 * vectors; r += 6) {
            values_6(s[0] + r, w->k[0] + d, keys, alpha + r, o + r * c->rank + d, c->rank);
        }
        for (; r < 16 * vectors; r += 4) {
            values_4(s[0] + r, w->k[0] + d, keys, alpha + r, o + r * c->rank + d, c->rank);
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- queries */

/** 16 rows, to [dimension][16 rows]. */
static void pack_rows(const struct octet_mla_call *c, float (*x)[MAX_DIMS], int vector, int vectors, uint8_t *packed) {
    const int64_t dims = c->rank + c->rope;
    float *to = (float *)(void *)packed + 16 * vector;
    for (int64_t d = 0; d < dims; d += 16) {
        __m512i y[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            y[i] = _mm512_load_si512(x[i] + d);
        }
        transpose(y);
        for (int64_t i = 0; i < 16 && d + i < dims; i++) {
            _mm512_store_si512(to, y[i]);
            to += 16 * vectors;
        }
    }
}

#include "decode.h"
