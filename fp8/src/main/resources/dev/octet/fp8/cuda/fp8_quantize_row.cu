#include "fp8_tiles.cuh"

/// One scale for a row: a half warp takes a row, 1024 elements at a time, and reads it twice; the second time it is in
/// the cache. If the launch has swapped rows and columns, octet_quantize_column is meant.
extern "C" __global__ void __launch_bounds__(THREADS)
octet_quantize_row(const __grid_constant__ QuantizeParameters p) {
    Codec c = codec(p.format, true);
    i64 row = i64(blockIdx.x) * 16 + threadIdx.x / 16;
    i64 column = threadIdx.x % 16 * 8;
    float x[PASSES][8];
    u32 m = 0;
    for (i64 from = 0; from < p.columns; from += PASSES * TILE) {
        load_tile(p.source, {p.rows, p.columns, row, from + column, 0, TILE}, x);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            m = larger(m, max8(x[i]));
        }
    }
    float scale = scale_of(max_of_half_warp(m), c.max, p.scaleFormat);
    float factor = __fdiv_rn(1.0f, scale);
    if (threadIdx.x % 16 == 0 && row < p.rows) {
        store_scale(p.scales, row * p.scalesRowStride, p.scaleFormat, scale);
    }
    for (i64 from = 0; from < p.columns; from += PASSES * TILE) {
        load_tile(p.source, {p.rows, p.columns, row, from + column, 0, TILE}, x);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            store8(p, row, from + column + i * TILE, encode8(c, x[i], factor));
        }
    }
}
