/*
 * Decode with AVX512_BF16. VDPBF16PS adds two products a lane, of BF16: a record's values as they lie in the cache, and
 * E4M3 codes without their scale, which BF16 holds exactly. FP32 queries and weights are taken as sums of two BF16
 * numbers, x = hi + lo + e with |e| <= 2^-17 |x|, so that a product takes two halves of an instruction: as many
 * instructions as FMAs of FP32 take, but keys need no decoding. BF16 queries have no lo.
 *
 * Scales of FP8 records multiply sums of 128 dimensions in scores, and weights in values. The instruction takes
 * subnormal numbers for 0 and rounds to nearest.
 *
 *   scores   lanes along the rows; a pair of dimensions of a key, 4 bytes of its record, is broadcast. Tiles of 24 keys
 *            by 16 rows or 12 by 32: 24 accumulators, 2 to 4 vectors of queries
 *   values   lanes along the dimensions; two keys' values are put side by side in registers, a pair of weights is
 *            broadcast. Tiles of 6 (and 4) rows by 64 dimensions
 */
#define SUFFIX avx512bf16
#include "avx512.h"

enum { ROW_BYTES = 2 * MAX_DIMS }; /* from one key of a group to the next */

struct keys {
    uint32_t hi[CHUNK / 2][PANEL] __attribute__((aligned(64)));         /* weights of two keys in BF16 */
    uint32_t lo[CHUNK / 2][PANEL] __attribute__((aligned(64)));         /* what is left of them, in BF16 */
    float scales[MAX_BLOCKS][CHUNK] __attribute__((aligned(64)));
    uint8_t k[CHUNK][ROW_BYTES] __attribute__((aligned(64)));           /* keys that can't be used where they are */
    const uint8_t *group[CHUNK / GROUP];                                /* keys in BF16, ROW_BYTES apart */
    const uint8_t *const *token;                                        /* records */
    int64_t keys;
    int converted;                                                      /* whether k holds what it should */
};

static const float ONES[CHUNK] = {[0 ... CHUNK - 1] = 1};

/* ------------------------------------------------------------------------------------------------------------- keys */

#define HIGH_BYTE(m) E4M3_BF16(m) >> 8
#define LOW_BYTE(m) E4M3_BF16(m) & 0xff
static const uint8_t HIGH[128] __attribute__((aligned(64))) = {E4M3_CODES(HIGH_BYTE)};
static const uint8_t LOW[128] __attribute__((aligned(64))) = {E4M3_CODES(LOW_BYTE)};

/** Codes of E4M3 as BF16, without their scale. */
INLINE void decode_codes(const uint8_t *from, int64_t n, uint16_t *to) {
    /* Unpacking takes half of each 128 bits: it gets the halves in order. */
    const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    __m512i h0 = _mm512_load_si512(HIGH), h1 = _mm512_load_si512(HIGH + 64);
    __m512i l0 = _mm512_load_si512(LOW), l1 = _mm512_load_si512(LOW + 64);
    for (int64_t i = 0; i < n; i += 64) {
        __m512i c = _mm512_permutexvar_epi64(order, _mm512_loadu_si512(from + i));
        __m512i h = _mm512_permutex2var_epi8(h0, c, h1);
        __m512i l = _mm512_permutex2var_epi8(l0, c, l1);
        h = _mm512_ternarylogic_epi32(h, c, _mm512_set1_epi8((char)0x80), 0xf8); /* h | c & 0x80 */
        _mm512_store_si512(to + i, _mm512_unpacklo_epi8(l, h));
        _mm512_store_si512(to + i + 32, _mm512_unpackhi_epi8(l, h));
    }
}

INLINE void copy(const uint8_t *from, int64_t bytes, uint8_t *to) {
    int64_t i = 0;
    for (; i + 64 <= bytes; i += 64) {
        _mm512_storeu_si512(to + i, _mm512_loadu_si512(from + i));
    }
    for (; i < bytes; i += 4) {
        memcpy(to + i, from + i, 4);
    }
}

/** Keys of which a block of dimensions is still to be brought into BF16. */
struct pending {
    const uint8_t *const *token; /* the rest of them */
    int64_t keys;
    int64_t at;                  /* where the block begins in a record */
    int64_t bytes;               /* of it in BF16; of codes half as many */
    int codes;
    uint8_t *to;
};

/** Does some of them. */
INLINE void convert(struct pending *p, int64_t keys) {
    for (; keys > 0 && p->keys > 0; keys--, p->keys--) {
        if (p->codes) {
            decode_codes(*p->token++ + p->at, BLOCK, (uint16_t *)p->to);
        } else {
            copy(*p->token++ + p->at, p->bytes, p->to);
        }
        p->to += ROW_BYTES;
    }
}

/** A block of a group's keys; with the first one come their scales. */
static struct pending block_of(const struct octet_mla_call *c, struct keys *w, int64_t j, int64_t d) {
    struct pending p = {w->token + j, w->keys - j < GROUP ? w->keys - j : GROUP, 2 * d, 2 * BLOCK, 0, w->k[j] + 2 * d};
    if (d + BLOCK > c->rank + c->rope) {
        p.bytes = 2 * (c->rank + c->rope - d);
    }
    if (c->format == OCTET_MLA_FP8) {
        p.codes = d < c->rank;
        p.at = p.codes ? d : c->rank + c->rank / BLOCK * 4 + 2 * (d - c->rank);
    }
    for (int64_t b = 0; d == 0 && c->format == OCTET_MLA_FP8 && b < c->rank / BLOCK; b++) {
        for (int64_t i = 0; i < p.keys; i++) {
            memcpy(&w->scales[b][j + i], p.token[i] + c->rank + 4 * b, 4);
        }
        for (int64_t i = p.keys; i < GROUP; i++) {
            w->scales[b][j + i] = 0;
        }
    }
    if (w->group[j / GROUP] != w->k[j]) {
        p.keys = 0;
    }
    return p;
}

/**
 * Finds keys in BF16, ROW_BYTES apart: as they are, or where convert() will put them. Behind the last ones are
 * zeros.
 */
static void load_keys(const struct octet_mla_call *c, struct keys *w, const uint8_t *const *token, int64_t keys) {
    int64_t padded = (keys + GROUP - 1) / GROUP * GROUP;
    w->token = token;
    w->keys = keys;
    w->converted = 0;
    for (int64_t g = 0; g < padded; g += GROUP) {
        int64_t n = keys - g < GROUP ? keys - g : GROUP;
        int together = n == GROUP && c->format == OCTET_MLA_BF16 && c->record_bytes == ROW_BYTES;
        for (int64_t j = 1; together && j < n; j++) {
            together = token[g + j] - token[g + j - 1] == ROW_BYTES;
        }
        w->group[g / GROUP] = together ? token[g] : w->k[g];
    }
    for (int64_t j = keys; j < padded; j++) {
        memset(w->k[j], 0, ROW_BYTES);
    }
}

/* ----------------------------------------------------------------------------------------------------------- scores */

/** s[key][row] += scale[key] * SUM over d of q[d][row] * k[key][d]: VECTORS of 16 rows by KEYS keys. */
INLINE void score_tile(const int VECTORS, const int KEYS, const int TERMS, const uint8_t *q, const uint8_t *k,
        int64_t pairs, const float *scales, float *s, struct ahead *a, struct pending *p) {
    __m512 acc[24];
#pragma GCC unroll 24
    for (int i = 0; i < VECTORS * KEYS; i++) {
        acc[i] = _mm512_setzero_ps();
    }
    int64_t each = p->keys == 0 ? 0 : (p->keys * 8 - 1) / pairs + 1;
    for (int64_t from = 0; from < pairs; from += 8) {
        prefetch(a);
        convert(p, each);
        int64_t end = from + 8 < pairs ? from + 8 : pairs;
        for (int64_t i = from; i < end; i++) {
            __m512bh hi[2], lo[2];
#pragma GCC unroll 2
            for (int r = 0; r < VECTORS; r++) {
                hi[r] = (__m512bh)_mm512_load_si512(q + (r * TERMS) * 64);
                if (TERMS == 2) lo[r] = (__m512bh)_mm512_load_si512(q + (r * TERMS + 1) * 64);
            }
#pragma GCC unroll 24
            for (int j = 0; j < KEYS; j++) {
                int32_t pair;
                memcpy(&pair, k + j * ROW_BYTES, 4);
                __m512bh b = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 2
                for (int r = 0; r < VECTORS; r++) {
                    acc[j * VECTORS + r] = _mm512_dpbf16_ps(acc[j * VECTORS + r], hi[r], b);
                }
                if (TERMS == 2) {
#pragma GCC unroll 2
                    for (int r = 0; r < VECTORS; r++) {
                        acc[j * VECTORS + r] = _mm512_dpbf16_ps(acc[j * VECTORS + r], lo[r], b);
                    }
                }
            }
            q += VECTORS * TERMS * 64;
            k += 4;
        }
    }
#pragma GCC unroll 24
    for (int j = 0; j < KEYS; j++) {
        __m512 scale = _mm512_set1_ps(scales[j]);
#pragma GCC unroll 2
        for (int r = 0; r < VECTORS; r++) {
            float *at = s + j * PANEL + r * 16;
            _mm512_store_ps(at, _mm512_fmadd_ps(acc[j * VECTORS + r], scale, _mm512_load_ps(at)));
        }
    }
}

static void score_2x12x2(const uint8_t *q, const uint8_t *k, int64_t pairs, const float *scales, float *s,
        struct ahead *a, struct pending *p) {
    score_tile(2, 12, 2, q, k, pairs, scales, s, a, p);
}
static void score_1x24x2(const uint8_t *q, const uint8_t *k, int64_t pairs, const float *scales, float *s,
        struct ahead *a, struct pending *p) {
    score_tile(1, 24, 2, q, k, pairs, scales, s, a, p);
}
static void score_2x12x1(const uint8_t *q, const uint8_t *k, int64_t pairs, const float *scales, float *s,
        struct ahead *a, struct pending *p) {
    score_tile(2, 12, 1, q, k, pairs, scales, s, a, p);
}
static void score_1x24x1(const uint8_t *q, const uint8_t *k, int64_t pairs, const float *scales, float *s,
        struct ahead *a, struct pending *p) {
    score_tile(1, 24, 1, q, k, pairs, scales, s, a, p);
}

INLINE int terms(const struct octet_mla_call *c) {
    return c->query_bf16 ? 1 : 2;
}

/** Bytes of a packed query. */
INLINE int64_t packed_bytes(const struct octet_mla_call *c) {
    return (c->rank + c->rope) * 2 * terms(c);
}

/** Scores of a group's keys and a block of dimensions, and in passing what is pending. */
static void score_block(const struct octet_mla_call *c, struct keys *w, const uint8_t *q, int vectors, int64_t j,
        int64_t d, float (*s)[PANEL], struct ahead *a, struct pending *p) {
    const int64_t dims = c->rank + c->rope, pairs = (d + BLOCK < dims ? BLOCK : dims - d) / 2;
    const int both = terms(c) == 2;
    const float *scales = c->format == OCTET_MLA_BF16 || d >= c->rank ? ONES : w->scales[d / BLOCK];
    const uint8_t *k = w->group[j / GROUP] + 2 * d;
    q += d / 2 * vectors * terms(c) * 64;
    if (vectors == 1) {
        (both ? score_1x24x2 : score_1x24x1)(q, k, pairs, scales + j, s[j], a, p);
        return;
    }
    for (int64_t i = 0; i < GROUP; i += 12) {
        (both ? score_2x12x2 : score_2x12x1)(q, k + i * ROW_BYTES, pairs, scales + j + i, s[j + i], a, p);
    }
}

/* ----------------------------------------------------------------------------------------------------------- values */

/**
 * o[row][d] = alpha[row] * o[row][d] + SUM over keys of p[key][row] * v[key][d]: ROWS rows by 64 values. Values of two
 * keys are put side by side on the way, which takes other ports than products do.
 */
INLINE void value_tile(const int ROWS, const uint32_t *hi, const uint32_t *lo, const uint8_t *const *group, int64_t d,
        int64_t pairs, const float *alpha, float *o, int64_t pitch) {
    const __m512i low = _mm512_set_epi32(0x002f000f, 0x002e000e, 0x002d000d, 0x002c000c, 0x002b000b, 0x002a000a,
            0x00290009, 0x00280008, 0x00270007, 0x00260006, 0x00250005, 0x00240004, 0x00230003, 0x00220002,
            0x00210001, 0x00200000);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    __m512 acc[24];
#pragma GCC unroll 24
    for (int i = 0; i < 4 * ROWS; i++) {
        acc[i] = _mm512_setzero_ps();
    }
    for (; pairs > 0; pairs -= GROUP / 2) {
        const uint8_t *v = *group++ + 2 * d;
        int64_t n = pairs < GROUP / 2 ? pairs : GROUP / 2;
        for (int64_t p = 0; p < n; p++) {
            __m512i a0 = _mm512_loadu_si512(v), a1 = _mm512_loadu_si512(v + 64);
            __m512i b0 = _mm512_loadu_si512(v + ROW_BYTES), b1 = _mm512_loadu_si512(v + ROW_BYTES + 64);
            __m512bh x[4];
            x[0] = (__m512bh)_mm512_permutex2var_epi16(a0, low, b0);
            x[1] = (__m512bh)_mm512_permutex2var_epi16(a0, high, b0);
            x[2] = (__m512bh)_mm512_permutex2var_epi16(a1, low, b1);
            x[3] = (__m512bh)_mm512_permutex2var_epi16(a1, high, b1);
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++) {
                __m512bh b = (__m512bh)_mm512_set1_epi32((int)hi[r]);
#pragma GCC unroll 4
                for (int c = 0; c < 4; c++) {
                    acc[4 * r + c] = _mm512_dpbf16_ps(acc[4 * r + c], x[c], b);
                }
            }
#pragma GCC unroll 6
            for (int r = 0; r < ROWS; r++) {
                __m512bh b = (__m512bh)_mm512_set1_epi32((int)lo[r]);
#pragma GCC unroll 4
                for (int c = 0; c < 4; c++) {
                    acc[4 * r + c] = _mm512_dpbf16_ps(acc[4 * r + c], x[c], b);
                }
            }
            v += 2 * ROW_BYTES;
            hi += PANEL;
            lo += PANEL;
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        __m512 factor = _mm512_set1_ps(alpha[r]);
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            float *at = o + r * pitch + 16 * c;
            _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_load_ps(at), factor, acc[4 * r + c]));
        }
    }
}

static void values_6(const uint32_t *hi, const uint32_t *lo, const uint8_t *const *group, int64_t d, int64_t pairs,
        const float *alpha, float *o, int64_t pitch) {
    value_tile(6, hi, lo, group, d, pairs, alpha, o, pitch);
}

static void values_4(const uint32_t *hi, const uint32_t *lo, const uint8_t *const *group, int64_t d, int64_t pairs,
        const float *alpha, float *o, int64_t pitch) {
    value_tile(4, hi, lo, group, d, pairs, alpha, o, pitch);
}

/** Weights of two keys each, times their scale, as sums of two BF16 numbers. */
static void split_weights(struct keys *w, float (*s)[PANEL], int vectors, int64_t pairs, const float *scales) {
    const __m512i zip = _mm512_set_epi32(0x001f000f, 0x001e000e, 0x001d000d, 0x001c000c, 0x001b000b, 0x001a000a,
            0x00190009, 0x00180008, 0x00170007, 0x00160006, 0x00150005, 0x00140004, 0x00130003, 0x00120002,
            0x00110001, 0x00100000);
    for (int64_t p = 0; p < pairs; p++) {
        __m512 s0 = _mm512_set1_ps(scales[2 * p]), s1 = _mm512_set1_ps(scales[2 * p + 1]);
        for (int r = 0; r < vectors; r++) {
            __m512 x0 = _mm512_mul_ps(_mm512_load_ps(s[2 * p] + 16 * r), s0);
            __m512 x1 = _mm512_mul_ps(_mm512_load_ps(s[2 * p + 1] + 16 * r), s1);
            __m512i hi = _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh(x1, x0));
            __m512 l0 = _mm512_sub_ps(x0, _mm512_castsi512_ps(_mm512_slli_epi32(hi, 16)));
            __m512 l1 = _mm512_sub_ps(x1,
                    _mm512_castsi512_ps(_mm512_and_si512(hi, _mm512_set1_epi32((int)0xffff0000))));
            __m512i lo = _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh(l1, l0));
            _mm512_store_si512(w->hi[p] + 16 * r, hi);
            _mm512_store_si512(w->lo[p] + 16 * r, lo);
        }
    }
}

static void values(const struct octet_mla_call *c, struct keys *w, float (*s)[PANEL], int vectors, int64_t keys,
        const float *alpha, float *o) {
    int64_t pairs = (keys + 1) / 2;
    if (keys % 2) {
        memset(s[keys], 0, sizeof s[0]);
    }
    for (int64_t d = 0; d < c->rank; d += STRIPE) {
        if (c->format == OCTET_MLA_BF16 ? d == 0 : d % BLOCK == 0) {
            split_weights(w, s, vectors, pairs, c->format == OCTET_MLA_BF16 ? ONES : w->scales[d / BLOCK]);
        }
        int64_t r = 0;
        for (; r < 12 * vectors; r += 6) {
            values_6(w->hi[0] + r, w->lo[0] + r, w->group, d, pairs, alpha + r, o + r * c->rank + d, c->rank);
        }
        for (; r < 16 * vectors; r += 4) {
            values_4(w->hi[0] + r, w->lo[0] + r, w->group, d, pairs, alpha + r, o + r * c->rank + d, c->rank);
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- queries */

/** 16 rows, to [pair of dimensions][16 rows][BF16, rest of it if they are FP32][pair]. */
static void pack_rows(const struct octet_mla_call *c, float (*x)[MAX_DIMS], int vector, int vectors, uint8_t *to) {
    const int64_t dims = c->rank + c->rope;
    to += vector * terms(c) * 64;
    for (int64_t d = 0; d < dims; d += 32) {
        __m512i hi[16], lo[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m512 a = _mm512_load_ps(x[i] + d), b = _mm512_load_ps(x[i] + d + 16);
            hi[i] = (__m512i)_mm512_cvtne2ps_pbh(b, a);
            __m512i ha = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(hi[i]));
            __m512i hb = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(hi[i], 1));
            lo[i] = (__m512i)_mm512_cvtne2ps_pbh(
                    _mm512_sub_ps(b, _mm512_castsi512_ps(_mm512_slli_epi32(hb, 16))),
                    _mm512_sub_ps(a, _mm512_castsi512_ps(_mm512_slli_epi32(ha, 16))));
        }
        transpose(hi);
        transpose(lo);
        int64_t pairs = dims - d < 32 ? (dims - d) / 2 : 16;
        for (int64_t p = 0; p < pairs; p++) {
            _mm512_store_si512(to, hi[p]);
            if (terms(c) == 2) {
                _mm512_store_si512(to + 64, lo[p]);
            }
            to += vectors * terms(c) * 64;
        }
    }
}

#include "decode.h"
