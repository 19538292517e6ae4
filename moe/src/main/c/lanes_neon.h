/* Vectors of 64-bit Arm; see kernels.h. There are no intrinsics for stores past the caches. */
#include <arm_neon.h>

typedef float32x4_t vec;

enum { LANES = 4, TILE_TOKENS = 6, TILE_EXPERTS = 4, FEW_EXPERTS_OF_ONE = 2, FEW_EXPERTS_OF_TWO = 1 };

INLINE vec zero(void) {
    return vdupq_n_f32(0);
}

INLINE vec all(float x) {
    return vdupq_n_f32(x);
}

INLINE vec multiply_add(vec a, vec b, vec c) {
    return vfmaq_f32(c, a, b);
}

INLINE vec times(vec a, vec b) {
    return vmulq_f32(a, b);
}

INLINE vec load(const void *p) {
    return vreinterpretq_f32_u8(vld1q_u8(p));
}

INLINE void store(void *p, vec x, int past_cache) {
    (void)past_cache;
    vst1q_u8(p, vreinterpretq_u8_f32(x));
}

INLINE vec load_halves(const void *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

INLINE vec load_even(const void *p) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u8(vld1q_u8(p)), 16));
}

INLINE vec load_odd(const void *p) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u8(vld1q_u8(p)), vdupq_n_u32(0xFFFF0000)));
}

/* BF16 in the upper halves; what is below them is left over. */
INLINE uint32x4_t rounded(vec x) {
    uint32x4_t bits = vreinterpretq_u32_f32(x);
    uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    uint32x4_t y = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd);
    uint32x4_t nan = vorrq_u32(vandq_u32(bits, vdupq_n_u32(0x80000000)), vdupq_n_u32(0x7FC00000));
    return vbslq_u32(vceqq_f32(x, x), y, nan);
}

INLINE void store_halves(void *p, vec a, vec b, int past_cache) {
    (void)past_cache;
    vst1q_u8(p, vreinterpretq_u8_u16(vcombine_u16(vshrn_n_u32(rounded(a), 16), vshrn_n_u32(rounded(b), 16))));
}

INLINE void store_pairs(void *p, vec even, vec odd, int past_cache) {
    (void)past_cache;
    vst1q_u8(p, vreinterpretq_u8_u32(vbslq_u32(vdupq_n_u32(0xFFFF0000), rounded(odd),
                                               vshrq_n_u32(rounded(even), 16))));
}

INLINE void fence(void) {
}
