#include "fp8_tiles.cuh"

/// One scale for a column of what the launch calls rows: the source is the transpose of what is quantised by rows. A
/// block takes 128 columns.
extern "C" __global__ void __launch_bounds__(THREADS)
octet_quantize_column(const __grid_constant__ QuantizeParameters p) {
    __shared__ u32 ofWarp[THREADS / 32][TILE];
    __shared__ float factors[TILE];
    Codec c = codec(p.format, true);
    Place at = place(p.columns, blockIdx.x);
    float x[PASSES][8];
    u32 m[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (i64 row0 = 0; row0 < p.rows; row0 += TILE) {
        load_tile(p.source, {p.rows, p.columns, row0 + at.row, at.column0 + at.column, 1, 0}, x);
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
            for (int i = 0; i < PASSES; i++) {
                m[j] = larger(m[j], __float_as_uint(x[i][j]) & MAGNITUDE);
            }
        }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
        m[j] = larger(m[j], __shfl_xor_sync(0xFFFFFFFFu, m[j], 16));
        if (threadIdx.x % 32 < 16) {
            ofWarp[threadIdx.x / 32][at.column + j] = m[j];
        }
    }
    __syncthreads();
    if (threadIdx.x < TILE) {
        u32 all = 0;
#pragma unroll
        for (int i = 0; i < THREADS / 32; i++) {
            all = larger(all, ofWarp[i][threadIdx.x]);
        }
        float scale = scale_of(all, c.max, p.scaleFormat);
        factors[threadIdx.x] = __fdiv_rn(1.0f, scale);
        i64 column = at.column0 + threadIdx.x;
        if (column < p.columns) {
            store_scale(p.scales, column * p.scalesColumnStride, p.scaleFormat, scale);
        }
    }
    __syncthreads();
    float factor[8];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        factor[j] = factors[at.column + j];
    }
    for (i64 row0 = 0; row0 < p.rows; row0 += TILE) {
        load_tile(p.source, {p.rows, p.columns, row0 + at.row, at.column0 + at.column, 1, 0}, x);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            store8(p, row0 + at.row + i, at.column0 + at.column, encode8(c, x[i], factor));
        }
    }
}
