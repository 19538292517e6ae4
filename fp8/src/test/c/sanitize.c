/*
 * Runs the kernels over random shapes, strides and offsets, every buffer as large as it must be and not a byte larger,
 * and compares with plain loops: for AddressSanitizer, UndefinedBehaviorSanitizer and valgrind. sanitize.sh builds it.
 *
 *   sanitize [ROUNDS] [LEVELS]     LEVELS as a bit mask of octet.h, by default what this machine has
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fp8.h"
#include "sanitize.h"

struct kernels {
    const char *name;
    void (*rows_pack)(const struct fp8_gemm *);
    void (*rows)(const struct fp8_gemm *, int64_t, int64_t, float *);
    void (*pack)(const struct fp8_gemm *, int64_t, int64_t, int64_t);
    void (*gemm)(const struct fp8_gemm *, int64_t, int64_t, int64_t, int64_t, float *);
    int64_t (*layout)(int64_t);
    int64_t (*work)(int64_t, int64_t);
};

#define DECLARE(s)                                                                                                     \
    void octet_fp8_rows_pack_##s(const struct fp8_gemm *);                                                             \
    void octet_fp8_rows_##s(const struct fp8_gemm *, int64_t, int64_t, float *);                                       \
    void octet_fp8_pack_##s(const struct fp8_gemm *, int64_t, int64_t, int64_t);                                       \
    void octet_fp8_gemm_##s(const struct fp8_gemm *, int64_t, int64_t, int64_t, int64_t, float *);                     \
    int64_t octet_fp8_layout_##s(int64_t);                                                                             \
    int64_t octet_fp8_work_##s(int64_t, int64_t);                                                                      \
    static const struct kernels K_##s = {#s, octet_fp8_rows_pack_##s, octet_fp8_rows_##s, octet_fp8_pack_##s,          \
                                         octet_fp8_gemm_##s, octet_fp8_layout_##s, octet_fp8_work_##s};
#if defined(__x86_64__)
DECLARE(avx2)
DECLARE(avx512)
DECLARE(avx512bf16)
#else
DECLARE(neon)
DECLARE(neonbf16)
#endif

struct converters {
    const char *name;
    void (*quantize)(const struct fp8_quantize *, int64_t, int64_t, int64_t, int64_t);
    void (*amax)(const struct fp8_quantize *, int64_t, int64_t, int64_t, int64_t, uint32_t *);
    void (*scale)(const struct fp8_quantize *, int64_t);
    void (*encode)(const struct fp8_quantize *, int64_t, int64_t, int64_t, int64_t, int64_t);
    void (*dequantize)(const struct fp8_convert *, int64_t, int64_t, int64_t, int64_t);
    void (*cast)(const struct fp8_convert *, int64_t, int64_t, int64_t, int64_t);
};

#define DECLARE_CONVERTERS(s)                                                                                          \
    void octet_fp8_quantize_##s(const struct fp8_quantize *, int64_t, int64_t, int64_t, int64_t);                      \
    void octet_fp8_amax_##s(const struct fp8_quantize *, int64_t, int64_t, int64_t, int64_t, uint32_t *);              \
    void octet_fp8_scale_##s(const struct fp8_quantize *, int64_t);                                                    \
    void octet_fp8_encode_##s(const struct fp8_quantize *, int64_t, int64_t, int64_t, int64_t, int64_t);               \
    void octet_fp8_dequantize_##s(const struct fp8_convert *, int64_t, int64_t, int64_t, int64_t);                     \
    void octet_fp8_cast_##s(const struct fp8_convert *, int64_t, int64_t, int64_t, int64_t);                           \
    static const struct converters C_##s = {#s, octet_fp8_quantize_##s, octet_fp8_amax_##s, octet_fp8_scale_##s,       \
                                            octet_fp8_encode_##s, octet_fp8_dequantize_##s, octet_fp8_cast_##s};
#if defined(__x86_64__)
DECLARE_CONVERTERS(avx2)
DECLARE_CONVERTERS(avx512)
#endif

static const int64_t SIZES[] = {1, 2, 7, 8, 9, 13, 16, 31, 33, 64, 65, 97, 127, 128, 129, 200};

static int64_t size(void) {
    return SIZES[below(sizeof SIZES / sizeof SIZES[0])];
}

static double decode(uint8_t c, int64_t format) {
    int bits = format == FP8_E4M3 ? 3 : 2, bias = format == FP8_E4M3 ? 7 : 15;
    int e = (c & 0x7F) >> bits, m = c & ((1 << bits) - 1);
    double x = e == 0 ? ldexp(m, 1 - bias - bits) : ldexp(m + (1 << bits), e - bias - bits);
    return c & 0x80 ? -x : x;
}

/* Codes that are finite, in memory that ends with the last of them. */
static uint8_t *operand(struct fp8_operand *x, int64_t rows, int64_t k, int by_rows, int64_t scale_shift) {
    int64_t gap = below(3) * 5, offset = below(4);
    int64_t lines = by_rows ? rows : k, length = by_rows ? k : rows;
    int64_t stride = length + gap;
    size_t bytes = (size_t)(offset + (lines - 1) * stride + length);
    uint8_t *memory = exactly(bytes);
    x->format = below(2);
    int limit = x->format == FP8_E4M3 ? 0x7F : 0x7C;
    for (size_t i = 0; i < bytes; i++) {
        memory[i] = (uint8_t)(below(limit) | (below(2) << 7));
    }
    x->codes = memory + offset;
    x->row_stride = by_rows ? stride : 1;
    x->k_stride = by_rows ? 1 : stride;
    int64_t blocks = up(k, 128) / 128;
    int64_t scale_rows = ((rows - 1) >> scale_shift) + 1;
    float *scales = exactly((size_t)(scale_rows * blocks) * sizeof(float));
    for (int64_t i = 0; i < scale_rows * blocks; i++) {
        scales[i] = (float)(1 + below(1000)) / 1024;
    }
    x->scales = scales;
    x->scale_shift = scale_shift;
    x->scale_row = blocks;
    x->scale_block = 1;
    x->e8m0 = 0;
    return memory;
}

static void check_gemm(const struct fp8_gemm *g, const char *name) {
    for (int64_t m = 0; m < g->m; m++) {
        for (int64_t n = 0; n < g->n; n++) {
            double sum = 0, magnitude = 0;
            for (int64_t k = 0; k < g->k; k++) {
                double t = decode(g->a.codes[m * g->a.row_stride + k * g->a.k_stride], g->a.format)
                        * decode(g->b.codes[n * g->b.row_stride + k * g->b.k_stride], g->b.format)
                        * fp8_scale(&g->a, m, k / 128) * fp8_scale(&g->b, n, k / 128);
                sum += t;
                magnitude += fabs(t);
            }
            double d = ((const float *)g->d.at)[m * g->d.row_stride + n * g->d.column_stride];
            double bound = ldexp(127 + (double)fp8_blocks(g) + 4, -24) * magnitude + 1e-30;
            if (!(fabs(d - sum) <= bound)) {
                printf("%s: %ld x %ld x %ld, [%ld, %ld] is %g, not %g\n", name, (long)g->m, (long)g->n, (long)g->k,
                       (long)m, (long)n, d, sum);
                exit(1);
            }
        }
    }
}

static void one_gemm(const struct kernels *f) {
    struct fp8_gemm g = {0};
    g.m = size();
    g.n = size();
    g.k = size() + 128 * below(4);
    uint8_t *a = operand(&g.a, g.m, g.k, (int)below(2), 0);
    uint8_t *b = operand(&g.b, g.n, g.k, (int)below(2), below(2) ? 7 : 0);
    int few = g.m <= 8 && g.b.k_stride == 1;
    int64_t gap = below(2) * 3;
    int by_rows = (int)below(4) != 0;
    g.d.row_stride = by_rows ? g.n + gap : 1;
    g.d.column_stride = by_rows ? 1 : g.m + gap;
    size_t elements = (size_t)((g.m - 1) * g.d.row_stride + (g.n - 1) * g.d.column_stride + 1);
    float *d = exactly(elements * sizeof(float));
    g.d.at = d;
    int64_t lanes = f->layout(0), units = f->layout(1), row_group = f->layout(2), panel = f->layout(3);
    int64_t blocks = fp8_blocks(&g);
    int64_t rows = few ? g.m : up(g.m, row_group);
    g.packed = aligned((size_t)(rows * blocks * units * 4));
    g.packed_scales = aligned((size_t)((few ? 8 : rows) * blocks * 4));
    if (few) {
        f->rows_pack(&g);
        int64_t step = 1 + below(g.n);
        for (int64_t n = 0; n < g.n; n += step) {
            int64_t count = g.n - n < step ? g.n - n : step;
            float *work = exactly((size_t)(g.m * (2 * blocks + count + (count + 1) * lanes)) * 4);
            f->rows(&g, n, count, work);
            free(work);
        }
    } else {
        for (int64_t r = 0; r < g.m; r += panel) {
            f->pack(&g, r, 0, blocks);
        }
        int64_t step = 1 + below(g.n), row_step = panel * (1 + below(3));
        for (int64_t r = 0; r < g.m; r += row_step) {
            for (int64_t n = 0; n < g.n; n += step) {
                int64_t count = g.n - n < step ? g.n - n : step;
                int64_t m = g.m - r < row_step ? g.m - r : row_step;
                float *work = exactly((size_t)f->work(m, count));
                f->gemm(&g, r, m, n, count, work);
                free(work);
            }
        }
    }
    check_gemm(&g, f->name);
    free(g.packed);
    free(g.packed_scales);
    free(d);
    free(a);
    free(b);
    free((void *)g.a.scales);
    free((void *)g.b.scales);
}

#if defined(__x86_64__)
static int64_t groups(int64_t n, int64_t group) {
    return group == FP8_ALL ? 1 : up(n, group) / group;
}

/* Codes to FP32 and BF16 and F16, and whatever those are back to codes. */
static void one_convert(const struct converters *f) {
    struct fp8_convert c = {0};
    int64_t rows = size(), columns = size() + 128 * below(3);
    static const int64_t GROUPS[][2] = {{1, 128}, {128, 1}, {128, 128}, {1, FP8_ALL}, {FP8_ALL, FP8_ALL}};
    const int64_t *group = GROUPS[below(5)];
    c.group_rows = group[0];
    c.group_columns = group[1];
    c.format = below(2);
    c.type = below(3);
    c.code_row = columns + below(3);
    c.float_row = columns + below(3);
    size_t size = c.type == FP8_F32 ? 4 : 2, offset = (size_t)below(2);
    size_t code_bytes = (size_t)((rows - 1) * c.code_row + columns);
    size_t float_bytes = ((size_t)((rows - 1) * c.float_row + columns)) * size;
    c.codes = exactly(code_bytes);
    char *floats = exactly(float_bytes + offset);
    c.floats = floats + offset;
    int64_t scale_columns = groups(columns, c.group_columns), scales = groups(rows, c.group_rows) * scale_columns;
    float *s = exactly((size_t)scales * 4);
    for (int64_t i = 0; i < scales; i++) {
        s[i] = below(9) ? (float)(1 + below(1000)) / 1024 : fp8_bits(next() << 1);
    }
    c.scales = s;
    c.scale_row = scale_columns;
    c.scale_block = 1;
    for (size_t i = 0; i < code_bytes; i++) {
        c.codes[i] = (uint8_t)next();
    }
    int64_t half = columns / 256 * 128; /* in two parts */
    f->dequantize(&c, 0, rows, half, columns - half);
    if (half > 0) {
        f->dequantize(&c, 0, rows, 0, half);
    }
    for (int64_t i = 0; i < rows && c.type == FP8_F32; i++) {
        for (int64_t j = 0; j < columns; j++) {
            uint8_t code = c.codes[i * c.code_row + j];
            float factor = s[(c.group_rows == FP8_ALL ? 0 : i / c.group_rows) * scale_columns
                    + (c.group_columns == FP8_ALL ? 0 : j / c.group_columns)];
            float expected = (float)decode(code, c.format) * factor, actual;
            memcpy(&actual, (char *)c.floats + (i * c.float_row + j) * 4, 4);
            int special = (code & 0x7F) >= (c.format == FP8_E4M3 ? 0x7F : 0x7C);
            if (!special && fp8_bits_of(expected) != fp8_bits_of(actual) && !(expected != expected && actual != actual)) {
                printf("%s: dequantised [%ld, %ld] is %g, not %g\n", f->name, (long)i, (long)j, actual, expected);
                exit(1);
            }
        }
    }
    c.saturate = below(2);
    f->cast(&c, 0, rows, 0, columns);
    free(c.codes);
    free(floats);
    free(s);
}

static void one_quantize(const struct converters *f) {
    struct fp8_quantize q = {0};
    q.rows = size();
    q.columns = size() + 128 * below(3);
    q.type = below(3);
    q.format = below(2);
    q.x_row = q.columns + below(3);
    static const int64_t GROUPS[][2] = {{1, 128}, {128, 1}, {128, 128}, {1, FP8_ALL}, {FP8_ALL, FP8_ALL}};
    const int64_t *group = GROUPS[below(5)];
    q.group_rows = group[0];
    q.group_columns = group[1];
    q.power_of_two = below(2);
    q.e8m0 = q.power_of_two && below(2);
    int bytes = q.type == FP8_F32 ? 4 : 2;
    size_t elements = (size_t)((q.rows - 1) * q.x_row + q.columns);
    size_t offset = (size_t)below(2); /* an odd address now and then */
    char *memory = exactly(elements * (size_t)bytes + offset);
    for (size_t i = 0; i < elements; i++) {
        uint32_t bits = next() << 1 ^ next();
        if ((bits & 0x7F800000) == 0x7F800000 && below(50)) {
            bits &= 0xBFFFFFFF;
        }
        if (bytes == 2) {
            uint16_t half = (uint16_t)(bits >> 16);
            memcpy(memory + offset + i * 2, &half, 2);
        } else {
            memcpy(memory + offset + i * 4, &bits, 4);
        }
    }
    q.x = memory + offset;
    int64_t blocks = up(q.columns, 128) / 128, scale_rows = groups(q.rows, q.group_rows);
    int64_t scale_columns = groups(q.columns, q.group_columns);
    q.code_row = q.columns + below(3);
    q.codes = exactly((size_t)((q.rows - 1) * q.code_row + q.columns));
    q.scales = exactly((size_t)(scale_rows * scale_columns) * (q.e8m0 ? 1 : 4));
    q.scale_row = scale_columns;
    q.scale_block = 1;
    int64_t step = (q.group_rows == FP8_ALL ? 1 : q.group_rows) * (1 + below(2));
    uint32_t max = 0;
    for (int pass = 0; pass < (q.group_rows == FP8_ALL ? 2 : 1); pass++) {
        for (int64_t r = 0; r < q.rows; r += step) {
            int64_t n = q.rows - r < step ? q.rows - r : step;
            if (q.group_rows != FP8_ALL) {
                f->quantize(&q, r, n, 0, blocks);
            } else if (pass == 0) {
                uint32_t m;
                f->amax(&q, r, n, 0, blocks, &m);
                max = m > max ? m : max;
            } else {
                f->encode(&q, r, n, 0, blocks, max);
            }
        }
        if (q.group_rows == FP8_ALL && pass == 0) {
            f->scale(&q, max);
        }
    }
    free(memory);
    free(q.codes);
    free(q.scales);
}

#endif

static void one_round(int32_t sets) {
#if defined(__x86_64__)
    if (sets & OCTET_AVX2) {
        one_gemm(&K_avx2);
        one_quantize(&C_avx2);
        one_convert(&C_avx2);
    }
    if (sets & OCTET_AVX512) {
        one_gemm(&K_avx512);
        one_quantize(&C_avx512);
        one_convert(&C_avx512);
    }
    if (sets & OCTET_AVX512_BF16) {
        one_gemm(&K_avx512bf16);
    }
#else
    if (sets & OCTET_NEON) {
        one_gemm(&K_neon);
    }
    if (sets & OCTET_NEON_BF16) {
        one_gemm(&K_neonbf16);
    }
#endif
}
