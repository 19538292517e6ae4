// What the portable GEMM kernels share: how products are described, and what happens to a row of sums.
//
//   D[m,n] = cast(activation(sum[m,n] + addend[m,n] + bias[n]))
//
// in FP32, to F32, BF16, or FP8 with a fresh scale for 128 columns.
#pragma once
#include "fp8_numbers.cuh"

/// Columns of a tile: the columns that share a scale of a quantised result, so that a tile has all of them.
constexpr int TILE_N = 128;
/// K between two promotions: the columns that share a scale of an operand.
constexpr int BLOCK_K = 128;
constexpr int WARPS = 8;
constexpr int GEMM_THREADS = 32 * WARPS;
/// Products of one launch. More would make its parameters larger than 4 KB, which older drivers refuse.
constexpr int MAX_PRODUCTS = 32;

/// How 8 codes may be read at once: not at all, along K, along the rows.
enum Contiguity { CODES_ALONE = 0, CODES_ALONG_K = 1, CODES_ALONG_ROWS = 2 };

/// A or B but for its addresses: what all products of a launch have in common.
struct Operand {
    i64 rowStride, kStride;
    i64 scaleRowStride, scaleKStride;
    int type, scaleFormat;
    int scaleRowShift, scaleKShift; // a block of scales is 2^shift wide; 63: all of it
    int contiguity;
    int unused;
};

/// One A * B^T. Its tiles are firstTile and those that follow, rows fastest.
struct Product {
    const u8* a;
    const u8* aScales;
    const u8* b;
    const u8* bScales;
    u8* d;
    u8* dScales;
    const u8* addend;
    i64 m, k;
    i64 firstTile;
};

struct GemmParameters {
    Operand a, b;
    i64 n;
    i64 dRowStride, dColumnStride;
    i64 dScaleRowStride, dScaleColumnStride;
    i64 addendRowStride, addendColumnStride;
    const u8* bias;
    i64 biasStride;
    int dType, dScaleFormat;
    int addendType, biasType;
    int silu;
    int vectors; // 4 columns of D may be written at once
    int products;
    int unused;
    Product product[MAX_PRODUCTS];
};

/// The product that a tile belongs to: the last that begins at it or before. A product without tiles is never it.
__device__ __forceinline__ int product_of(const GemmParameters& p, i64 tile) {
    int i = 0;
    while (i + 1 < p.products && p.product[i + 1].firstTile <= tile) {
        i++;
    }
    return i;
}

__device__ __forceinline__ float operand_scale(const Operand& o, const u8* scales, i64 row, i64 k) {
    return load_scale(scales,
            (row >> o.scaleRowShift) * o.scaleRowStride + (k >> o.scaleKShift) * o.scaleKStride, o.scaleFormat);
}

/// Writes 4 neighbouring columns of a row: a warp has all 128 of the tile, lane l those from 4 * l on, and calls this
/// with all its lanes.
__device__ __forceinline__ void finish_row(const GemmParameters& p, const Product& g, i64 row, i64 column,
        float (&x)[4]) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
        i64 n = column + j;
        if (n < p.n) {
            if (g.addend) {
                x[j] = __fadd_rn(x[j],
                        load_float(g.addend, row * p.addendRowStride + n * p.addendColumnStride, p.addendType));
            }
            if (p.bias) {
                x[j] = __fadd_rn(x[j], load_float(p.bias, n * p.biasStride, p.biasType));
            }
            if (p.silu) {
                x[j] = __fdiv_rn(x[j], __fadd_rn(1.0f, expf(-x[j])));
            }
        } else {
            x[j] = 0;
        }
    }
    i64 at = row * p.dRowStride + column * p.dColumnStride;
    if (p.dType >= E4M3) {
        Codec c = codec(p.dType, true);
        u32 m = 0;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            u32 magnitude = __float_as_uint(x[j]) & MAGNITUDE;
            m = magnitude > m ? magnitude : m;
        }
        float scale = scale_of(__reduce_max_sync(0xFFFFFFFFu, m), c.max, p.dScaleFormat);
        float factor = __fdiv_rn(1.0f, scale);
        if (threadIdx.x % 32 == 0) {
            store_scale(g.dScales, row * p.dScaleRowStride + column / TILE_N * p.dScaleColumnStride, p.dScaleFormat,
                    scale);
        }
        u32 word = encode_quantized4(c, __fmul_rn(x[0], factor), __fmul_rn(x[1], factor), __fmul_rn(x[2], factor),
                __fmul_rn(x[3], factor));
        if (p.vectors && column + 4 <= p.n) {
            *reinterpret_cast<u32*>(g.d + at) = word;
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (column + j < p.n) {
                    g.d[at + j * p.dColumnStride] = u8(word >> 8 * j);
                }
            }
        }
    } else if (p.vectors && column + 4 <= p.n) {
        if (p.dType == F32) {
            *reinterpret_cast<float4*>(reinterpret_cast<float*>(g.d) + at) = make_float4(x[0], x[1], x[2], x[3]);
        } else {
            *reinterpret_cast<uint2*>(reinterpret_cast<u16*>(g.d) + at) =
                    make_uint2(float_to_bf16(x[0]) | u32(float_to_bf16(x[1])) << 16,
                            float_to_bf16(x[2]) | u32(float_to_bf16(x[3])) << 16);
        }
    } else {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (column + j < p.n) {
                store_float(g.d, at + j * p.dColumnStride, p.dType, x[j]);
            }
        }
    }
}

/// 8 codes of neighbouring k (or rows) of an operand, as they are read: the first in the lowest byte of x. Codes
/// outside of the matrix are 0, which is the number 0.
__device__ __forceinline__ uint2 load_codes8(const Operand& o, const u8* data, i64 rows, i64 depth, i64 row, i64 k,
        bool alongRows) {
    const u8* at = data + row * o.rowStride + k * o.kStride;
    i64 left = row >= rows || k >= depth ? 0 : alongRows ? rows - row : depth - k;
    if (left >= 8 && o.contiguity != CODES_ALONE) {
        return *reinterpret_cast<const uint2*>(at);
    }
    const i64 step = alongRows ? o.rowStride : o.kStride;
    u64 word = 0;
#pragma unroll 1
    for (int j = 0; j < 8 && j < left; j++) {
        word |= u64(at[j * step]) << 8 * j;
    }
    return make_uint2(u32(word), u32(word >> 32));
}
