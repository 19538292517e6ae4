/* Few rows of A; see gemm.h, which includes this. */
/*
 * Where the bytes of B are the limit. B is read once, decoded in registers and multiplied with all rows of A, which are
 * decoded already; lanes run along K. The columns of a task are two streams, each through half of them, so that memory
 * sees long sequential reads.
 *
 *   packed          units[block][M][UNITS]
 *   packed_scales   float[block][M]
 */
enum { ROWS = 8 };
/* How far ahead of its use a byte of B is fetched, where a row of B is one segment; else it is the next row's. */
enum { AHEAD = 4096 };
/* Units of A in a segment at most: 32 KiB. */
enum { L1_UNITS = 8192 };

OCTET_EXPORT void NAME(rows_pack)(const struct fp8_gemm *g) {
    int64_t blocks = fp8_blocks(g);
    struct format f = format_of(g->a.format);
    for (int64_t i = 0; i < g->m; i++) {
        uint32_t *to = (uint32_t *)g->packed + i * UNITS;
        for (int64_t b = 0; b < blocks; b++) {
            uint8_t codes[FP8_BLOCK] __attribute__((aligned(64)));
            copy_block(&g->a, i, 1, b * FP8_BLOCK, min64(FP8_BLOCK, g->k - b * FP8_BLOCK), codes);
            decode_few(codes, to + b * g->m * UNITS, f);
            g->packed_scales[b * g->m + i] = fp8_scale(&g->a, i, b);
        }
    }
}

#ifndef OWN_DECODING
/* One block of two rows of B with M rows of A. */
INLINE void rows_block(int M, const uint32_t *a, const uint8_t *b0, const uint8_t *b1, const float *scales0,
                       const float *scales1, vec *sums, struct format f) {
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
#pragma GCC unroll 8
    for (int i = 0; i < M; i++) {
        sums[2 * i] = madd(part[2 * i], set1(scales0[i]), sums[2 * i]);
        sums[2 * i + 1] = madd(part[2 * i + 1], set1(scales1[i]), sums[2 * i + 1]);
    }
}

#endif

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
        rows_block(M, a + b * M * UNITS, p0, p1, scales0 + b * M, scales1 + b * M, sums, f);
    }
    if (whole < to) {
        uint8_t codes[2][FP8_BLOCK] __attribute__((aligned(64))) = {{0}, {0}};
        memcpy(codes[0], b0 + whole * FP8_BLOCK, (size_t)(g->k - whole * FP8_BLOCK));
        memcpy(codes[1], b1 + whole * FP8_BLOCK, (size_t)(g->k - whole * FP8_BLOCK));
        rows_block(M, a + whole * M * UNITS, codes[0], codes[1], scales0 + whole * M, scales1 + whole * M, sums, f);
    }
}

/* Multiplies the scales of a row of B with A's, to [block][M], unless they are there; returns which they are. */
INLINE int64_t row_scales(int M, const struct fp8_gemm *g, int64_t row, int64_t before, float *scales) {
    if (row >> g->b.scale_shift != before) {
        for (int64_t b = 0; b < fp8_blocks(g); b++) {
            float s = fp8_scale(&g->b, row, b);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) {
                scales[b * M + i] = g->packed_scales[b * M + i] * s;
            }
        }
    }
    return row >> g->b.scale_shift;
}

/*
 * K is taken in even segments of which all rows of A stay in L1; the lanes' sums of a segment are kept for the next one.
 *
 *   work    float scales[2][blocks][M], result[M][count], lanes[pair][2 * M][L]
 */
INLINE void rows_range(int M, const struct fp8_gemm *g, int64_t from, int64_t count, float *work) {
    struct format f = rows_format(g);
    int64_t blocks = fp8_blocks(g);
    int64_t segments = (blocks * M * UNITS + L1_UNITS - 1) / L1_UNITS;
    int64_t segment = segments > 0 ? (blocks + segments - 1) / segments : 0;
    int64_t ahead = segments > 1 ? g->b.row_stride : AHEAD;
    int64_t half = (count + 1) / 2;
    float *scales0 = work, *scales1 = scales0 + blocks * M;
    float *result = scales1 + blocks * M;
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
            there0 = row_scales(M, g, from + i, there0, scales0);
            const float *others = scales0;
            if ((from + other) >> g->b.scale_shift != there0) {
                there1 = row_scales(M, g, from + other, there1, scales1);
                others = scales1;
            }
            rows_pair(M, g, from + i, from + other, scales0, others, begin, end, ahead, sums, f);
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
