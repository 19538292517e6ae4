// D = epilogue(A * B^T) with fine-grained scales, in FP32 fused multiply-adds: for every architecture, every pairing of
// scales, every stride and size.
//
//   sum[m,n] = SUM over blocks b of 128 along K:  sA[m,b] * sB[n,b] * SUM over k in b:  A[m,k] * B[n,k]
//
// (DeepSeek-V3, section 3.3.2.) Codes' products are exact in FP32. Each element's sum is made by one thread, in
// increasing k, whatever the tile it is in: the same bits in every launch, for every grid, alone or in a group.
//
// Schedule. A block of 8 warps has a tile of D, 8 R rows by 128 columns; a warp has R rows, a lane 4 neighbouring
// columns, so that a row of the tile lies in one warp, which the quantised output needs. K goes by 32: codes are
// fetched into registers while the 32 before are multiplied, then decoded into shared memory, A as [k][8 R], B as
// [k][128]. For each k a lane reads R values of A, which all lanes share, and 4 of B: 4 R products for R / 4 + 4 beats
// of shared memory.
// R = 8 is for many rows, R = 1 for few, where B's bytes are the limit.
#include "fp8_epilogue.cuh"

constexpr int STEP_K = 32;

template <int R>
struct FmaTile {
    static constexpr int TILE_M = WARPS * R;
    static constexpr int A_PIECES = TILE_M * STEP_K / 8; // of 8 codes
    static constexpr int B_PIECES = TILE_N * STEP_K / 8 / GEMM_THREADS;

    float a[STEP_K][TILE_M];
    float b[STEP_K][TILE_N];
    float scaleA[TILE_M];
    float scaleB[TILE_N];
};

/// Decodes 8 codes to where they belong in shared memory.
template <int WIDTH>
__device__ __forceinline__ void put(float (*to)[WIDTH], const Codec& c, uint2 word, int row, int k, bool alongRows) {
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float x = decode(c, (j < 4 ? word.x : word.y) >> 8 * (j % 4) & 0xFF);
        if (alongRows) {
            to[k][row + j] = x;
        } else {
            to[k + j][row] = x;
        }
    }
}

template <int R>
__device__ __forceinline__ void gemm_fma(const GemmParameters& p) {
    using Tile = FmaTile<R>;
    __shared__ __align__(16) Tile tile;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const Product& g = p.product[product_of(p, blockIdx.x)];
    const i64 tilesM = (g.m + Tile::TILE_M - 1) / Tile::TILE_M;
    const i64 index = i64(blockIdx.x) - g.firstTile;
    const i64 m0 = index % tilesM * Tile::TILE_M, n0 = index / tilesM * TILE_N;
    const Codec codecA = codec(p.a.type, true), codecB = codec(p.b.type, true);

    // Which pieces of the tiles this thread fetches. Lanes take neighbouring rows, for stores without conflicts, or
    // neighbouring pieces of a column, where rows are contiguous. The second piece of B is half a step further along K.
    const bool alongA = p.a.contiguity == CODES_ALONG_ROWS, alongB = p.b.contiguity == CODES_ALONG_ROWS;
    const bool fetchesA = thread < Tile::A_PIECES;
    const int rowA = alongA ? thread % (Tile::TILE_M / 8) * 8 : thread % Tile::TILE_M;
    const int kA = alongA ? thread / (Tile::TILE_M / 8) : thread / Tile::TILE_M * 8;
    const int rowB = alongB ? thread % (TILE_N / 8) * 8 : thread % TILE_N;
    const int kB = alongB ? thread / (TILE_N / 8) : thread / TILE_N * 8;

    uint2 nextA = make_uint2(0, 0), nextB[Tile::B_PIECES];
    auto fetch = [&](i64 k) {
        if (fetchesA) {
            nextA = load_codes8(p.a, g.a, g.m, g.k, m0 + rowA, k + kA, alongA);
        }
#pragma unroll
        for (int i = 0; i < Tile::B_PIECES; i++) {
            nextB[i] = load_codes8(p.b, g.b, p.n, g.k, n0 + rowB,
                    k + kB + i * STEP_K / Tile::B_PIECES, alongB);
        }
    };

    float sum[R][4] = {};
    fetch(0);
    for (i64 block = 0; block < g.k; block += BLOCK_K) {
        float part[R][4] = {};
        const int steps = int((min(i64(BLOCK_K), g.k - block) + STEP_K - 1) / STEP_K);
        for (int step = 0; step < steps; step++) {
            __syncthreads(); // the values of before have been used
            if (fetchesA) {
                put<Tile::TILE_M>(tile.a, codecA, nextA, rowA, kA, alongA);
            }
#pragma unroll
            for (int i = 0; i < Tile::B_PIECES; i++) {
                put<TILE_N>(tile.b, codecB, nextB[i], rowB, kB + i * STEP_K / Tile::B_PIECES, alongB);
            }
            if (step == 0) {
                if (thread < TILE_N) {
                    tile.scaleB[thread] = n0 + thread < p.n ? operand_scale(p.b, g.bScales, n0 + thread, block) : 0;
                } else if (thread - TILE_N < Tile::TILE_M) {
                    i64 m = m0 + thread - TILE_N;
                    tile.scaleA[thread - TILE_N] = m < g.m ? operand_scale(p.a, g.aScales, m, block) : 0;
                }
            }
            __syncthreads();
            fetch(block + (step + 1) * STEP_K);
#pragma unroll 8
            for (int k = 0; k < STEP_K; k++) {
                float4 b = *reinterpret_cast<const float4*>(&tile.b[k][lane * 4]);
#pragma unroll
                for (int r = 0; r < R; r++) {
                    float a = tile.a[k][warp * R + r];
                    part[r][0] = __fmaf_rn(a, b.x, part[r][0]);
                    part[r][1] = __fmaf_rn(a, b.y, part[r][1]);
                    part[r][2] = __fmaf_rn(a, b.z, part[r][2]);
                    part[r][3] = __fmaf_rn(a, b.w, part[r][3]);
                }
            }
        }
        // sA * sB is rounded once, its product with the block's sum not at all.
#pragma unroll
        for (int r = 0; r < R; r++) {
            float a = tile.scaleA[warp * R + r];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                sum[r][j] = __fmaf_rn(__fmul_rn(a, tile.scaleB[lane * 4 + j]), part[r][j], sum[r][j]);
            }
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        i64 row = m0 + warp * R + r;
        if (row < g.m) {
            finish_row(p, g, row, n0 + lane * 4, sum[r]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, 2)
octet_gemm_fma_64(const __grid_constant__ GemmParameters p) {
    gemm_fma<8>(p);
}

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, 3)
octet_gemm_fma_8(const __grid_constant__ GemmParameters p) {
    gemm_fma<1>(p);
}
