#include "fp8_tiles.cuh"

__device__ __forceinline__ void store_vector(const DequantizeParameters& p, i64 element, const float (&x)[8]) {
    if (p.type == F32) {
        float4* to = reinterpret_cast<float4*>(reinterpret_cast<float*>(p.target) + element);
        to[0] = make_float4(x[0], x[1], x[2], x[3]);
        to[1] = make_float4(x[4], x[5], x[6], x[7]);
        return;
    }
    u32 words[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        words[j] = p.type == BF16 ? u32(float_to_bf16(x[2 * j])) | u32(float_to_bf16(x[2 * j + 1])) << 16
                : u32(octet_float_to_half(x[2 * j])) | u32(octet_float_to_half(x[2 * j + 1])) << 16;
    }
    *reinterpret_cast<uint4*>(reinterpret_cast<u16*>(p.target) + element) =
            make_uint4(words[0], words[1], words[2], words[3]);
}

/// code * scale in FP32, rounded once.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
octet_dequantize(const __grid_constant__ DequantizeParameters p) {
    Place at = place(p.columns, blockIdx.x);
    float x[PASSES][8];
    i64 column = at.column0 + at.column;
    load_tile(p.source, pieces(p.rows, p.columns, at), x);
    if (p.vectors && column + 8 <= p.columns) {
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            i64 row = at.row0 + at.row + i;
            if (row < p.rows) {
                store_vector(p, row * p.rowStride + column, x[i]);
            }
        }
        return;
    }
    // As in load_tile, the other way round: the next is always in the first place.
#pragma unroll 1
    for (int i = 0; i < PASSES; i++) {
        i64 row = at.row0 + at.row + i;
#pragma unroll 1
        for (int j = 0; j < 8 && row < p.rows && column + j < p.columns; j++) {
            store_float(p.target, row * p.rowStride + (column + j) * p.columnStride, p.type, x[0][0]);
#pragma unroll
            for (int k = 0; k < 7; k++) {
                x[0][k] = x[0][k + 1];
            }
        }
#pragma unroll
        for (int k = 0; k < PASSES - 1; k++) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                x[k][j] = x[k + 1][j];
            }
        }
    }
}
