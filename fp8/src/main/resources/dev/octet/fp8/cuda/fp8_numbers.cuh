// Numbers of all kernels: element types, FP8 codes, scales, the recipe of a scale. The same bits as the CPU's kernels.
//
// No header of CUDA is included anywhere: NVRTC then needs no path, and the host build no replacement for one. What
// only PTX can say stands between #ifndef OCTET_HOST and #endif; the host build has its own of it.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

/// In the order of dev.octet.core.DType.
enum ElementType { F32 = 0, BF16 = 1, F16 = 2, E4M3 = 3, E5M2 = 4, E8M0 = 5 };
/// In the order of dev.octet.fp8.ScaleFormat.
enum ScaleFormat { SCALE_F32 = 0, SCALE_POWER_OF_TWO = 1, SCALE_E8M0 = 2 };

constexpr u32 INFINITY_BITS = 0x7F800000u;
constexpr u32 MAGNITUDE = 0x7FFFFFFFu;
/// The NaN that Java writes, so that scales compare bit by bit.
constexpr u32 NAN_BITS = 0x7FC00000u;

// ---------------------------------------------------------------------------------------------------- floats

#ifndef OCTET_HOST
__device__ __forceinline__ float octet_half_to_float(u16 h) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}

__device__ __forceinline__ u16 octet_float_to_half(float x) {
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}
#endif

__device__ __forceinline__ float bf16_to_float(u32 bits) {
    return __uint_as_float(bits << 16);
}

/// To nearest, ties to even; overflow to infinity happens by itself.
__device__ __forceinline__ u16 float_to_bf16(float x) {
    u32 bits = __float_as_uint(x);
    u32 rounded = bits + 0x7FFF + (bits >> 16 & 1);
    return u16(((bits & MAGNITUDE) > INFINITY_BITS ? bits | 0x400000u : rounded) >> 16);
}

/// One element of F32, BF16 or F16.
__device__ __forceinline__ float load_float(const u8* data, i64 element, int type) {
    if (type == F32) {
        return reinterpret_cast<const float*>(data)[element];
    }
    u16 half = reinterpret_cast<const u16*>(data)[element];
    return type == BF16 ? bf16_to_float(half) : octet_half_to_float(half);
}

__device__ __forceinline__ void store_float(u8* data, i64 element, int type, float x) {
    if (type == F32) {
        reinterpret_cast<float*>(data)[element] = x;
    } else {
        reinterpret_cast<u16*>(data)[element] = type == BF16 ? float_to_bf16(x) : octet_float_to_half(x);
    }
}

// ---------------------------------------------------------------------------------------------------- FP8 codes

/// What distinguishes E4M3 from E5M2; dev.octet.fp8.cpu.FloatFormat explains the numbers.
struct Codec {
    u32 shift;        // FP32 significand bits that are dropped
    u32 minNormal;    // bits of the smallest normal value, as FP32
    u32 clamp;        // bits of the largest magnitude that goes into the rounding
    u32 nan;          // the code of NaN
    u32 firstSpecial; // the first positive code that is not finite
    u32 magic;
    float decodeScale; // 2^(127 - bias)
    float max;
};

__device__ __forceinline__ Codec codec(int type, bool saturate) {
    Codec c;
    bool e4m3 = type == E4M3;
    c.shift = e4m3 ? 20 : 21;
    c.minNormal = e4m3 ? 0x3C800000u : 0x38800000u;                             // 2^-6, 2^-14
    c.clamp = e4m3 ? (saturate ? 0x43E00000u : 0x43F00000u)                     // 448, 480
                   : (saturate ? 0x47600000u : 0x47800000u);                    // 57344, 65536
    c.nan = e4m3 ? 0x7F : 0x7E;
    c.firstSpecial = e4m3 ? 0x7F : 0x7C;
    c.magic = (c.shift << 23) + (0u - (c.minNormal >> c.shift) & 0xFF);
    c.decodeScale = __uint_as_float(e4m3 ? 0x7B800000u : 0x77800000u);          // 2^120, 2^112
    c.max = e4m3 ? 448.0f : 57344.0f;
    return c;
}

/// The code of |x| for an x that is not NaN. The FP32 addition rounds.
__device__ __forceinline__ u32 encode_magnitude(const Codec& c, u32 magnitude) {
    u32 a = magnitude < c.clamp ? magnitude : c.clamp;
    u32 e = (a > c.minNormal ? a : c.minNormal) & INFINITY_BITS;
    u32 t = __float_as_uint(__fadd_rn(__uint_as_float(a), __uint_as_float(e + c.magic)));
    return t + (e >> c.shift) & 0xFF;
}

/// A cast: a NaN keeps its sign.
__device__ __forceinline__ u32 encode(const Codec& c, float x) {
    u32 bits = __float_as_uint(x);
    u32 magnitude = bits & MAGNITUDE;
    u32 code = magnitude > INFINITY_BITS ? c.nan : encode_magnitude(c, magnitude);
    return bits >> 24 & 0x80 | code;
}

/// A quantiser's cast: NaN is positive, whatever sign the processor gave it.
__device__ __forceinline__ u32 encode_quantized(const Codec& c, float x) {
    u32 bits = __float_as_uint(x);
    u32 magnitude = bits & MAGNITUDE;
    return magnitude > INFINITY_BITS ? c.nan : bits >> 24 & 0x80 | encode_magnitude(c, magnitude);
}

/// Four quantised codes in a word, the first in the lowest byte. GPUs from sm_89 on have instructions that round and
/// saturate just so. They turn every NaN into 0x7F, which is E4M3's; E5M2's is 0x7E here, and 0x7F is no other code.
__device__ __forceinline__ u32 encode_quantized4(const Codec& c, float x0, float x1, float x2, float x3) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    u16 low, high;
    if (c.shift == 20) {
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(x1), "f"(x0));
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(x3), "f"(x2));
        return u32(low) | u32(high) << 16;
    }
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(low) : "f"(x1), "f"(x0));
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(high) : "f"(x3), "f"(x2));
    u32 word = u32(low) | u32(high) << 16;
    // Numbers end at 0x7B and 0xFB, so adding 1 carries into no neighbour, and sets the sign of 0x7F alone.
    return word - ((word + 0x01010101u & ~word) >> 7 & 0x01010101u);
#else
    return encode_quantized(c, x0) | encode_quantized(c, x1) << 8 | encode_quantized(c, x2) << 16
            | encode_quantized(c, x3) << 24;
#endif
}

/// Exact.
__device__ __forceinline__ float decode(const Codec& c, u32 code) {
    u32 magnitude = code & 0x7F;
    u32 sign = (code & 0x80) << 24;
    if (magnitude >= c.firstSpecial) {
        return __uint_as_float(sign | (c.firstSpecial == 0x7C && magnitude == 0x7C ? INFINITY_BITS : NAN_BITS));
    }
    return __fmul_rn(__uint_as_float(sign | magnitude << c.shift), c.decodeScale);
}

// ---------------------------------------------------------------------------------------------------- scales

__device__ __forceinline__ float decode_e8m0(u32 code) {
    return __uint_as_float(code == 0xFF ? NAN_BITS : code == 0 ? 0x00400000u : code << 23);
}

__device__ __forceinline__ float load_scale(const u8* scales, i64 element, int format) {
    return format == SCALE_E8M0 ? decode_e8m0(scales[element]) : reinterpret_cast<const float*>(scales)[element];
}

/// The recipe: max(amax, 1e-4) / max, rounded up to a power of two if asked for. The bits of magnitudes order NaN after
/// infinity after all else.
__device__ __forceinline__ float scale_of(u32 amaxBits, float max, int format) {
    const u32 least = 0x38D1B717u; // 1e-4
    float scale = __fdiv_rn(__uint_as_float(amaxBits > least ? amaxBits : least), max);
    u32 bits = __float_as_uint(scale);
    if (bits > INFINITY_BITS) {
        return __uint_as_float(NAN_BITS);
    }
    if (format == SCALE_F32 || bits == INFINITY_BITS) {
        return scale;
    }
    u32 exponent = bits + 0x7FFFFF >> 23;
    exponent = exponent < 1 ? 1 : exponent > 254 ? 254 : exponent;
    return __uint_as_float(exponent << 23);
}

__device__ __forceinline__ void store_scale(u8* scales, i64 element, int format, float scale) {
    if (format == SCALE_E8M0) {
        scales[element] = u8(__float_as_uint(scale) >> 23); // NaN and infinity: 0xFF
    } else {
        reinterpret_cast<float*>(scales)[element] = scale;
    }
}
