/*
 * Many rows of A, where the arithmetic is the limit; see gemm.h, which includes this. A is decoded and transposed once
 * into panels of up to V * L rows, lanes along the rows; a task decodes a block of its columns at a time, sweeps it with
 * all panels of A, and keeps its running sums.
 *
 * Codes are decoded between the products: behind the last tile that reads a block of some columns, their next block is
 * decoded to the same place, while that tile's products still wait for their turn.
 *
 *   packed          units[block][panel][UNITS][rows of the panel]: block * padded + first row of the panel, times UNITS
 *   packed_scales   float[block][padded]
 *   padded          M rounded up to whole vectors; all panels but the last have V * L rows
 *   work            float sums[panel][columns][rows of the panel], then the tail's [TAIL_COLUMNS of them][row][column],
 *                   units decoded[RUN][UNITS], turned[UNITS][TAIL_COLUMNS], float scales[columns + TAIL_COLUMNS],
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

/*
 * Rows of the tail: the last ones of A, if there are so few beyond whole vectors that a tile with columns of B in its lanes
 * is the faster one. They have the same sums, and lie unturned behind the panels: packed units[block][row][UNITS].
 */
#ifdef TAIL
enum { TAIL_V = V * C / TAIL };
enum { TAIL_COLUMNS = TAIL_V * L };

static inline int64_t tail_rows(int64_t m) {
    return m % L <= TAIL ? m % L : 0;
}
#else
enum { TAIL_COLUMNS = 0 };

static inline int64_t tail_rows(int64_t m) {
    return 0 * m;
}
#endif

/* The constants by which Java sizes memory and cuts work, in the order of dev.octet.fp8.ffm.GemmLayout. */
OCTET_EXPORT int64_t NAME(layout)(int64_t which) {
    switch (which) {
    case 0: return L;
    case 1: return UNITS;
    case 2: return L;
    case 3: return PANEL;
    case 4: return GROUP;
    case 5: return 96;
    default: return 0;
    }
}

/* The bytes of a task's working memory. */
OCTET_EXPORT int64_t NAME(work)(int64_t rows, int64_t columns) {
    int64_t padded = padded_columns(columns);
    return 4 * (padded_rows(rows) * padded + (RUN + TAIL_COLUMNS) * UNITS + padded + TAIL_COLUMNS
                + L * ((columns + L - 1) / L * L));
}

/* L units of L rows or columns, which lie UNITS from each other, to vectors of one unit of each. */
INLINE void turn(const uint32_t *from, uint32_t *to, int64_t stride) {
    uvec x[L];
    for (int i = 0; i < L; i++) {
        x[i] = uload(from + i * UNITS);
    }
    transpose(x);
    for (int i = 0; i < L; i++) {
        ustore(to + i * stride, x[i]);
    }
}

/* Copies and decodes a block of up to L rows, to L of them; fetches the next block, as they lie far from each other. */
static void decode_rows(const struct fp8_gemm *g, int64_t row, int64_t there, int64_t block, uint32_t *units,
                        struct format f) {
    uint8_t codes[L * FP8_BLOCK] __attribute__((aligned(64)));
    if (g->a.k_stride == 1) {
        for (int64_t i = 0; i < there; i++) {
            const uint8_t *next = g->a.codes + (row + i) * g->a.row_stride + (block + 1) * FP8_BLOCK;
            __builtin_prefetch(next);
            __builtin_prefetch(next + 64);
        }
    }
    copy_block(&g->a, row, there, block * FP8_BLOCK, min64(FP8_BLOCK, g->k - block * FP8_BLOCK), codes);
    memset(codes + there * FP8_BLOCK, 0, (size_t)((L - there) * FP8_BLOCK));
    for (int i = 0; i < L; i++) {
        decode_block(codes + i * FP8_BLOCK, units + i * UNITS, 0, f);
    }
    float *scales = g->packed_scales + block * padded_rows(g->m) + row;
    for (int64_t i = 0; i < L; i++) {
        scales[i] = i < there ? fp8_scale(&g->a, row + i, block) : 0;
    }
}

/* Packs the panel that begins with a row, and the tail if it comes next, blocks [from, to) of K. */
OCTET_EXPORT void NAME(pack)(const struct fp8_gemm *g, int64_t row, int64_t from, int64_t to) {
    struct format f = format_of(g->a.format);
    int64_t padded = padded_rows(g->m);
    int64_t tail = tail_rows(g->m);
    int64_t end = g->m - tail;
    int64_t height = min64(PANEL, padded_rows(end) - row);
    for (int64_t b = from; b < to; b++) {
        uint32_t *packed = (uint32_t *)g->packed + b * padded * UNITS;
        uint32_t *panel = packed + row * UNITS;
        uint32_t units[PANEL * UNITS] __attribute__((aligned(64)));
        for (int64_t r = 0; r < height; r += L) {
            decode_rows(g, row + r, min64(L, end - row - r), b, units + r * UNITS, f);
        }
        for (int u = 0; u < UNITS; u += L) { /* lines of the panel in order, near enough */
            for (int64_t r = 0; r < height; r += L) {
                turn(units + r * UNITS + u, panel + u * height + r, height);
            }
        }
        if (tail > 0 && end < row + PANEL) {
            decode_rows(g, end, tail, b, packed + end * UNITS, f);
        }
    }
}

/* Some columns of a task, of which one block is decoded. */
struct run {
    uint32_t *units; /* [columns][UNITS] */
    int64_t columns; /* a multiple of GROUP */
    const float *scales;
    int64_t first; /* column of D */
    int64_t scale_shift;
    int64_t stride; /* between the codes of two columns */
    const uint8_t *fetched; /* codes that L2 should get during a sweep, or 0 */
    const uint8_t *next; /* codes that are to be decoded behind a sweep's tiles, or 0 */
    int64_t next_columns;
    const uint8_t *target; /* where the panel's rows are written after this sweep, or 0 */
    int64_t target_stride;
    int64_t target_bytes; /* of a row */
    int64_t target_rows;
    int64_t target_share; /* rows that are fetched for each column */
    struct format format;
};

/* What a sweep does before the tile of some columns: fetches, a few lines at a time, or products would wait for them. */
INLINE void before_tile(const struct run *x, int64_t column, int64_t count) {
    if (x->fetched != 0) {
        for (int64_t j = column; j < column + count; j++) {
            __builtin_prefetch(x->fetched + j * x->stride, 0, 2);
            __builtin_prefetch(x->fetched + j * x->stride + 64, 0, 2);
        }
    }
    if (x->next != 0) { /* from L2 to L1 */
        for (int64_t j = column; j < min64(column + count, x->next_columns); j++) {
            __builtin_prefetch(x->next + j * x->stride);
            __builtin_prefetch(x->next + j * x->stride + 64);
        }
    }
    if (x->target != 0) {
        int64_t end = min64((column + count) * x->target_share, x->target_rows);
        for (int64_t i = column * x->target_share; i < end; i++) {
            for (int64_t at = 0; at < x->target_bytes + 63; at += 64) {
                __builtin_prefetch(x->target + i * x->target_stride + min64(at, x->target_bytes - 1), 1);
            }
        }
    }
}

/* What it does behind it: decodes these columns' next block. */
INLINE void after_tile(const struct run *x, int64_t column, int64_t count) {
    if (x->next != 0) {
        int64_t end = min64(column + count, x->next_columns);
        for (int64_t j = column; j < end; j++) {
            decode_block(x->next + j * x->stride, x->units + j * UNITS, 0, x->format);
        }
    }
}

#ifdef OWN_SWEEP
static void sweep(int64_t v, const uint32_t *a, float *sums, const float *scales_a, const struct run *x);
#else
/*
 * v vectors of rows, c columns, one block: sums[c][v * L] += block sums * scales. For the tail, columns are in the lanes:
 * a is turned B and b is rows of A.
 */
INLINE void tile(int v, int c, const uint32_t *a, const uint32_t *b, float *sums, const float *scales_a,
                 const float *scales_b, int same_scale, int tail) {
    vec part[V * C];
    for (int i = 0; i < v * c; i++) {
        part[i] = zero();
    }
#ifndef SMALL_L1
    for (int j = 0; j < c; j++) { /* they come from L2, and are not needed for a while */
        for (int i = 0; i < v; i++) {
            __builtin_prefetch(sums + (j * v + i) * L);
        }
    }
#endif
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
                part[j * v + i] = tail ? dot(part[j * v + i], y, x[i]) : dot(part[j * v + i], x[i], y);
            }
        }
    }
    vec s[V]; /* by columns from here on, the order in which sums are ready and lie in memory */
#pragma GCC unroll 8
    for (int i = 0; i < v; i++) {
        s[i] = load(scales_a + i * L);
        if (same_scale) {
            s[i] = mul(s[i], set1(scales_b[0]));
        }
    }
#pragma GCC unroll 32
    for (int j = 0; j < c; j++) {
#pragma GCC unroll 8
        for (int i = 0; i < v; i++) {
            float *to = sums + (j * v + i) * L;
            store(to, madd(part[j * v + i], same_scale ? s[i] : mul(s[i], set1(scales_b[j])), load(to)));
        }
    }
}

/* All tiles of a panel of v vectors of rows with some columns. */
#define SWEEP(v)                                                                                                       \
    static void sweep_##v(const uint32_t *a, float *sums, const float *scales_a, const struct run *x) {                \
        enum { c = V * C / v };                                                                                        \
        for (int64_t n = 0; n < x->columns; n += c) {                                                                  \
            const uint32_t *b = x->units + n * UNITS;                                                                  \
            float *to = sums + n * v * L;                                                                              \
            before_tile(x, n, c);                                                                                      \
            if ((x->first + n) >> x->scale_shift == (x->first + n + c - 1) >> x->scale_shift) {                        \
                tile(v, c, a, b, to, scales_a, x->scales + n, 1, 0);                                                   \
            } else {                                                                                                   \
                tile(v, c, a, b, to, scales_a, x->scales + n, 0, 0);                                                   \
            }                                                                                                          \
            after_tile(x, n, c);                                                                                       \
        }                                                                                                              \
    }
SWEEP(1)
SWEEP(2)
#if V == 4
SWEEP(3)
SWEEP(4)
#endif

static void sweep(int64_t v, const uint32_t *a, float *sums, const float *scales_a, const struct run *x) {
    switch (v) {
    case 1: sweep_1(a, sums, scales_a, x); break;
    case 2: sweep_2(a, sums, scales_a, x); break;
#if V == 4
    case 3: sweep_3(a, sums, scales_a, x); break;
    case 4: sweep_4(a, sums, scales_a, x); break;
#endif
    default: break;
    }
}

#ifdef TAIL
#define TAIL_TILE(t)                                                                                                   \
    static void tail_tile_##t(const uint32_t *b, const uint32_t *a, float *sums, const float *scales_b,                \
                              const float *scales_a) {                                                                 \
        tile(TAIL_V, t, b, a, sums, scales_b, scales_a, 0, 1);                                                         \
    }
TAIL_TILE(1)
TAIL_TILE(2)
TAIL_TILE(3)
TAIL_TILE(4)
TAIL_TILE(5)
TAIL_TILE(6)
TAIL_TILE(7)
TAIL_TILE(8)

/* The tail with some columns, one block. What lies behind the last of them is multiplied too, and not used. */
static void sweep_tail(int64_t rows, const uint32_t *a, float *sums, const float *scales_a, const struct run *x,
                       uint32_t *turned) {
    static void (*const TILES[])(const uint32_t *, const uint32_t *, float *, const float *, const float *) = {
        tail_tile_1, tail_tile_2, tail_tile_3, tail_tile_4, tail_tile_5, tail_tile_6, tail_tile_7, tail_tile_8};
    for (int64_t n = 0; n < x->columns; n += TAIL_COLUMNS) {
        for (int u = 0; u < UNITS; u += L) {
            for (int i = 0; i < TAIL_V; i++) {
                turn(x->units + (n + i * L) * UNITS + u, turned + u * TAIL_COLUMNS + i * L, TAIL_COLUMNS);
            }
        }
        TILES[rows - 1](turned, a, sums + n * rows, x->scales + n, scales_a);
    }
}
#endif
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

/*
 * Where the codes of some columns of a task begin in a block; beyond K those of the task that this thread likely does
 * next. 0 if there are none, or they are not whole and contiguous.
 */
static const uint8_t *codes_at(const struct fp8_gemm *g, int64_t column, int64_t count, int64_t block) {
    int64_t blocks = fp8_blocks(g);
    if (block >= blocks) {
        column += 2 * count; /* what lies between is another thread's, if there are two */
        block -= blocks;
    }
    if (g->b.k_stride != 1 || column >= g->n || block >= g->k / FP8_BLOCK) {
        return 0;
    }
    return g->b.codes + column * g->b.row_stride + block * FP8_BLOCK;
}

/* The scales of columns [from, from + count) in a block, then zeros up to a number of columns. */
static void column_scales(const struct fp8_gemm *g, int64_t from, int64_t count, int64_t columns, int64_t block,
                          float *scales) {
    for (int64_t i = 0; i < count;) {
        int64_t at = from + i;
        int64_t shared = g->b.scale_shift == 0 ? 1 : count - i;
        if (g->b.scale_shift > 0 && g->b.scale_shift < 32) {
            shared = min64(shared, (((at >> g->b.scale_shift) + 1) << g->b.scale_shift) - at);
        }
        float s = fp8_scale(&g->b, at, block);
        for (int64_t end = i + shared; i < end; i++) {
            scales[i] = s;
        }
    }
    memset(scales + count, 0, (size_t)(columns - count) * sizeof(float));
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

/* Has the next sweep fetch the part of D that its panel gets. */
static void fetch_target(const struct fp8_gemm *g, int64_t row, int64_t from, int64_t count, struct run *x) {
    if (g->d.column_stride == 1) {
        int64_t size = g->d.type == FP8_F32 ? 4 : 2;
        x->target = (const uint8_t *)g->d.at + (row * g->d.row_stride + from) * size;
        x->target_stride = g->d.row_stride * size;
        x->target_bytes = count * size;
        x->target_rows = min64(PANEL, g->m - row);
        x->target_share = (PANEL + x->columns - 1) / x->columns;
    }
}

#ifdef TAIL
/* Finishes the tail. */
static void finish_tail(const struct fp8_gemm *g, int64_t row, int64_t from, int64_t count, const float *sums,
                        float *finished) {
    int64_t rows = g->m - row;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t n = 0; n < count; n += TAIL_COLUMNS) {
            memcpy(finished + n, sums + n * rows + i * TAIL_COLUMNS,
                   (size_t)min64(TAIL_COLUMNS, count - n) * sizeof(float));
        }
        finish_row(g, row + i, from, finished, count);
    }
}
#endif

/*
 * Columns [from, from + count) of rows [first, first + rows) of D; the first row begins a panel.
 * work: see above, for that many rows and columns
 */
OCTET_EXPORT void NAME(gemm)(const struct fp8_gemm *g, int64_t first, int64_t rows, int64_t from, int64_t count,
                             float *work) {
    int64_t blocks = fp8_blocks(g);
    int64_t padded = padded_rows(g->m);
    int64_t tail = first + rows == g->m ? tail_rows(g->m) : 0;
    int64_t height = padded_rows(rows - tail); /* of whole vectors */
    int64_t columns = padded_columns(count);
    int64_t stride = (count + L - 1) / L * L; /* of finished rows */
    float *sums = work;
    uint32_t *decoded = (uint32_t *)(sums + padded_rows(rows) * columns);
    uint32_t *turned = decoded + RUN * UNITS;
    float *scales_b = (float *)(turned + UNITS * TAIL_COLUMNS);
    float *finished = scales_b + columns + TAIL_COLUMNS;
    memset(sums, 0, (size_t)(padded_rows(rows) * columns) * sizeof(float));
    memset(scales_b + columns, 0, TAIL_COLUMNS * sizeof(float));
    struct run x = {.units = decoded,
                    .scale_shift = g->b.scale_shift,
                    .stride = g->b.row_stride,
                    .format = format_of(g->b.format)};
    /* A single panel decodes the next block at once: there the one after it is fetched. */
    int64_t ahead = height <= PANEL && count <= RUN ? 2 : 1;
    const uint32_t *packed = g->packed;
    int ready = 0;
    for (int64_t b = 0; b < blocks; b++) {
        column_scales(g, from, count, columns, b, scales_b);
        for (int64_t n = 0; n < count; n += RUN) {
            int64_t there = min64(RUN, count - n);
            x.columns = padded_columns(there);
            x.scales = scales_b + n;
            x.first = from + n;
            if (!ready) {
                decode_columns(g, from + n, there, b, decoded, x.format);
            }
            memset(decoded + there * UNITS, 0, (size_t)((x.columns - there) * UNITS) * sizeof(uint32_t));
            int64_t then = n + RUN < count ? n + RUN : 0;
            int64_t block = b + (then == 0);
            x.next_columns = min64(RUN, count - then);
            const uint8_t *next = block < blocks ? codes_at(g, from + then, count, block) : 0;
            const uint8_t *fetched = codes_at(g, from + n, count, b + ahead);
#ifdef TAIL
            if (tail > 0) {
                sweep_tail(tail, packed + (b * padded + first + height) * UNITS,
                           sums + height * columns + n * tail, g->packed_scales + b * padded + first + height, &x, turned);
            }
#endif
            for (int64_t r = 0; r < height; r += PANEL) {
                int64_t v = min64(PANEL, height - r) / L;
                x.fetched = r == 0 ? fetched : 0;
                x.next = r + PANEL >= height ? next : 0;
                x.target = 0;
                if (b == blocks - 1 && n == 0) {
                    fetch_target(g, first + r, from, count, &x);
                }
                sweep(v, packed + (b * padded + first + r) * UNITS, sums + r * columns + n * v * L,
                      g->packed_scales + b * padded + first + r, &x);
            }
            after_tile(&x, x.columns, x.next_columns);
            ready = x.next != 0;
        }
    }
    for (int64_t r = 0; r < height; r += PANEL) {
        int64_t width = min64(PANEL, height - r);
        for (int64_t i = 0; i < width; i += L) {
            finish_rows(g, first + r + i, from, count, sums + r * columns + i, width, finished, stride);
        }
    }
#ifdef TAIL
    if (tail > 0) {
        finish_tail(g, first + height, from, count, sums + height * columns, finished);
    }
#endif
}
