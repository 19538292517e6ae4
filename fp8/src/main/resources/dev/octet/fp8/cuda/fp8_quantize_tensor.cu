#include "fp8_tiles.cuh"

/// The largest magnitudes of parts of the matrix, one for each block; octet_quantize_tensor takes the largest of them.
/// The largest of some numbers does not depend on their order, so neither do the bits.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
octet_amax_tensor(const __grid_constant__ QuantizeParameters p) {
    i64 tiles = (p.rows + TILE - 1) / TILE * ((p.columns + TILE - 1) / TILE);
    float x[PASSES][8];
    u32 m = 0;
    for (i64 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        Place at = place(p.columns, tile);
        load_tile(p.source, pieces(p.rows, p.columns, at), x);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            m = larger(m, max8(x[i]));
        }
    }
    m = max_of_block(m);
    if (threadIdx.x == 0) {
        p.partials[blockIdx.x] = m;
    }
}

/// One scale for the matrix.
extern "C" __global__ void __launch_bounds__(THREADS, 2)
octet_quantize_tensor(const __grid_constant__ QuantizeParameters p) {
    Place at = place(p.columns, blockIdx.x);
    Codec c = codec(p.format, true);
    float x[PASSES][8];
    load_tile(p.source, pieces(p.rows, p.columns, at), x);
    u32 m = 0;
    for (int i = threadIdx.x; i < p.partialCount; i += THREADS) {
        m = larger(m, p.partials[i]);
    }
    float scale = scale_of(max_of_block(m), c.max, p.scaleFormat);
    float factor = __fdiv_rn(1.0f, scale);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        store_scale(p.scales, 0, p.scaleFormat, scale);
    }
    uint2 words[PASSES];
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        words[i] = encode8(c, x[i], factor);
    }
    store_tile(p, at.row0, at.column0, at.row, at.column, words);
}
