#include "fp8_tiles.cuh"

/// One scale for 128 neighbours of a column.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
octet_quantize_128x1(const __grid_constant__ QuantizeParameters p) {
    __shared__ u32 ofWarp[THREADS / 32][TILE];
    __shared__ float factors[TILE];
    Place at = place(p.columns, blockIdx.x);
    Codec c = codec(p.format, true);
    float x[PASSES][8];
    load_tile(p.source, pieces(p.rows, p.columns, at), x);
#pragma unroll
    for (int j = 0; j < 8; j++) {
        u32 m = 0;
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            m = larger(m, __float_as_uint(x[i][j]) & MAGNITUDE);
        }
        m = larger(m, __shfl_xor_sync(0xFFFFFFFFu, m, 16));
        if (threadIdx.x % 32 < 16) {
            ofWarp[threadIdx.x / 32][at.column + j] = m;
        }
    }
    __syncthreads();
    if (threadIdx.x < TILE) {
        u32 m = 0;
#pragma unroll
        for (int i = 0; i < THREADS / 32; i++) {
            m = larger(m, ofWarp[i][threadIdx.x]);
        }
        float scale = scale_of(m, c.max, p.scaleFormat);
        factors[threadIdx.x] = __fdiv_rn(1.0f, scale);
        i64 column = at.column0 + threadIdx.x;
        if (column < p.columns) {
            store_scale(p.scales, at.tileRow * p.scalesRowStride + column * p.scalesColumnStride, p.scaleFormat, scale);
        }
    }
    __syncthreads();
    float factor[8];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        factor[j] = factors[at.column + j];
    }
    uint2 words[PASSES];
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        words[i] = encode8(c, x[i], factor);
    }
    store_tile(p, at.row0, at.column0, at.row, at.column, words);
}
