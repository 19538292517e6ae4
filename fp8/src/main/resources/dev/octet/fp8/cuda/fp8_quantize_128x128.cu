#include "fp8_tiles.cuh"

/// One scale for a square.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
octet_quantize_128x128(const __grid_constant__ QuantizeParameters p) {
    Place at = place(p.columns, blockIdx.x);
    Codec c = codec(p.format, true);
    float x[PASSES][8];
    load_tile(p.source, pieces(p.rows, p.columns, at), x);
    u32 m = 0;
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        m = larger(m, max8(x[i]));
    }
    float scale = scale_of(max_of_block(m), c.max, p.scaleFormat);
    float factor = __fdiv_rn(1.0f, scale);
    if (threadIdx.x == 0) {
        store_scale(p.scales, at.tileRow * p.scalesRowStride + at.tileColumn * p.scalesColumnStride, p.scaleFormat,
                scale);
    }
    uint2 words[PASSES];
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        words[i] = encode8(c, x[i], factor);
    }
    store_tile(p, at.row0, at.column0, at.row, at.column, words);
}
