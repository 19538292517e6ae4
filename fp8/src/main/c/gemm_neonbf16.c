/*
 * GEMM with Arm's BF16 dot products. BFDOT takes subnormal BF16 for 0 and rounds a sum of two products to odd before it
 * adds it, unless FPCR.EBF asks for IEEE arithmetic: so sums differ from other sets' in the last bits, by less than one
 * rounding for each pair. Codes go to FP32 as in gemm_neon.c, and from there, exactly, to BF16. It was compiled, and
 * never run, on Arm.
 */
#include <arm_neon.h>

#include "fp8.h"
#include "neon.h"

#define SUFFIX neonbf16
#define L 4
#define U 2
#define STEP 8
#define V 4
#define C 6
#define RUN 96
typedef float32x4_t vec;
typedef uint32x4_t uvec;

struct format {
    uint32x4_t mask;
    uint32x4_t first_special;
    float32x4_t power;
    int32x4_t shift;
};

static inline struct format format_of(int64_t format) {
    int e4m3 = format == FP8_E4M3;
    struct format f = {vdupq_n_u32(e4m3 ? 0x87F00000 : 0x8FE00000), vdupq_n_u32(e4m3 ? 0x07F00000 : 0x0F800000),
                       vdupq_n_f32(e4m3 ? 0x1p120f : 0x1p112f), vdupq_n_s32(e4m3 ? 20 : 21)};
    return f;
}

/* The upper halves, which are BF16 already: no code has more than three bits of significand after its first. */
static inline uint16x4_t decode4(int16x4_t codes, struct format f) {
    uint32x4_t x = vandq_u32(vreinterpretq_u32_s32(vshlq_s32(vmovl_s16(codes), f.shift)), f.mask);
    uint32x4_t special = vcgeq_u32(vandq_u32(x, vdupq_n_u32(0x7FFFFFFF)), f.first_special);
    uint32x4_t y = vreinterpretq_u32_f32(vmulq_f32(vreinterpretq_f32_u32(x), f.power));
    return vshrn_n_u32(vbslq_u32(special, vorrq_u32(x, vdupq_n_u32(0x7F800000)), y), 16);
}

static inline __attribute__((always_inline)) void decode(const uint8_t *codes, uvec *out, struct format f) {
    int16x8_t x = vmovl_s8(vld1_s8((const int8_t *)codes));
    out[0] = vreinterpretq_u32_u16(vcombine_u16(decode4(vget_low_s16(x), f), decode4(vget_high_s16(x), f)));
}

#define decode_shuffled decode

static inline vec dot(vec sum, uvec a, uvec b) {
    return vbfdotq_f32(sum, vreinterpretq_bf16_u32(a), vreinterpretq_bf16_u32(b));
}

#include "gemm.h"
