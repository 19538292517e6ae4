/*
 * GEMM with AVX-512 and no BF16 dot products: FMAs of FP32, as on the Vector API path, with tables neither of VBMI. A
 * code becomes FP32 by shifts and a multiplication with a power of two, which makes E4M3's subnormals normal; what is
 * not finite gets its exponent set.
 */
#include <immintrin.h>

#include "avx512.h"
#include "fp8.h"

#define SUFFIX avx512
#define L 16
#define U 1
#define STEP 16
#define V 4
#define C 6
#define TAIL 8
#define RUN 48
typedef __m512 vec;
typedef __m512i uvec;

struct format {
    __m512i mask;
    __m512i first_special; /* the least magnitude of a NaN or an infinity */
    __m512 power;
    int shift;
};

static inline struct format format_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    struct format f = {_mm512_set1_epi32((int32_t)(e4m3 ? 0x87F00000 : 0x8FE00000)),
                       _mm512_set1_epi32(e4m3 ? 0x07F00000 : 0x0F800000),
                       _mm512_set1_ps(e4m3 ? 0x1p120f : 0x1p112f), e4m3 ? 20 : 21};
    return f;
}

static inline __attribute__((always_inline)) void decode(const uint8_t *codes, uvec *out, struct format f) {
    __m512i x = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)codes));
    x = _mm512_and_si512(_mm512_sll_epi32(x, _mm_cvtsi32_si128(f.shift)), f.mask);
    __mmask16 special = _mm512_cmpge_epi32_mask(_mm512_and_si512(x, _mm512_set1_epi32(0x7FFFFFFF)), f.first_special);
    __m512i y = _mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(x), f.power));
    out[0] = _mm512_mask_or_epi32(y, special, x, _mm512_set1_epi32(0x7F800000));
}

#define decode_shuffled decode

static inline vec dot(vec sum, uvec a, uvec b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

#include "gemm.h"
