/*
 * GEMM with AVX2 and FMA, in FP32. 16 registers hold 12 sums, 2 vectors of A and a value of B. K has an order of its own
 * within every 32: that of the codes' bytes in lanes, the same for A and B.
 */
#include <immintrin.h>

#include "avx2.h"
#include "fp8.h"

#define SUFFIX avx2
#define L 8
#define U 1
#define V 2
#define C 6
#define RUN 48 /* 24 KiB of an L1 that has 32 */
#define SMALL_L1
#define OWN_DECODING
#define INLINE static inline __attribute__((always_inline))
typedef __m256 vec;
typedef __m256i uvec;

/*
 * A code's bits are moved to where FP32 has an exponent and a significand, which is 2^-120 of E4M3's value and 2^-112
 * of E5M2's. A product makes good for it; where rows of A are few it is A that has the power, as much of it as FP32 holds,
 * and the sums of a block get the rest. All of these products are exact.
 */
struct format {
    __m256i mask;
    __m256i largest; /* finite magnitude of a code */
    __m256 power;    /* 2^120 or 2^112 */
    __m256 of_a;     /* what few rows of A get besides */
    __m256 rest;     /* what their sums get */
    __m256i odd, even; /* factors of bytes, which move one of two to its place in 16 bits and extend its sign */
    int64_t format;
};

static inline struct format format_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    struct format f = {_mm256_set1_epi32((int32_t)(e4m3 ? 0x87F00000 : 0x8FE00000)),
                       _mm256_set1_epi8(e4m3 ? 0x7E : 0x7B),
                       _mm256_set1_ps(e4m3 ? 0x1p120f : 0x1p112f),
                       _mm256_set1_ps(e4m3 ? 0x1p118f : 0x1p111f),
                       _mm256_setzero_ps(),
                       _mm256_set1_epi16(e4m3 ? 0x1000 : 0x2000),
                       _mm256_set1_epi16(e4m3 ? 0x0010 : 0x0020),
                       format};
    return f;
}

/* B's format for few rows. */
static inline struct format rows_format(const struct fp8_gemm *g) {
    struct format f = format_of(g->b.format);
    int of_a = g->a.format == FP8_E4M3 ? 118 : 111, of_b = g->b.format == FP8_E4M3 ? 120 : 112;
    f.rest = _mm256_set1_ps(fp8_bits((uint32_t)(127 + of_b - of_a) << 23));
    return f;
}

/*
 * 32 codes without the power, four in each 32-bit lane, which takes no shuffle: part v of 4 has bytes 3, 1, 2 or 0 of the
 * lanes.
 */
INLINE uvec bare_part(int v, const uint8_t *codes, struct format f) {
    __m256i c = _mm256_loadu_si256((const __m256i *)codes);
    __m256i moved = _mm256_maddubs_epi16(v < 2 ? f.odd : f.even, c);
    return _mm256_and_si256(v % 2 == 0 ? moved : _mm256_slli_epi32(moved, 16), f.mask);
}

/* All of them. */
INLINE void bare(const uint8_t *codes, uvec *out, struct format f) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        out[v] = bare_part(v, codes, f);
    }
}

/* Whether there is a NaN or an infinity among 128 codes. */
INLINE int has_special(const uint8_t *codes, struct format f) {
    __m256i max = _mm256_setzero_si256();
    for (int i = 0; i < FP8_BLOCK; i += 32) {
        __m256i c = _mm256_loadu_si256((const __m256i *)(codes + i));
        max = _mm256_max_epu8(max, _mm256_and_si256(c, _mm256_set1_epi8(0x7F)));
    }
    return __builtin_expect(_mm256_movemask_epi8(_mm256_cmpgt_epi8(max, f.largest)), 0);
}

/*
 * The same as 'bare', and NaN and infinities are what they are. Like all that is apart, it is told the format alone: a
 * struct in memory would be copied in each call.
 */
static __attribute__((noinline)) void bare_special(const uint8_t *codes, uvec *out, int64_t format) {
    struct format f = format_of(format);
    __m256i c = _mm256_loadu_si256((const __m256i *)codes);
    __m256i special = _mm256_cmpgt_epi8(_mm256_and_si256(c, _mm256_set1_epi8(0x7F)), f.largest);
    static const int BYTES[] = {3, 1, 2, 0};
    bare(codes, out, f);
    for (int i = 0; i < 4; i++) {
        __m256i mask = _mm256_srai_epi32(_mm256_slli_epi32(special, 24 - 8 * BYTES[i]), 31);
        out[i] = _mm256_or_si256(out[i], _mm256_and_si256(mask, _mm256_set1_epi32(0x7F800000)));
    }
}

/* 128 codes, in the order of 'bare' for every 32. */
INLINE void decode_block(const uint8_t *codes, uint32_t *units, int shuffled, struct format f) {
    (void)shuffled;
    int special = has_special(codes, f);
    for (int i = 0; i < FP8_BLOCK; i += 32) {
        uvec x[4];
        if (special) {
            bare_special(codes + i, x, f.format);
        } else {
            bare(codes + i, x, f);
        }
        for (int v = 0; v < 4; v++) {
            _mm256_storeu_ps((float *)units + i + v * L, _mm256_mul_ps(_mm256_castsi256_ps(x[v]), f.power));
        }
    }
}

/* A block of a row of few. */
INLINE void decode_few(const uint8_t *codes, uint32_t *units, struct format f) {
    decode_block(codes, units, 1, f);
    for (int i = 0; i < FP8_BLOCK; i += L) {
        float *x = (float *)units + i;
        _mm256_storeu_ps(x, _mm256_mul_ps(_mm256_loadu_ps(x), f.of_a));
    }
}

/* Sums that 16 registers hold beside what else is needed, and that two FMAs a cycle of four cycles each need. */
enum { SUMS = 8 };

/*
 * Block sums of R rows of B with M rows of A: [row of A][row of B]. Where they are less than SUMS, they are added up from
 * several.
 */
INLINE void rows_part(int M, int R, const uint32_t *a, const uint8_t *const *b, vec *part, int special,
                      struct format f) {
    const int sets = SUMS / (M * R) > 4 ? 4 : SUMS / (M * R);
    vec sums[SUMS];
    for (int i = 0; i < sets * M * R; i++) {
        sums[i] = _mm256_setzero_ps();
    }
#pragma GCC unroll 1
    for (int s = 0; s < FP8_BLOCK; s += 32) {
        uvec slow[2][4];
        for (int r = 0; special && r < R; r++) {
            bare_special(b[r] + s, slow[r], f.format);
        }
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            uvec x0 = special ? slow[0][v] : bare_part(v, b[0] + s, f);
            uvec x1 = R == 1 ? x0 : special ? slow[1][v] : bare_part(v, b[1] + s, f);
#pragma GCC unroll 8
            for (int i = 0; i < M; i++) {
                vec y = _mm256_loadu_ps((const float *)a + i * FP8_BLOCK + s + v * L);
                int at = R * (v % sets * M + i);
                if (R == 2) {
                    __asm__("" : "+x"(y)); /* or compilers load it once for each FMA */
                    sums[at + 1] = _mm256_fmadd_ps(y, _mm256_castsi256_ps(x1), sums[at + 1]);
                }
                sums[at] = _mm256_fmadd_ps(y, _mm256_castsi256_ps(x0), sums[at]);
            }
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < M * R; i++) {
        part[i] = sums[i];
#pragma GCC unroll 4
        for (int set = 1; set < sets; set++) {
            part[i] = _mm256_add_ps(part[i], sums[set * M * R + i]);
        }
    }
}

/* The same with NaN or infinities. */
static __attribute__((noinline)) void rows_special(int M, const uint32_t *a, const uint8_t *const *b, vec *part,
                                                   int64_t format) {
    struct format f = format_of(format);
    switch (M) {
    case 1: rows_part(1, 1, a, b, part, 1, f); break;
    case 2: rows_part(2, 2, a, b, part, 1, f); break;
    case 3: rows_part(3, 2, a, b, part, 1, f); break;
    case 4: rows_part(4, 2, a, b, part, 1, f); break;
    case 5: rows_part(5, 1, a, b, part, 1, f); break;
    case 6: rows_part(6, 1, a, b, part, 1, f); break;
    case 7: rows_part(7, 1, a, b, part, 1, f); break;
    default: rows_part(8, 1, a, b, part, 1, f); break;
    }
}

/* One block of two rows of B with M rows of A: both at once as long as there are registers for their sums. */
INLINE void rows_block(int M, const uint32_t *a, const uint8_t *b0, const uint8_t *b1, const float *scales0,
                       const float *scales1, vec *sums, struct format f) {
    const int R = M > 1 && 2 * M <= SUMS ? 2 : 1;
    const uint8_t *b[] = {b0, b1};
#pragma GCC unroll 2
    for (int row = 0; row < 2; row += R) {
        vec part[SUMS];
        if (has_special(b[row], f) | (R == 2 && has_special(b[1], f))) {
            vec slow[SUMS];
            rows_special(M, a, b + row, slow, f.format);
#pragma GCC unroll 8
            for (int i = 0; i < M * R; i++) {
                part[i] = slow[i];
            }
        } else {
            rows_part(M, R, a, b + row, part, 0, f);
        }
#pragma GCC unroll 8
        for (int i = 0; i < M; i++) {
#pragma GCC unroll 2
            for (int r = row; r < row + R; r++) {
                vec scale = _mm256_set1_ps(r == 0 ? scales0[i] : scales1[i]);
                sums[2 * i + r] = madd(mul(part[R * i + r - row], f.rest), scale, sums[2 * i + r]);
            }
        }
    }
}

static inline vec dot(vec sum, uvec a, uvec b) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), sum);
}

#include "gemm.h"
