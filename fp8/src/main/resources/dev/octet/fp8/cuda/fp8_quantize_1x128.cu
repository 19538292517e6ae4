#include "fp8_tiles.cuh"

/// One scale for 128 neighbours of a row.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
octet_quantize_1x128(const __grid_constant__ QuantizeParameters p) {
    Place at = place(p.columns, blockIdx.x);
    Codec c = codec(p.format, true);
    float x[PASSES][8];
    load_tile(p.source, pieces(p.rows, p.columns, at), x);
    // Each lane of a half warp has the maxima of its 8 rows; lane i % 8 keeps that of row i and makes its scale, which
    // is one division for 8 rows instead of 8.
    int lane = int(threadIdx.x) % 8;
    u32 mine = 0;
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        u32 m = max_of_half_warp(max8(x[i]));
        mine = lane == i ? m : mine;
    }
    float scale = scale_of(mine, c.max, p.scaleFormat);
    float factor = __fdiv_rn(1.0f, scale);
    i64 row = at.row0 + at.row + lane;
    if (threadIdx.x % 16 < 8 && row < p.rows) {
        store_scale(p.scales, row * p.scalesRowStride + at.tileColumn * p.scalesColumnStride, p.scaleFormat, scale);
    }
    uint2 words[PASSES];
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        words[i] = encode8(c, x[i], __shfl_sync(0xFFFFFFFFu, factor, i, 8));
    }
    store_tile(p, at.row0, at.column0, at.row, at.column, words);
}
