/*
 * The GEMM, D = A * B^T with promotion every 128 of K, for any instruction set. A file that includes this one defines
 * first, for its instruction set:
 *
 *   SUFFIX             the end of the functions' names
 *   L                  lanes of a vector of FP32
 *   U                  elements of K in a unit of 32 bits: 2 of BF16 or 1 of FP32, both of which hold every code exactly
 *   vec, uvec          vectors of L sums, of L units
 *   STEP               codes that are decoded at once
 *   struct format      what decoding needs; format_of(format)
 *   decode(codes, out, f)                STEP codes to STEP / (U * L) vectors of units, in order
 *   decode_shuffled(codes, out, f)       the same in any order, always the same one, where that is cheaper
 *   dot(sum, a, b)     sum + a * b in each lane, for BF16 both products one after the other
 *   zero, set1, load, store, mul, madd (fused), uload, ustore, uset1 (broadcast of a unit in memory), transpose (of L vectors),
 *   total (adds the lanes in a fixed order)
 *   V, C               vectors of rows and columns of the largest tile; V * C is a multiple of 3 if V is 4
 *   OWN_SWEEP          if it has a function sweep of its own, which it declares
 *   RUN                tasks' decoded columns that fit in L1: a multiple of V * C
 *
 * Sums of a block are added up in FP32 from 0, multiplied with the product of the scales, and added to the running sums
 * by one FMA: at most 127 + 2 + B - 1 roundings for a term, as the error bound wants. A NaN code becomes a NaN, an
 * infinite one an infinity: IEEE arithmetic does the rest.
 */
#include <string.h>

#include "codes.h"
#include "finish.h"
#include "fp8.h"

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(f) JOIN(octet_fp8_##f, SUFFIX)
#define INLINE static inline __attribute__((always_inline))

INLINE vec opaque(vec v) {
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#else
    __asm__("" : "+w"(v));
#endif
    return v;
}

/* Units of a block of 128. */
enum { UNITS = FP8_BLOCK / U };
/* Vectors that one step of decoding gives. */
enum { STEP_VECS = STEP / (U * L) };

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* 128 codes to UNITS units. */
INLINE void decode_block(const uint8_t *codes, uint32_t *units, int shuffled, struct format f) {
    for (int s = 0; s < FP8_BLOCK; s += STEP) {
        uvec x[STEP_VECS];
        if (shuffled) {
            decode_shuffled(codes + s, x, f);
        } else {
            decode(codes + s, x, f);
        }
        for (int v = 0; v < STEP_VECS; v++) {
            ustore(units + s / U + v * L, x[v]);
        }
    }
}

/* ------------------------------------------------------------------------------------------------- few rows of A */

/*
 * Where the bytes of B are the limit. B is read once, decoded in registers and multiplied with all rows of A, which are
 * decoded already; lanes run along K. The columns of a task are two streams, each through half of them, so that memory
 * sees long sequential reads.
 *
 *   packed          units[block][M][UNITS]
 *   packed_scales   float[block][ROWS]
 */
enum { ROWS = 8 };
/* How far ahead of its use a byte of B is fetched, where a row of B is one segment; else it is the next row's. */
enum { AHEAD = 2048 };
/* Units of A in a segment: 32 KiB. */
enum { L1_UNITS = 8192 };

OCTET_EXPORT void NAME(rows_pack)(const struct fp8_gemm *g) {
    int64_t blocks = fp8_blocks(g);
    struct format f = format_of(g->a.format);
    for (int64_t i = 0; i < g->m; i++) {
        uint32_t *to = (uint32_t *)g->packed + i * UNITS;
        for (int64_t b = 0; b < blocks; b++) {
            uint8_t codes[FP8_BLOCK] __attribute__((aligned(64)));
            copy_block(&g->a, i, 1, b * FP8_BLOCK, min64(FP8_BLOCK, g->k - b * FP8_BLOCK), codes);
            decode_block(codes, to + b * g->m * UNITS, 1, f);
            g->packed_scales[b * ROWS + i] = fp8_scale(&g->a, i, b);
        }
    }
}

/* One block of two rows of B with M rows of A. */
INLINE void rows_block(int M, const uint32_t *a, const uint8_t *b0, const uint8_t *b1,
                       const float *scales_a, float scale0, float scale1, vec *sums, struct format f) {
    vec part[2 * ROWS];
    for (int i = 0; i < 2 * M; i++) {
        part[i] = zero();
    }
#pragma GCC unroll 2
    for (int s = 0; s < FP8_BLOCK; s += STEP) {
        uvec x0[STEP_VECS], x1[STEP_VECS];
        decode_shuffled(b0 + s, x0, f);
        decode_shuffled(b1 + s, x1, f);
#pragma GCC unroll 8
        for (int v = 0; v < STEP_VECS; v++) {
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) {
                uvec y = uload(a + i * UNITS + s / U + v * L);
                part[2 * i] = dot(part[2 * i], y, x0[v]);
                part[2 * i + 1] = dot(part[2 * i + 1], y, x1[v]);
            }
        }
    }
    /* Opaque, or products of scalars would be broadcast, which takes shuffles; a broadcast load takes none. */
    vec s0 = opaque(set1(scale0)), s1 = opaque(set1(scale1));
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) {
        vec s = set1(scales_a[i]);
        sums[2 * i] = madd(part[2 * i], mul(s, s0), sums[2 * i]);
        sums[2 * i + 1] = madd(part[2 * i + 1], mul(s, s1), sums[2 * i + 1]);
    }
}

/* Two rows of B with M rows of A, blocks [from, to) of K: sums += ... */
INLINE void rows_pair(int M, const struct fp8_gemm *g, int64_t row0, int64_t row1, const float *scales0,
                      const float *scales1, int64_t from, int64_t to, int64_t ahead, vec *sums, struct format f) {
    const uint32_t *a = (const uint32_t *)g->packed;
    int64_t whole = min64(to, g->k / FP8_BLOCK);
    const uint8_t *b0 = g->b.codes + row0 * g->b.row_stride;
    const uint8_t *b1 = g->b.codes + row1 * g->b.row_stride;
    for (int64_t b = from; b < whole; b++) {
        const uint8_t *p0 = b0 + b * FP8_BLOCK, *p1 = b1 + b * FP8_BLOCK;
        for (int line = 0; line < FP8_BLOCK; line += 64) {
            __builtin_prefetch(p0 + ahead + line);
            __builtin_prefetch(p1 + ahead + line);
        }
        rows_block(M, a + b * M * UNITS, p0, p1, g->packed_scales + b * ROWS, scales0[b], scales1[b],
                   sums, f);
    }
    if (whole < to) {
        uint8_t codes[2][FP8_BLOCK] __attribute__((aligned(64))) = {{0}, {0}};
        memcpy(codes[0], b0 + whole * FP8_BLOCK, (size_t)(g->k - whole * FP8_BLOCK));
        memcpy(codes[1], b1 + whole * FP8_BLOCK, (size_t)(g->k - whole * FP8_BLOCK));
        rows_block(M, a + whole * M * UNITS, codes[0], codes[1], g->packed_scales + whole * ROWS,
                   scales0[whole], scales1[whole], sums, f);
    }
}

/* Fetches the scales of a row of B unless they are there; returns which they are. */
static inline int64_t row_scales(const struct fp8_gemm *g, int64_t row, int64_t before, float *scales) {
    if (row >> g->b.scale_shift != before) {
        for (int64_t b = 0; b < fp8_blocks(g); b++) {
            scales[b] = fp8_scale(&g->b, row, b);
        }
    }
    return row >> g->b.scale_shift;
}

/*
 * K is taken in segments of which all rows of A stay in L1; the lanes' sums of a segment are kept for the next one.
 *
 *   work    float scales[2][blocks], result[M][count], lanes[pair][2 * M][L]
 */
INLINE void rows_range(int M, const struct fp8_gemm *g, int64_t from, int64_t count, float *work) {
    struct format f = format_of(g->b.format);
    int64_t blocks = fp8_blocks(g);
    int64_t segment = L1_UNITS / (M * UNITS);
    int64_t ahead = blocks > segment ? g->b.row_stride : AHEAD;
    int64_t half = (count + 1) / 2;
    float *scales0 = work, *scales1 = scales0 + blocks;
    float *result = scales1 + blocks;
    float *lanes = result + M * count;
    int64_t there0 = -1, there1 = -1;
    int64_t begin = 0;
    do {
        int64_t end = min64(blocks, begin + segment);
        for (int64_t i = 0; i < half; i++) {
            int64_t other = min64(i + half, count - 1); /* with an odd count the last row, again */
            float *kept = lanes + i * 2 * M * L;
            vec sums[2 * ROWS];
#pragma GCC unroll 16
            for (int j = 0; j < 2 * M; j++) {
                sums[j] = begin == 0 ? zero() : load(kept + j * L);
            }
            there0 = row_scales(g, from + i, there0, scales0);
            there1 = row_scales(g, from + other, there1, scales1);
            rows_pair(M, g, from + i, from + other, scales0, scales1, begin, end, ahead, sums, f);
            if (end < blocks) {
#pragma GCC unroll 16
                for (int j = 0; j < 2 * M; j++) {
                    store(kept + j * L, sums[j]);
                }
                continue;
            }
#pragma GCC unroll 8
            for (int m = 0; m < M; m++) {
                result[m * count + i] = total(sums[2 * m]);
                result[m * count + other] = total(sums[2 * m + 1]);
            }
        }
        begin = end;
    } while (begin < blocks);
    for (int m = 0; m < M; m++) {
        finish_row(g, m, from, result + m * count, count);
    }
}

#define ROWS_RANGE(M)                                                                                                  \
    static void rows_range_##M(const struct fp8_gemm *g, int64_t from, int64_t count, float *work) {                  \
        rows_range(M, g, from, count, work);                                                                           \
    }
ROWS_RANGE(1)
ROWS_RANGE(2)
ROWS_RANGE(3)
ROWS_RANGE(4)
ROWS_RANGE(5)
ROWS_RANGE(6)
ROWS_RANGE(7)
ROWS_RANGE(8)

/* Columns [from, from + count) of D, of which A has up to 8 rows. work: see rows_range */
OCTET_EXPORT void NAME(rows)(const struct fp8_gemm *g, int64_t from, int64_t count, float *work) {
    switch (g->m) {
    case 1: rows_range_1(g, from, count, work); break;
    case 2: rows_range_2(g, from, count, work); break;
    case 3: rows_range_3(g, from, count, work); break;
    case 4: rows_range_4(g, from, count, work); break;
    case 5: rows_range_5(g, from, count, work); break;
    case 6: rows_range_6(g, from, count, work); break;
    case 7: rows_range_7(g, from, count, work); break;
    case 8: rows_range_8(g, from, count, work); break;
    default: break;
    }
}

/* ------------------------------------------------------------------------------------------------ many rows of A */

/*
 * Where the arithmetic is the limit. A is decoded and transposed once into panels of up to V * L rows, lanes along the
 * rows; a task decodes a block of its columns at a time, sweeps it with all panels of A, and keeps its running sums.
 *
 *   packed          units[block][panel][UNITS][rows of the panel]: block * padded + first row of the panel, times UNITS
 *   packed_scales   float[block][padded]
 *   padded          M rounded up to whole vectors; all panels but the last have V * L rows
 *   work            float sums[panel][columns][rows of the panel], units decoded[RUN][UNITS], float scales[columns],
 *                   float finished[L][columns]; columns rounded up to V * C
 */
enum { PANEL = V * L };
enum { GROUP = V * C };

static inline int64_t padded_rows(int64_t m) {
    return (m + L - 1) / L * L;
}

static inline int64_t padded_columns(int64_t n) {
    return (n + GROUP - 1) / GROUP * GROUP;
}

/* The constants by which Java sizes memory and cuts work, in the order of dev.octet.fp8.ffm.GemmLayout. */
OCTET_EXPORT int64_t NAME(layout)(int64_t which) {
    switch (which) {
    case 0: return L;
    case 1: return PANEL;
    case 2: return GROUP;
    case 3: return UNITS;
    case 4: return RUN;
    default: return 0;
    }
}

/* Packs the panel that begins with a row, blocks [from, to) of K. */
OCTET_EXPORT void NAME(pack)(const struct fp8_gemm *g, int64_t row, int64_t from, int64_t to) {
    struct format f = format_of(g->a.format);
    int64_t padded = padded_rows(g->m);
    int64_t height = min64(PANEL, padded - row);
    for (int64_t b = from; b < to; b++) {
        uint32_t *panel = (uint32_t *)g->packed + (b * padded + row) * UNITS;
        uint32_t units[PANEL * UNITS] __attribute__((aligned(64)));
        int64_t length = min64(FP8_BLOCK, g->k - b * FP8_BLOCK);
        for (int64_t r = 0; r < height; r += L) {
            uint8_t codes[L * FP8_BLOCK] __attribute__((aligned(64)));
            int64_t there = min64(L, g->m - row - r);
            if (g->a.k_stride == 1) { /* the next block, of rows far from each other */
                for (int64_t i = 0; i < there; i++) {
                    const uint8_t *next = g->a.codes + (row + r + i) * g->a.row_stride + (b + 1) * FP8_BLOCK;
                    __builtin_prefetch(next);
                    __builtin_prefetch(next + 64);
                }
            }
            copy_block(&g->a, row + r, there, b * FP8_BLOCK, length, codes);
            memset(codes + there * FP8_BLOCK, 0, (size_t)((L - there) * FP8_BLOCK));
            for (int i = 0; i < L; i++) {
                decode_block(codes + i * FP8_BLOCK, units + (r + i) * UNITS, 0, f);
            }
            for (int i = 0; i < L; i++) {
                g->packed_scales[b * padded + row + r + i] = i < there ? fp8_scale(&g->a, row + r + i, b) : 0;
            }
        }
        for (int u = 0; u < UNITS; u += L) { /* lines of the panel in order, near enough */
            for (int64_t r = 0; r < height; r += L) {
                uvec x[L];
                for (int i = 0; i < L; i++) {
                    x[i] = uload(units + (r + i) * UNITS + u);
                }
                transpose(x);
                for (int i = 0; i < L; i++) {
                    ustore(panel + (u + i) * height + r, x[i]);
                }
            }
        }
    }
}

/* Fetches the codes of columns that are decoded next; next may be 0. */
INLINE void fetch(const uint8_t *next, int64_t column, int64_t count, int64_t stride) {
    for (int64_t j = column; next != 0 && j < column + count; j++) {
        __builtin_prefetch(next + j * stride);
        __builtin_prefetch(next + j * stride + 64);
    }
}

#ifndef OWN_SWEEP
/* v vectors of rows, c columns, one block: sums[c][v * L] += block sums * scales */
INLINE void tile(int v, int c, const uint32_t *a, const uint32_t *b, float *sums, const float *scales_a,
                 const float *scales_b) {
    vec part[V * C];
    for (int i = 0; i < v * c; i++) {
        part[i] = zero();
    }
    for (int j = 0; j < c; j++) { /* they come from L2, and are not needed for a while */
        for (int i = 0; i < v; i++) {
            __builtin_prefetch(sums + (j * v + i) * L);
        }
    }
#pragma GCC unroll 2
    for (int u = 0; u < UNITS; u++) {
        uvec x[V];
#pragma GCC unroll 8
        for (int i = 0; i < v; i++) {
            x[i] = uload(a + (u * v + i) * L);
        }
#pragma GCC unroll 32
        for (int j = 0; j < c; j++) {
            uvec y = uset1(b + j * UNITS + u);
#pragma GCC unroll 8
            for (int i = 0; i < v; i++) {
                part[j * v + i] = dot(part[j * v + i], x[i], y);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < v; i++) {
        vec s = load(scales_a + i * L);
#pragma GCC unroll 32
        for (int j = 0; j < c; j++) {
            float *to = sums + (j * v + i) * L;
            store(to, madd(part[j * v + i], mul(s, set1(scales_b[j])), load(to)));
        }
    }
}

/*
 * All tiles of a panel of v vectors of rows with some columns. Codes that are decoded next are fetched meanwhile, those
 * of a tile's columns before the tile: all at once, while decoding, they would be waited for.
 */
#define SWEEP(v)                                                                                                       \
    static void sweep_##v(const uint32_t *a, const uint32_t *b, int64_t columns, float *sums, const float *scales_a,  \
                          const float *scales_b, const uint8_t *next, int64_t stride) {                                \
        enum { c = V * C / v };                                                                                        \
        for (int64_t n = 0; n < columns; n += c) {                                                                     \
            fetch(next, n, c, stride);                                                                                 \
            tile(v, c, a, b + n * UNITS, sums + n * v * L, scales_a, scales_b + n);                                    \
        }                                                                                                              \
    }
SWEEP(1)
SWEEP(2)
#if V == 4
SWEEP(3)
SWEEP(4)
#endif

static void sweep(int64_t v, const uint32_t *a, const uint32_t *b, int64_t columns, float *sums, const float *scales_a,
                  const float *scales_b, const uint8_t *next, int64_t stride) {
    switch (v) {
    case 1: sweep_1(a, b, columns, sums, scales_a, scales_b, next, stride); break;
    case 2: sweep_2(a, b, columns, sums, scales_a, scales_b, next, stride); break;
#if V == 4
    case 3: sweep_3(a, b, columns, sums, scales_a, scales_b, next, stride); break;
    case 4: sweep_4(a, b, columns, sums, scales_a, scales_b, next, stride); break;
#endif
    default: break;
    }
}
#endif

#ifdef OWN_SWEEP
static void sweep(int64_t v, const uint32_t *a, const uint32_t *b, int64_t columns, float *sums, const float *scales_a,
                  const float *scales_b, const uint8_t *next, int64_t stride);
#endif

/* Decodes a block of some columns. */
static void decode_columns(const struct fp8_gemm *g, int64_t from, int64_t count, int64_t block, uint32_t *to,
                           struct format f) {
    int64_t k = block * FP8_BLOCK;
    int64_t length = min64(FP8_BLOCK, g->k - k);
    if (g->b.k_stride == 1 && length == FP8_BLOCK) {
        const uint8_t *codes = g->b.codes + from * g->b.row_stride + k;
        for (int64_t i = 0; i < count; i++) {
            decode_block(codes + i * g->b.row_stride, to + i * UNITS, 0, f);
        }
        return;
    }
    for (int64_t i = 0; i < count; i += 16) {
        uint8_t codes[16 * FP8_BLOCK] __attribute__((aligned(64)));
        int64_t there = min64(16, count - i);
        copy_block(&g->b, from + i, there, k, length, codes);
        for (int64_t j = 0; j < there; j++) {
            decode_block(codes + j * FP8_BLOCK, to + (i + j) * UNITS, 0, f);
        }
    }
}

/* Where the codes lie that are decoded after those of a block: the columns' next block, or the next columns' first. */
static inline const uint8_t *next_codes(const struct fp8_gemm *g, int64_t from, int64_t count, int64_t block) {
    if (g->b.k_stride != 1) {
        return 0;
    }
    return block + 1 < fp8_blocks(g) ? g->b.codes + from * g->b.row_stride + (block + 1) * FP8_BLOCK
                                     : g->b.codes + (from + count) * g->b.row_stride;
}

/* Transposes the sums of L rows and finishes them. */
static void finish_rows(const struct fp8_gemm *g, int64_t row, int64_t from, int64_t count, const float *sums,
                        int64_t height, float *finished, int64_t stride) {
    for (int64_t n = 0; n < count; n += L) {
        uvec x[L];
        for (int i = 0; i < L; i++) { /* beyond the last column there are sums too, or other rows' */
            x[i] = uload((const uint32_t *)(sums + min64(n + i, count - 1) * height));
        }
        transpose(x);
        for (int i = 0; i < L; i++) {
            ustore((uint32_t *)(finished + i * stride + n), x[i]);
        }
    }
    for (int64_t i = 0; i < min64(L, g->m - row); i++) {
        finish_row(g, row + i, from, finished + i * stride, count);
    }
}

/*
 * Columns [from, from + count) of rows [first, first + rows) of D; the first row begins a panel.
 * work: see above, for that many rows and columns
 */
OCTET_EXPORT void NAME(gemm)(const struct fp8_gemm *g, int64_t first, int64_t rows, int64_t from, int64_t count,
                             float *work) {
    struct format f = format_of(g->b.format);
    int64_t padded = padded_rows(g->m);
    int64_t height = padded_rows(rows);
    int64_t columns = padded_columns(count);
    int64_t stride = (count + L - 1) / L * L; /* of finished rows */
    float *sums = work;
    uint32_t *decoded = (uint32_t *)(sums + height * columns);
    float *scales_b = (float *)(decoded + RUN * UNITS);
    float *finished = scales_b + columns;
    memset(sums, 0, (size_t)(height * columns) * sizeof(float));
    memset(scales_b + count, 0, (size_t)(columns - count) * sizeof(float));
    for (int64_t b = 0; b < fp8_blocks(g); b++) {
        for (int64_t i = 0; i < count; i++) {
            int same = i > 0 && (from + i) >> g->b.scale_shift == (from + i - 1) >> g->b.scale_shift;
            scales_b[i] = same ? scales_b[i - 1] : fp8_scale(&g->b, from + i, b);
        }
        for (int64_t n = 0; n < count; n += RUN) {
            int64_t there = min64(RUN, count - n);
            int64_t swept = padded_columns(there);
            decode_columns(g, from + n, there, b, decoded, f);
            memset(decoded + there * UNITS, 0, (size_t)((swept - there) * UNITS) * sizeof(uint32_t));
            const uint8_t *next = next_codes(g, from + n, there, b);
            for (int64_t r = 0; r < height; r += PANEL) {
                int64_t v = min64(PANEL, height - r) / L;
                sweep(v, (const uint32_t *)g->packed + (b * padded + first + r) * UNITS, decoded, swept,
                      sums + r * columns + n * v * L, g->packed_scales + b * padded + first + r, scales_b + n,
                      r == 0 ? next : 0, g->b.row_stride);
            }
        }
    }
    for (int64_t r = 0; r < height; r += PANEL) {
        int64_t width = min64(PANEL, height - r);
        for (int64_t i = 0; i < width; i += L) {
            finish_rows(g, first + r + i, from, count, sums + r * columns + i, width, finished, stride);
        }
    }
}
