/* What both kinds of AVX-512 kernels begin with. */
#include <immintrin.h>
#include <string.h>

#include "mla.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    CHUNK = 96,       /* most keys at a time */
    GROUP = 24,       /* keys that a tile of scores has, or two of them */
    PANEL = 32,       /* most rows at a time */
    BLOCK = 128,      /* dimensions that have a scale of their own, and whose products are added up first */
    STRIPE = 64,      /* values that a tile of sums has */
    MAX_DIMS = 576,
    MAX_BLOCKS = MAX_DIMS / BLOCK,
    MAX_ROWS = 128
};

/* A code of E4M3 without its sign in BF16, which holds all of them; and a table of something of each. */
#define E4M3_BF16(m) ((m) == 0 ? 0 : (m) == 1 ? 118 << 7 : (m) < 4 ? 119 << 7 | ((m) & 1) << 6                         \
        : (m) < 8 ? 120 << 7 | ((m) & 3) << 5 : (m) == 127 ? 0x7fc0 : (((m) >> 3) + 120) << 7 | ((m) & 7) << 4)
#define E4M3_8(f, m) f(m), f(m + 1), f(m + 2), f(m + 3), f(m + 4), f(m + 5), f(m + 6), f(m + 7)
#define E4M3_32(f, m) E4M3_8(f, m), E4M3_8(f, m + 8), E4M3_8(f, m + 16), E4M3_8(f, m + 24)
#define E4M3_CODES(f) E4M3_32(f, 0), E4M3_32(f, 32), E4M3_32(f, 64), E4M3_32(f, 96)

/** Records that are needed soon. */
struct ahead {
    const uint8_t *const *token; /* the rest of them, then null */
    int64_t at;
    int64_t bytes;
    int lines;                   /* to be fetched for every 16 dimensions of a tile of scores */
};

/** Fetches some of them, few enough at a time that memory keeps up with it. */
INLINE void prefetch(struct ahead *a) {
    for (int i = 0; i < a->lines && *a->token; i++) {
        _mm_prefetch((const char *)*a->token + a->at, _MM_HINT_T0);
        a->at += 64;
        if (a->at >= a->bytes) {
            a->at = 0;
            a->token++;
        }
    }
}

/** Rows of 16 ints become columns. */
INLINE void transpose(__m512i x[16]) {
    __m512i y[16];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        y[2 * i] = _mm512_unpacklo_epi32(x[2 * i], x[2 * i + 1]);
        y[2 * i + 1] = _mm512_unpackhi_epi32(x[2 * i], x[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            x[4 * i + 2 * j] = _mm512_unpacklo_epi64(y[4 * i + j], y[4 * i + 2 + j]);
            x[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(y[4 * i + j], y[4 * i + 2 + j]);
        }
    }
    /* x[4 i + j] has columns j, 4 + j, 8 + j and 12 + j of rows 4 i to 4 i + 3. */
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m512i a = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88), b = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88);
        __m512i c = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xdd), d = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xdd);
        y[j] = _mm512_shuffle_i32x4(a, b, 0x88);
        y[4 + j] = _mm512_shuffle_i32x4(c, d, 0x88);
        y[8 + j] = _mm512_shuffle_i32x4(a, b, 0xdd);
        y[12 + j] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        x[i] = y[i];
    }
}

