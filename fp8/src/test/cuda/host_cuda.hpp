// The part of CUDA C++ that Octet's kernels use, for a host compiler: include this, then a .cu file, then
// host_exports.hpp. Functions that a kernel writes in PTX stand in the .cu file between #ifndef OCTET_HOST and #endif
// and here, or beside here, once more in C++.
#pragma once

#define OCTET_HOST 1

#include <math.h>

#include "host_runtime.hpp"

// ------------------------------------------------------------------------------------------------ the language

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __align__(n) __attribute__((aligned(n)))
/// Static inside a function, or extern: one for each block, since a block has its thread of the operating system.
#define __shared__ thread_local

struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

#define threadIdx (octet_host::fibre().threadIdx)
#define blockIdx (octet_host::block->blockIdx)
#define blockDim (octet_host::block->launch->block)
#define gridDim (octet_host::block->launch->grid)
constexpr int warpSize = 32;

/// Byte i of the result is that of the 8 bytes y:x which nibble i of the selector names.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    unsigned long long all = (unsigned long long) y << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++) {
        result |= unsigned(all >> 8 * (selector >> 4 * i & 7) & 0xFF) << 8 * i;
    }
    return result;
}

// ------------------------------------------------------------------------------------------------ barriers

inline void __syncthreads() { octet_host::sync(0); }

inline void octet_vote(bool yes) {
    octet_host::Block& b = *octet_host::block;
    unsigned slot = b.barriers[0].generation & 1;
    if (b.barriers[0].arrived == 0) {
        b.votes[slot] = b.counts[slot] = 0;
    }
    b.votes[slot] |= yes;
    b.counts[slot] += yes;
}
inline int __syncthreads_or(int p) {
    unsigned slot = octet_host::block->barriers[0].generation & 1;
    octet_vote(p != 0);
    octet_host::sync(0);
    return octet_host::block->votes[slot] != 0;
}
inline int __syncthreads_count(int p) {
    unsigned slot = octet_host::block->barriers[0].generation & 1;
    octet_vote(p != 0);
    octet_host::sync(0);
    return int(octet_host::block->counts[slot]);
}
inline int __syncthreads_and(int p) { return !__syncthreads_or(!p); }

inline void __syncwarp(unsigned mask = ~0u) { octet_host::meet("__syncwarp", mask, 0); }
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap() { octet_host::fail("__trap()"); }

// ------------------------------------------------------------------------------------------------ warps

namespace octet_host {
template <class T>
inline uint64_t bits(T value) {
    static_assert(sizeof(T) <= 8);
    uint64_t b = 0;
    memcpy(&b, &value, sizeof value);
    return b;
}
template <class T>
inline T from(uint64_t b) {
    T value;
    memcpy(&value, &b, sizeof value);
    return value;
}
inline unsigned lane() { return fibre().index % 32; }
/// A lane outside the segment leaves each lane its own value; one that the mask lacks is undefined on a GPU.
template <class T>
inline T shuffle(const char* what, unsigned mask, T value, unsigned source, bool inside) {
    const uint64_t* all = meet(what, mask, bits(value));
    if (!inside) {
        return value;
    }
    if (!(mask >> source & 1)) {
        fail(format("%s with mask %08x reads lane %u, which is not in it", what, mask, source));
    }
    return from<T>(all[source]);
}
template <class T, class Op>
inline T reduce(const char* what, unsigned mask, T value, Op op) {
    const uint64_t* all = meet(what, mask, bits(value));
    unsigned first = __builtin_ctz(mask);
    T sum = from<T>(all[first]);
    for (unsigned i = first + 1; i < 32; i++) {
        if (mask >> i & 1) {
            sum = op(sum, from<T>(all[i]));
        }
    }
    return sum;
}
} // namespace octet_host

template <class T>
inline T __shfl_sync(unsigned mask, T v, int source, int width = 32) {
    unsigned base = octet_host::lane() & ~unsigned(width - 1);
    return octet_host::shuffle("__shfl_sync", mask, v, base + (unsigned(source) & unsigned(width - 1)), true);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32) {
    unsigned me = octet_host::lane(), source = me ^ unsigned(lanes);
    return octet_host::shuffle("__shfl_xor_sync", mask, v, source, source < (me & ~unsigned(width - 1)) + width);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    unsigned me = octet_host::lane(), source = me + delta;
    return octet_host::shuffle("__shfl_down_sync", mask, v, source, source < (me & ~unsigned(width - 1)) + width);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32) {
    unsigned me = octet_host::lane();
    return octet_host::shuffle("__shfl_up_sync", mask, v, me - delta, me >= (me & ~unsigned(width - 1)) + delta);
}
inline unsigned __ballot_sync(unsigned mask, int p) {
    const uint64_t* all = octet_host::meet("__ballot_sync", mask, p != 0);
    unsigned set = 0;
    for (unsigned i = 0; i < 32; i++) {
        set |= (mask >> i & 1) && all[i] ? 1u << i : 0;
    }
    return set;
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, p) == mask; }
inline unsigned __reduce_max_sync(unsigned mask, unsigned v) {
    return octet_host::reduce("__reduce_max_sync", mask, v, [](unsigned a, unsigned b) { return a > b ? a : b; });
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned v) {
    return octet_host::reduce("__reduce_min_sync", mask, v, [](unsigned a, unsigned b) { return a < b ? a : b; });
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned v) {
    return octet_host::reduce("__reduce_add_sync", mask, v, [](unsigned a, unsigned b) { return a + b; });
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned v) {
    return octet_host::reduce("__reduce_or_sync", mask, v, [](unsigned a, unsigned b) { return a | b; });
}

// ------------------------------------------------------------------------------------------------ atomics

template <class T>
inline T atomicAdd(T* p, T v) {
    return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST);
}
inline float atomicAdd(float* p, float v) {
    auto word = reinterpret_cast<unsigned*>(p);
    unsigned old = __atomic_load_n(word, __ATOMIC_SEQ_CST);
    for (;;) {
        float sum = octet_host::from<float>(old) + v;
        if (__atomic_compare_exchange_n(word, &old, unsigned(octet_host::bits(sum)), false, __ATOMIC_SEQ_CST,
                    __ATOMIC_SEQ_CST)) {
            return octet_host::from<float>(old);
        }
    }
}
template <class T>
inline T atomicMax(T* p, T v) {
    T old = __atomic_load_n(p, __ATOMIC_SEQ_CST);
    while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    return old;
}
template <class T>
inline T atomicExch(T* p, T v) {
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
template <class T>
inline T atomicCAS(T* p, T expected, T v) {
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return expected;
}

// ------------------------------------------------------------------------------------------------ numbers

inline int __float_as_int(float x) { return octet_host::from<int>(octet_host::bits(x)); }
inline unsigned __float_as_uint(float x) { return octet_host::from<unsigned>(octet_host::bits(x)); }
inline float __int_as_float(int x) { return octet_host::from<float>(octet_host::bits(x)); }
inline float __uint_as_float(unsigned x) { return octet_host::from<float>(octet_host::bits(x)); }
// Each rounds once, by itself: build with -ffp-contract=off.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
template <class T>
inline T __ldg(const T* p) {
    return *p;
}
template <class T>
inline T min(T a, T b) {
    return b < a ? b : a;
}
template <class T>
inline T max(T a, T b) {
    return a < b ? b : a;
}

/// IEEE binary16 to binary32, exactly.
inline float octet_half_to_float(unsigned short h) {
    unsigned sign = unsigned(h & 0x8000) << 16, rest = unsigned(h & 0x7FFF) << 13;
    if (rest >= 0x0F800000u) {
        return __uint_as_float(sign | rest | 0x7F800000u);
    }
    return __uint_as_float(sign | __float_as_uint(__uint_as_float(rest) * 0x1p112f));
}
/// binary32 to IEEE binary16, to nearest, ties to even.
inline unsigned short octet_float_to_half(float x) {
    unsigned u = __float_as_uint(x), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFFu;
    if (a > 0x7F800000u) {
        return (unsigned short) (sign | 0x7E00);
    }
    if (a >= 0x477FF000u) { // 65520, a tie, goes up
        return (unsigned short) (sign | 0x7C00);
    }
    if (a < 0x38800000u) { // below 2^-14: the sum's last place is 2^-24
        return (unsigned short) (sign | (__float_as_uint(__uint_as_float(a) + 0.5f) - 0x3F000000u));
    }
    a += 0xFFF + (a >> 13 & 1);
    return (unsigned short) (sign | ((a >> 13) - (112 << 10)));
}

// ------------------------------------------------------------------------------------------------ tensor cores

/// mma.sync.m16n8k16.row.col.f32.bf16.bf16.f32 by the PTX ISA's figures of its fragments, d += a * b, with FP32 sums in
/// increasing k. With g = lane / 4 and t = lane % 4 a register of A has two neighbours of a row: a0 (g, 2t), a1
/// (g + 8, 2t), a2 (g, 2t + 8), a3 (g + 8, 2t + 8); of B two neighbours of a column: b0 (2t, g), b1 (2t + 8, g); of D
/// one element: d0 (g, 2t), d1 (g, 2t + 1), d2 (g + 8, 2t), d3 (g + 8, 2t + 1).
inline void octet_mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    uint64_t low[32], high[32], right[32];
    auto meet = [](uint64_t (&to)[32], unsigned x, unsigned y) {
        memcpy(to, octet_host::meet("mma.sync", ~0u, uint64_t(y) << 32 | x), sizeof to);
    };
    meet(low, a[0], a[1]);
    meet(high, a[2], a[3]);
    meet(right, b[0], b[1]);
    auto value = [](uint64_t pair, int word, int odd) {
        unsigned bits = unsigned(pair >> 32 * word);
        return octet_host::from<float>(uint64_t(odd ? bits & 0xFFFF0000u : bits << 16));
    };
    unsigned lane = octet_host::lane();
    for (int e = 0; e < 4; e++) {
        unsigned row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        for (int k = 0; k < 16; k++) {
            const uint64_t* half = k < 8 ? low : high;
            float x = value(half[row % 8 * 4 + k % 8 / 2], row / 8, k % 2);
            float y = value(right[column * 4 + k % 8 / 2], k / 8, k % 2);
            d[e] = __builtin_fmaf(x, y, d[e]);
        }
    }
}
