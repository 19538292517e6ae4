/*
 * FP8 codes to BF16 with VBMI, and BF16 dot products. VDPBF16PS takes subnormal BF16 for 0, so a decoding by shifts
 * alone, which leaves values at 2^-120 times their size, would be wrong: codes go through tables of 128 entries instead,
 * one for each half of a BF16, looked up 64 at a time. There E4M3's subnormals are normal BF16 like all others, and NaN
 * codes are NaN.
 */
#ifndef OCTET_FP8_BF16_CODES_H
#define OCTET_FP8_BF16_CODES_H

#include <immintrin.h>

#include "avx512.h"
#include "fp8.h"

typedef __m512 vec;
typedef __m512i uvec;

/* The upper bytes (exponent, without its last bit), then the lower ones (that bit and the mantissa), by magnitude. */
#define H(e) ((e) >> 1)
#define LOW(e, m) (((e) & 1) << 7 | (m))
#define HIGH8(e) H(e), H(e), H(e), H(e), H(e), H(e), H(e), H(e)
#define LOW8(e)                                                                                                        \
    LOW(e, 0x00), LOW(e, 0x10), LOW(e, 0x20), LOW(e, 0x30), LOW(e, 0x40), LOW(e, 0x50), LOW(e, 0x60), LOW(e, 0x70)
#define HIGH4(e) H(e), H(e), H(e), H(e)
#define LOW4(e) LOW(e, 0x00), LOW(e, 0x20), LOW(e, 0x40), LOW(e, 0x60)

static const uint8_t E4M3_TABLE[256] __attribute__((aligned(64))) = {
    /* 0, then multiples of 2^-9, whose exponents begin at 118 */
    0, H(118), H(119), H(119), H(120), H(120), H(120), H(120), HIGH8(121), HIGH8(122), HIGH8(123), HIGH8(124),
    HIGH8(125), HIGH8(126), HIGH8(127), HIGH8(128), HIGH8(129), HIGH8(130), HIGH8(131), HIGH8(132), HIGH8(133),
    HIGH8(134), H(135), H(135), H(135), H(135), H(135), H(135), H(135), 0x7F,
    0, LOW(118, 0), LOW(119, 0), LOW(119, 0x40), LOW(120, 0), LOW(120, 0x20), LOW(120, 0x40), LOW(120, 0x60),
    LOW8(121), LOW8(122), LOW8(123), LOW8(124), LOW8(125), LOW8(126), LOW8(127), LOW8(128), LOW8(129), LOW8(130),
    LOW8(131), LOW8(132), LOW8(133), LOW8(134), LOW(135, 0x00), LOW(135, 0x10), LOW(135, 0x20), LOW(135, 0x30),
    LOW(135, 0x40), LOW(135, 0x50), LOW(135, 0x60), 0xC0};

static const uint8_t E5M2_TABLE[256] __attribute__((aligned(64))) = {
    /* 0, then multiples of 2^-16, whose exponents begin at 111 */
    0, H(111), H(112), H(112), HIGH4(113), HIGH4(114), HIGH4(115), HIGH4(116), HIGH4(117), HIGH4(118), HIGH4(119),
    HIGH4(120), HIGH4(121), HIGH4(122), HIGH4(123), HIGH4(124), HIGH4(125), HIGH4(126), HIGH4(127), HIGH4(128),
    HIGH4(129), HIGH4(130), HIGH4(131), HIGH4(132), HIGH4(133), HIGH4(134), HIGH4(135), HIGH4(136), HIGH4(137),
    HIGH4(138), HIGH4(139), HIGH4(140), HIGH4(141), HIGH4(142), 0x7F, 0x7F, 0x7F, 0x7F,
    0, LOW(111, 0), LOW(112, 0), LOW(112, 0x40), LOW4(113), LOW4(114), LOW4(115), LOW4(116), LOW4(117), LOW4(118),
    LOW4(119), LOW4(120), LOW4(121), LOW4(122), LOW4(123), LOW4(124), LOW4(125), LOW4(126), LOW4(127), LOW4(128),
    LOW4(129), LOW4(130), LOW4(131), LOW4(132), LOW4(133), LOW4(134), LOW4(135), LOW4(136), LOW4(137), LOW4(138),
    LOW4(139), LOW4(140), LOW4(141), LOW4(142), 0x80, 0xC0, 0xC0, 0xC0};

struct format {
    __m512i high0, high1, low0, low1;
};

static inline struct format format_of(int64_t format) {
    const uint8_t *t = format == FP8_E4M3 ? E4M3_TABLE : E5M2_TABLE;
    struct format f = {_mm512_load_si512(t), _mm512_load_si512(t + 64), _mm512_load_si512(t + 128),
                       _mm512_load_si512(t + 192)};
    return f;
}

/* 64 codes to 2 x 32 BF16, the lower and the upper eight of each 16. */
static inline __attribute__((always_inline)) void decode64(__m512i x, uvec *out, struct format f) {
    __m512i high = _mm512_permutex2var_epi8(f.high0, x, f.high1);
    __m512i low = _mm512_permutex2var_epi8(f.low0, x, f.low1);
    high = _mm512_ternarylogic_epi32(high, x, _mm512_set1_epi8((char)0x80), 0xF8); /* high | x & 0x80 */
    out[0] = _mm512_unpacklo_epi8(low, high);
    out[1] = _mm512_unpackhi_epi8(low, high);
}

static inline __attribute__((always_inline)) void decode_shuffled(const uint8_t *codes, uvec *out, struct format f) {
    __m512i x = _mm512_loadu_si512(codes);
    __asm__("" : "+v"(x)); /* or it is loaded three times, once for each use */
    decode64(x, out, f);
}

static inline __attribute__((always_inline)) void decode(const uint8_t *codes, uvec *out, struct format f) {
    __m512i x = _mm512_loadu_si512(codes);
    decode64(_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), x), out, f);
}

/* 16 codes of 16 rows to 8 vectors of units, lanes along the rows: a row each four parts, then two vectors a part. */
static inline __attribute__((always_inline)) void decode_turned(int s, const uint8_t *codes, int64_t stride,
                                                                uvec *turned, uint32_t *to, int64_t to_stride,
                                                                struct format f) {
    if (s < 4) {
        turned[s] = every_fourth_row(codes + s * stride, 4 * stride);
    }
    if (s == 3) { /* pairs of codes of four rows side by side */
        __m512i a = _mm512_unpacklo_epi16(turned[0], turned[1]), b = _mm512_unpackhi_epi16(turned[0], turned[1]);
        __m512i c = _mm512_unpacklo_epi16(turned[2], turned[3]), d = _mm512_unpackhi_epi16(turned[2], turned[3]);
        turned[0] = _mm512_unpacklo_epi32(a, c);
        turned[1] = _mm512_unpackhi_epi32(a, c);
        turned[2] = _mm512_unpacklo_epi32(b, d);
        turned[3] = _mm512_unpackhi_epi32(b, d);
    }
    if (s >= 4) {
        uvec out[2];
        decode64(turned[s - 4], out, f);
        _mm512_storeu_si512(to + (2 * s - 8) * to_stride, out[0]);
        _mm512_storeu_si512(to + (2 * s - 7) * to_stride, out[1]);
    }
}

static inline vec dot(vec sum, uvec a, uvec b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

#endif
