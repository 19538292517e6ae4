/* What gemm.h needs of NEON, whatever the units are. */
#ifndef OCTET_FP8_NEON_H
#define OCTET_FP8_NEON_H

#include <arm_neon.h>
#include <stdint.h>

static inline float32x4_t zero(void) {
    return vdupq_n_f32(0);
}

static inline float32x4_t set1(float x) {
    return vdupq_n_f32(x);
}

static inline float32x4_t load(const float *x) {
    return vld1q_f32(x);
}

static inline void store(float *to, float32x4_t x) {
    vst1q_f32(to, x);
}

static inline float32x4_t mul(float32x4_t a, float32x4_t b) {
    return vmulq_f32(a, b);
}

static inline float32x4_t madd(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmaq_f32(c, a, b);
}

static inline uint32x4_t uload(const uint32_t *x) {
    return vld1q_u32(x);
}

static inline void ustore(uint32_t *to, uint32x4_t x) {
    vst1q_u32(to, x);
}

static inline uint32x4_t uset1(const uint32_t *x) {
    return vld1q_dup_u32(x);
}

/* Adds the lanes, halves first. */
static inline float total(float32x4_t x) {
    float32x2_t h = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}

/* A 4 x 4 matrix of 32-bit elements, in place. */
static inline __attribute__((always_inline)) void transpose(uint32x4_t *r) {
    uint32x4x2_t t0 = vtrnq_u32(r[0], r[1]);
    uint32x4x2_t t1 = vtrnq_u32(r[2], r[3]);
    r[0] = vcombine_u32(vget_low_u32(t0.val[0]), vget_low_u32(t1.val[0]));
    r[1] = vcombine_u32(vget_low_u32(t0.val[1]), vget_low_u32(t1.val[1]));
    r[2] = vcombine_u32(vget_high_u32(t0.val[0]), vget_high_u32(t1.val[0]));
    r[3] = vcombine_u32(vget_high_u32(t0.val[1]), vget_high_u32(t1.val[1]));
}

#endif
