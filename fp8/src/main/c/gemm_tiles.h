/*
 * Many rows of A, where the arithmetic is the limit; see gemm.h, which includes this. Columns of D are in the lanes: a
 * tile is R rows, whose units are broadcast, by RUN columns in V vectors. So no row is ever padded, and A, sums and D stay
 * in the order of their rows; B alone is turned, 16 of K at a time as its codes are decoded.
 *
 * A task goes through its columns in strips, through K in blocks for each of them, and through a block in runs of RUN
 * columns: one step, whose decoded units stay in L1 while all rows of A are swept over them. The first tiles of a sweep
 * decode the next step's codes to a second place, a few instructions between the products of each unit, and fetch those
 * of a later step: there both cost next to nothing, as dot products leave the pipes of shuffles and logic, loads and
 * stores free. Done between two tiles the same would take its full time.
 *
 *   packed          units[block][M][UNITS]
 *   packed_scales   float[block][M]
 *   work            float sums[row][STRIP], units decoded[2][UNITS][RUN], float scales[RUN]
 */
enum { V = 4, R = 6, RUN = V * L };
/* Rows of the largest tile that decodes besides: it needs registers for that. */
enum { BUSY = 4 };
/* Columns whose running sums a task keeps: with 512 rows a quarter of a L2 of 1 MiB. */
enum { STRIP = 128 };
/* Rows that are packed at once. */
enum { PANEL = 64 };
/* Codes of K that are turned and decoded at once, for L columns: a piece. */
enum { PIECE = 16 };
/* Steps between the fetching of codes and their decoding. */
enum { STEPS_AHEAD = 2 };
/* Rows of packed A between its fetching and its use. */
enum { ROWS_AHEAD = 32 };

/* The constants by which Java sizes memory and cuts work, in the order of dev.octet.fp8.ffm.GemmLayout. */
OCTET_EXPORT int64_t NAME(layout)(int64_t which) {
    switch (which) {
    case 0: return L;
    case 1: return UNITS;
    case 2: return 1;
    case 3: return PANEL;
    case 4: return RUN;
    case 5: return STRIP;
    default: return 0;
    }
}

/* The bytes of a task's working memory. */
OCTET_EXPORT int64_t NAME(work)(int64_t rows, int64_t columns) {
    (void)columns;
    return 4 * (rows * STRIP + 2 * UNITS * RUN + RUN);
}

/* Rows of an operand, or their codes' copies, contiguous along K. */
struct source {
    const uint8_t *codes; /* or 0: there are none */
    int64_t stride;
};

/* Whole rows of a block: where they are, or else copied, padded with zeros up to a number of rows and to 128 of K. */
static struct source source_of(const struct fp8_operand *x, int64_t row, int64_t rows, int64_t padded, int64_t block,
                               int64_t k, uint8_t *copy) {
    int64_t from = block * FP8_BLOCK, length = min64(FP8_BLOCK, k - from);
    if (x->k_stride == 1 && length == FP8_BLOCK && rows == padded) {
        return (struct source){x->codes + row * x->row_stride + from, x->row_stride};
    }
    copy_block(x, row, rows, from, length, copy);
    memset(copy + rows * FP8_BLOCK, 0, (size_t)((padded - rows) * FP8_BLOCK));
    return (struct source){copy, FP8_BLOCK};
}

/* Packs the panel that begins with a row, blocks [from, to) of K. */
OCTET_EXPORT void NAME(pack)(const struct fp8_gemm *g, int64_t row, int64_t from, int64_t to) {
    enum { ROWS_AT_ONCE = 16 };
    uint8_t copy[ROWS_AT_ONCE * FP8_BLOCK] __attribute__((aligned(64)));
    struct format f = format_of(g->a.format);
    int64_t end = min64(g->m, row + PANEL);
    for (int64_t b = from; b < to; b++) {
        uint32_t *packed = (uint32_t *)g->packed + b * g->m * UNITS;
        float *scales = g->packed_scales + b * g->m;
        for (int64_t r = row; r < end; r += ROWS_AT_ONCE) {
            int64_t rows = min64(ROWS_AT_ONCE, end - r);
            struct source s = source_of(&g->a, r, rows, rows, b, g->k, copy);
            for (int64_t i = 0; i < rows; i++) {
                const uint8_t *codes = s.codes + i * s.stride;
                __builtin_prefetch(codes + FP8_BLOCK); /* rows are far from each other */
                __builtin_prefetch(codes + FP8_BLOCK + 64);
                decode_block(codes, packed + (r + i) * UNITS, 0, f);
                scales[r + i] = fp8_scale(&g->a, r + i, b);
            }
        }
    }
}

/* What a sweep reads and does besides its products. */
struct sweep {
    const uint32_t *units; /* the step's */
    const float *scales;
    int shared_scale;       /* whether its columns share one */
    struct source next;     /* the next step's codes */
    uint32_t *next_units;   /* where they are decoded to */
    struct source fetched;  /* codes of RUN columns that are fetched, whole blocks of 128 */
    const uint8_t *target;  /* the rows of D that are fetched, or 0: so many bytes of each */
    int64_t target_stride;
    int64_t target_bytes;
    struct format format;
};

/* What a tile decodes and fetches: L columns of the next step and of the one whose codes are fetched. */
struct share {
    struct source next;
    uint32_t *next_units;
    struct source fetched;
    struct format format;
};

/* The end of a tile. */
INLINE void promote(int r, const vec *part, float *sums, const float *scales_a, const float *scales_b,
                    int shared_scale) {
#pragma GCC unroll 16
    for (int j = 0; j < r; j++) {
        vec sa = set1(scales_a[j]);
        vec shared = mul(sa, load(scales_b));
#pragma GCC unroll 8
        for (int i = 0; i < V; i++) {
            float *to = sums + j * STRIP + i * L;
            store(to, madd(part[j * V + i], shared_scale ? shared : mul(sa, load(scales_b + i * L)), load(to)));
        }
    }
}

/* One unit of K of a tile. */
INLINE void multiply(int r, const uint32_t *a, const uint32_t *b, vec *part) {
    uvec x[V];
#pragma GCC unroll 8
    for (int i = 0; i < V; i++) {
        x[i] = uload(b + i * L);
    }
#pragma GCC unroll 16
    for (int j = 0; j < r; j++) {
        uvec y = uset1(a + j * UNITS);
#pragma GCC unroll 8
        for (int i = 0; i < V; i++) {
            part[j * V + i] = dot(part[j * V + i], y, x[i]);
        }
    }
}

/* r rows by RUN columns, one block: sums += block sums * scales. Fetches lines of A for a tile to come. */
INLINE void tile(int r, const uint32_t *a, const struct sweep *x, float *sums, const float *scales_a,
                 int shared_scale) {
    vec part[R * V];
    const uint32_t *b = x->units;
    const float *scales_b = x->scales;
    for (int i = 0; i < r * V; i++) {
        part[i] = zero();
    }
#pragma GCC unroll 2
    for (int u = 0; u < UNITS; u++) {
        if (u % 2 == 0) {
            __builtin_prefetch(a + ROWS_AHEAD * UNITS + u / 2 * 16, 0, 2);
        }
        multiply(r, a + u, b + u * RUN, part);
    }
    promote(r, part, sums, scales_a, scales_b, shared_scale);
}

/* The same, and decodes and fetches L columns of its share between the products. */
INLINE void busy_tile(int r, const uint32_t *a, const struct sweep *x, float *sums, const float *scales_a,
                      const struct share *y, int shared_scale) {
    enum { PIECE_UNITS = PIECE / U, PIECE_LINES = L / 4 };
    vec part[BUSY * V];
    const uint32_t *b = x->units;
    const float *scales_b = x->scales;
    const uint8_t *codes = y->next.codes, *fetched = y->fetched.codes;
    uint32_t *to = y->next_units;
    int64_t stride = y->next.stride, fetched_stride = y->fetched.stride;
    struct format f = y->format;
    for (int i = 0; i < r * V; i++) {
        part[i] = zero();
    }
    for (int k = 0; k < FP8_BLOCK; k += PIECE) {
        uvec turned[4];
#pragma GCC unroll 16
        for (int u = 0; u < PIECE_UNITS; u++) {
            multiply(r, a + u, b + u * RUN, part);
            decode_turned(u, codes, stride, turned, to, RUN, f);
            if (u % (PIECE_UNITS / PIECE_LINES) == 0) {
                int line = k / PIECE * PIECE_LINES + u / (PIECE_UNITS / PIECE_LINES);
                __builtin_prefetch(fetched + line / 2 * fetched_stride + line % 2 * 64, 0, 2);
            }
        }
        a += PIECE_UNITS;
        b += PIECE_UNITS * RUN;
        codes += PIECE;
        to += PIECE_UNITS * RUN;
    }
    promote(r, part, sums, scales_a, scales_b, shared_scale);
}

typedef void tile_function(const uint32_t *, const struct sweep *, float *, const float *);
typedef void busy_function(const uint32_t *, const struct sweep *, float *, const float *, const struct share *);

/* Two functions each, as a branch in one makes compilers keep its sums in memory. */
#define TILE(r)                                                                                                        \
    static void tile_##r(const uint32_t *a, const struct sweep *x, float *sums, const float *scales_a) {              \
        tile(r, a, x, sums, scales_a, 0);                                                                              \
    }                                                                                                                  \
    static void shared_tile_##r(const uint32_t *a, const struct sweep *x, float *sums, const float *scales_a) {       \
        tile(r, a, x, sums, scales_a, 1);                                                                              \
    }
#define BUSY_TILE(r)                                                                                                   \
    static void busy_tile_##r(const uint32_t *a, const struct sweep *x, float *sums, const float *scales_a,           \
                              const struct share *y) {                                                                 \
        busy_tile(r, a, x, sums, scales_a, y, 0);                                                                      \
    }                                                                                                                  \
    static void busy_shared_tile_##r(const uint32_t *a, const struct sweep *x, float *sums, const float *scales_a,    \
                                     const struct share *y) {                                                          \
        busy_tile(r, a, x, sums, scales_a, y, 1);                                                                      \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
BUSY_TILE(1)
BUSY_TILE(2)
BUSY_TILE(3)
BUSY_TILE(4)

static tile_function *const TILES[2][R] = {
    {tile_1, tile_2, tile_3, tile_4, tile_5, tile_6},
    {shared_tile_1, shared_tile_2, shared_tile_3, shared_tile_4, shared_tile_5, shared_tile_6}};

static busy_function *const BUSY_TILES[2][BUSY] = {
    {busy_tile_1, busy_tile_2, busy_tile_3, busy_tile_4},
    {busy_shared_tile_1, busy_shared_tile_2, busy_shared_tile_3, busy_shared_tile_4}};

/* Has the rows of D that a tile will be written to fetched. */
static void fetch_rows(const struct sweep *x, int64_t row, int64_t rows) {
    if (x->target != 0) {
        for (int64_t i = row; i < row + rows; i++) {
            for (int64_t at = 0; at < x->target_bytes; at += 64) {
                __builtin_prefetch(x->target + i * x->target_stride + at, 1);
            }
        }
    }
}

/* Fetches the codes of columns [from, to) of a step. */
static void fetch_columns(struct source s, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
        __builtin_prefetch(s.codes + i * s.stride, 0, 2);
        __builtin_prefetch(s.codes + i * s.stride + 64, 0, 2);
    }
}

/* Decodes columns [from, to) of the next step, whole vectors. */
static void decode_columns(const struct sweep *x, int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i += L) {
        for (int k = 0; k < FP8_BLOCK; k += PIECE) {
            uvec turned[4];
#pragma GCC unroll 16
            for (int u = 0; u < PIECE / U; u++) {
                decode_turned(u, x->next.codes + i * x->next.stride + k, x->next.stride, turned,
                              x->next_units + k / U * RUN + i, RUN, x->format);
            }
        }
    }
}

/* All rows. */
static void sweep(const struct sweep *x, int64_t rows, const uint32_t *a, float *sums, const float *scales_a) {
    int64_t row = 0;
    int fetch = x->fetched.codes != 0, decode = x->next.codes != 0;
    if (decode && rows >= V) { /* V busy tiles, each with a vector of columns to decode */
        int64_t busy = min64(rows, V * BUSY);
        for (int64_t v = 0; v < V; v++) {
            struct share y = {{x->next.codes + v * L * x->next.stride, x->next.stride}, x->next_units + v * L,
                              {(const uint8_t *)a, 0}, x->format};
            if (fetch) {
                y.fetched = (struct source){x->fetched.codes + v * L * x->fetched.stride, x->fetched.stride};
            }
            int64_t r = busy / V + (v < busy % V);
            fetch_rows(x, row, r);
            BUSY_TILES[x->shared_scale][r - 1](a + row * UNITS, x, sums + row * STRIP, scales_a + row, &y);
            row += r;
        }
        fetch = decode = 0;
    }
    int64_t left = rows - row, tiles = (left + R - 1) / R;
    for (int64_t t = 0; t < tiles; t++) { /* of about the same height */
        int64_t r = left / tiles + (t < left % tiles);
        fetch_rows(x, row, r);
        if (fetch) {
            fetch_columns(x->fetched, t * RUN / tiles, (t + 1) * RUN / tiles);
        }
        TILES[x->shared_scale][r - 1](a + row * UNITS, x, sums + row * STRIP, scales_a + row);
        row += r;
        if (decode) {
            decode_columns(x, t * V / tiles * L, (t + 1) * V / tiles * L);
        }
    }
}

/* Where a task is. */
struct step {
    int64_t strip; /* its first column */
    int64_t column;
    int64_t block;
};

/* The step after one, of a task whose columns end before one; the last one's begins at that or behind it. */
static inline struct step after(struct step s, int64_t end, int64_t blocks) {
    s.column += RUN;
    if (s.column >= min64(end, s.strip + STRIP)) {
        if (++s.block == blocks) {
            s.block = 0;
            s.strip += STRIP;
        }
        s.column = s.strip;
    }
    return s;
}

/* The codes of a step, so many columns further on, if they are worth fetching. */
static struct source codes_of(const struct fp8_gemm *g, struct step s, int64_t offset) {
    int64_t column = s.column + offset, k = s.block * FP8_BLOCK;
    if (g->b.k_stride != 1 || column + RUN > g->n || k + FP8_BLOCK > g->k) {
        return (struct source){0, 0};
    }
    return (struct source){g->b.codes + column * g->b.row_stride + k, g->b.row_stride};
}

/* Has a sweep fetch the part of D that its rows and columns get. */
static void fetch_target(const struct fp8_gemm *g, int64_t row, int64_t from, int64_t count, struct sweep *x) {
    x->target = 0;
    if (g->d.column_stride == 1) {
        int64_t size = g->d.type == FP8_F32 ? 4 : 2;
        x->target = (const uint8_t *)g->d.at + (row * g->d.row_stride + from) * size;
        x->target_stride = g->d.row_stride * size;
        x->target_bytes = count * size;
    }
}

/* The scales of columns [from, from + count) in a block, then zeros; returns whether they are all the same. */
static int column_scales(const struct fp8_gemm *g, int64_t from, int64_t count, int64_t block, float *scales) {
    int shared = from >> g->b.scale_shift == (from + count - 1) >> g->b.scale_shift;
    float s = fp8_scale(&g->b, from, block);
    for (int64_t i = 0; i < count; i++) {
        scales[i] = shared ? s : fp8_scale(&g->b, from + i, block);
    }
    memset(scales + count, 0, (size_t)(RUN - count) * sizeof(float));
    return shared;
}

/*
 * Columns [from, from + count) of rows [first, first + rows) of D.
 * work: see above, for that many rows
 */
OCTET_EXPORT void NAME(gemm)(const struct fp8_gemm *g, int64_t first, int64_t rows, int64_t from, int64_t count,
                             float *work) {
    uint8_t copy[RUN * FP8_BLOCK] __attribute__((aligned(64)));
    int64_t blocks = fp8_blocks(g), end = from + count;
    float *sums = work;
    uint32_t *units[2] = {(uint32_t *)(sums + rows * STRIP), (uint32_t *)(sums + rows * STRIP) + RUN * UNITS};
    float *scales = (float *)(units[1] + RUN * UNITS);
    if (blocks == 0) {
        for (int64_t n = from; n < end; n += STRIP) {
            for (int64_t i = 0; i < rows; i++) {
                memset(sums, 0, STRIP * sizeof(float));
                finish_row(g, first + i, n, sums, min64(STRIP, end - n));
            }
        }
        return;
    }
    struct sweep x = {.scales = scales, .format = format_of(g->b.format), .next_units = units[0]};
    struct step s = {from, from, 0}, fetched = s;
    int64_t offset = 0; /* of the task whose codes are fetched */
    for (int i = 0; i < STEPS_AHEAD; i++) {
        struct source codes = codes_of(g, fetched, offset);
        if (codes.codes != 0) {
            fetch_columns(codes, 0, RUN);
        }
        fetched = after(fetched, end, blocks);
        if (fetched.column >= end) {
            fetched = s;
            offset += 2 * count;
        }
    }
    x.next = source_of(&g->b, from, min64(RUN, count), RUN, 0, g->k, copy);
    decode_columns(&x, 0, RUN);
    for (int at = 0; s.column < end; at ^= 1) {
        int64_t columns = min64(RUN, end - s.column);
        int64_t strip = min64(STRIP, end - s.strip);
        struct step next = after(s, end, blocks);
        x.units = units[at];
        x.next_units = units[at ^ 1];
        x.next.codes = 0;
        if (next.column < end) {
            x.next = source_of(&g->b, next.column, min64(RUN, end - next.column), RUN, next.block, g->k, copy);
        }
        x.fetched = codes_of(g, fetched, offset);
        fetched = after(fetched, end, blocks);
        if (fetched.column >= end) { /* the task that this thread likely does next, if there are two */
            fetched = (struct step){from, from, 0};
            offset += 2 * count;
        }
        x.target = 0;
        if (s.block == blocks - 1) {
            fetch_target(g, first, s.column, columns, &x);
        }
        if (s.block == 0 && s.column == s.strip) {
            memset(sums, 0, (size_t)(rows * STRIP) * sizeof(float));
        }
        x.shared_scale = column_scales(g, s.column, columns, s.block, scales);
        int64_t row = s.block * g->m + first;
        sweep(&x, rows, (const uint32_t *)g->packed + row * UNITS, sums + (s.column - s.strip), g->packed_scales + row);
        if (next.strip != s.strip) {
            for (int64_t i = 0; i < rows; i++) {
                finish_row(g, first + i, s.strip, sums + i * STRIP, strip);
            }
        }
        s = next;
    }
}
