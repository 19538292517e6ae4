// Converts between floats and FP8 element by element, without scales. A NaN keeps its sign.
//
// Schedule. A block of 256 threads takes 4096 elements. Where both tensors are contiguous and aligned, a thread has 16
// neighbours: one store or load of 16 bytes on the side of the codes. Else threads take turns, and each element's place
// is worked out from up to four extents and strides.
#include "fp8_numbers.cuh"

constexpr int THREADS = 256;
constexpr int ELEMENTS = 16; // of a thread

struct CastParameters {
    const u8* source;
    u8* target;
    i64 count;
    i64 dims[4]; // outermost first
    i64 sourceStrides[4];
    i64 targetStrides[4];
    int sourceType, targetType;
    int saturate;
    int vectors;
};

__device__ __forceinline__ void cast_one(const CastParameters& p, const Codec& c, bool down, i64 i) {
    i64 source = 0, target = 0;
#pragma unroll
    for (int d = 3; d >= 0; d--) {
        i64 rest = i / p.dims[d], at = i - rest * p.dims[d];
        source += at * p.sourceStrides[d];
        target += at * p.targetStrides[d];
        i = rest;
    }
    if (down) {
        p.target[target] = u8(encode(c, load_float(p.source, source, p.sourceType)));
    } else {
        store_float(p.target, target, p.targetType, decode(c, p.source[source]));
    }
}

__device__ __forceinline__ u32 encode4(const Codec& c, float x0, float x1, float x2, float x3) {
    return encode(c, x0) | encode(c, x1) << 8 | encode(c, x2) << 16 | encode(c, x3) << 24;
}

__device__ __forceinline__ void narrow16(const CastParameters& p, const Codec& c, i64 i) {
    u32 codes[4];
    if (p.sourceType == F32) {
        const float4* from = reinterpret_cast<const float4*>(reinterpret_cast<const float*>(p.source) + i);
        float4 x[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[j] = from[j];
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            codes[j] = encode4(c, x[j].x, x[j].y, x[j].z, x[j].w);
        }
    } else {
        const uint4* from = reinterpret_cast<const uint4*>(reinterpret_cast<const u16*>(p.source) + i);
        uint4 low = from[0], high = from[1];
        u32 words[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        float x[16];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            bool bf16 = p.sourceType == BF16;
            x[2 * j] = bf16 ? bf16_to_float(words[j] & 0xFFFF) : octet_half_to_float(u16(words[j] & 0xFFFF));
            x[2 * j + 1] = bf16 ? bf16_to_float(words[j] >> 16) : octet_half_to_float(u16(words[j] >> 16));
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            codes[j] = encode4(c, x[4 * j], x[4 * j + 1], x[4 * j + 2], x[4 * j + 3]);
        }
    }
    *reinterpret_cast<uint4*>(p.target + i) = make_uint4(codes[0], codes[1], codes[2], codes[3]);
}

__device__ __forceinline__ void widen16(const CastParameters& p, const Codec& c, i64 i) {
    uint4 raw = *reinterpret_cast<const uint4*>(p.source + i);
    u32 words[4] = {raw.x, raw.y, raw.z, raw.w};
    float x[16];
#pragma unroll
    for (int j = 0; j < 16; j++) {
        x[j] = decode(c, words[j / 4] >> 8 * (j % 4) & 0xFF);
    }
    if (p.targetType == F32) {
        float4* to = reinterpret_cast<float4*>(reinterpret_cast<float*>(p.target) + i);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            to[j] = make_float4(x[4 * j], x[4 * j + 1], x[4 * j + 2], x[4 * j + 3]);
        }
    } else {
        u32 halves[8];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            bool bf16 = p.targetType == BF16;
            u32 low = bf16 ? float_to_bf16(x[2 * j]) : octet_float_to_half(x[2 * j]);
            u32 high = bf16 ? float_to_bf16(x[2 * j + 1]) : octet_float_to_half(x[2 * j + 1]);
            halves[j] = low | high << 16;
        }
        uint4* to = reinterpret_cast<uint4*>(reinterpret_cast<u16*>(p.target) + i);
        to[0] = make_uint4(halves[0], halves[1], halves[2], halves[3]);
        to[1] = make_uint4(halves[4], halves[5], halves[6], halves[7]);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
octet_cast(const __grid_constant__ CastParameters p) {
    const bool down = p.targetType >= E4M3;
    const Codec c = codec(down ? p.targetType : p.sourceType, p.saturate);
    const i64 begin = i64(blockIdx.x) * THREADS * ELEMENTS;
    const i64 mine = begin + i64(threadIdx.x) * ELEMENTS;
    if (p.vectors && begin + THREADS * ELEMENTS <= p.count) {
        if (down) {
            narrow16(p, c, mine);
        } else {
            widen16(p, c, mine);
        }
        return;
    }
#pragma unroll 1
    for (int j = 0; j < ELEMENTS; j++) {
        i64 i = begin + j * THREADS + threadIdx.x;
        if (i < p.count) {
            cast_one(p, c, down, i);
        }
    }
}
