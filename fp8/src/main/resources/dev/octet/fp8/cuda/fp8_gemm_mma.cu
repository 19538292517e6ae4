// D = epilogue(A * B^T) with fine-grained scales on tensor cores from sm_80 on: codes become BF16, which has all of
// their values, and mma.sync multiplies them with FP32 sums.
//
//   sum[m,n] = SUM over blocks b of 128 along K:  sA[m,b] * sB[n,b] * SUM over k in b:  A[m,k] * B[n,k]
//
// (DeepSeek-V3, section 3.3.2.) Each element's sum is made in one order, whatever the tile it is in: the same bits in
// every launch, for every grid, alone or in a group. Products are exact; how a tensor core rounds its sum of 16 of them
// is NVIDIA's affair, so that these bits are not those of fp8_gemm_fma.cu.
//
// Schedule. A block of 8 warps has a tile of 64 x 128, a warp 32 x 32 of it: 2 x 4 products m16n8k16. K goes by 32:
// codes are fetched into registers while the 32 before are multiplied, then decoded into shared memory, rows of 32
// values and 8 more, so that the 32 lanes' words lie in 32 banks. After 128 of K the partial sums are scaled and added
// to the totals. At the end the tile goes through shared memory, because the epilogue wants whole rows in a warp.
#include "fp8_epilogue.cuh"

constexpr int TILE_M = 64;
constexpr int STEP_K = 32;
constexpr int ROW = STEP_K + 8;

struct MmaTile {
    union {
        struct {
            u16 a[TILE_M][ROW];
            u16 b[TILE_N][ROW];
        } in;
        float out[TILE_M][TILE_N + 4];
    };
    float scaleA[TILE_M];
    float scaleB[TILE_N];
};

#ifndef OCTET_HOST
/// d += a * b. With g = lane / 4 and t = lane % 4: a[i] has row g + 8 * (i % 2) and columns 2 t + 8 * (i / 2) and the
/// next, b[i] column g and rows 2 t + 8 * i and the next, d[i] row g + 8 * (i / 2) and column 2 t + i % 2.
__device__ __forceinline__ void octet_mma_bf16(float (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

/// Decodes 8 codes to where they belong in shared memory.
__device__ __forceinline__ void put(u16 (*to)[ROW], const Codec& c, uint2 word, int row, int k, bool alongRows) {
    u32 half[8];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        half[j] = __float_as_uint(decode(c, (j < 4 ? word.x : word.y) >> 8 * (j % 4) & 0xFF)) >> 16;
    }
    if (alongRows) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
            to[row + j][k] = u16(half[j]);
        }
    } else {
        *reinterpret_cast<uint4*>(&to[row][k]) = make_uint4(half[0] | half[1] << 16, half[2] | half[3] << 16,
                half[4] | half[5] << 16, half[6] | half[7] << 16);
    }
}

__device__ __forceinline__ u32 pair(const u16 (*from)[ROW], int row, int k) {
    return *reinterpret_cast<const u32*>(&from[row][k]);
}

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, 2)
octet_gemm_mma_64(const __grid_constant__ GemmParameters p) {
    __shared__ __align__(16) MmaTile tile;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    const Product& g = p.product[product_of(p, blockIdx.x)];
    const i64 tilesM = (g.m + TILE_M - 1) / TILE_M;
    const i64 index = i64(blockIdx.x) - g.firstTile;
    const i64 m0 = index % tilesM * TILE_M, n0 = index / tilesM * TILE_N;
    const Codec codecA = codec(p.a.type, true), codecB = codec(p.b.type, true);

    // Which pieces of the tiles this thread fetches: one of A, two of B, the second half a step further along K. Lanes
    // take neighbouring pieces of a row, or of a column where rows are contiguous.
    const bool alongA = p.a.contiguity == CODES_ALONG_ROWS, alongB = p.b.contiguity == CODES_ALONG_ROWS;
    const int rowA = alongA ? thread % (TILE_M / 8) * 8 : thread / (STEP_K / 8);
    const int kA = alongA ? thread / (TILE_M / 8) : thread % (STEP_K / 8) * 8;
    const int rowB = alongB ? thread % (TILE_N / 8) * 8 : thread / 2;
    const int kB = alongB ? thread / (TILE_N / 8) : thread % 2 * 8;

    uint2 nextA, nextB[2];
    auto fetch = [&](i64 k) {
        nextA = load_codes8(p.a, g.a, g.m, g.k, m0 + rowA, k + kA, alongA);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            nextB[i] = load_codes8(p.b, g.b, p.n, g.k, n0 + rowB, k + kB + i * 16, alongB);
        }
    };

    const int row = warp / 4 * 32 + lane / 4, column = warp % 4 * 32 + lane / 4, word = lane % 4 * 2;
    float sum[2][4][4] = {};
    fetch(0);
    for (i64 block = 0; block < g.k; block += BLOCK_K) {
        float part[2][4][4] = {};
        const int steps = int((min(i64(BLOCK_K), g.k - block) + STEP_K - 1) / STEP_K);
        for (int step = 0; step < steps; step++) {
            __syncthreads(); // the values of before have been used
            put(tile.in.a, codecA, nextA, rowA, kA, alongA);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                put(tile.in.b, codecB, nextB[i], rowB, kB + i * 16, alongB);
            }
            if (step == 0) {
                if (thread < TILE_N) {
                    tile.scaleB[thread] = n0 + thread < p.n ? operand_scale(p.b, g.bScales, n0 + thread, block) : 0;
                } else if (thread - TILE_N < TILE_M) {
                    i64 m = m0 + thread - TILE_N;
                    tile.scaleA[thread - TILE_N] = m < g.m ? operand_scale(p.a, g.aScales, m, block) : 0;
                }
            }
            __syncthreads();
            fetch(block + (step + 1) * STEP_K);
#pragma unroll
            for (int k = 0; k < STEP_K; k += 16) {
                u32 a[2][4], b[4][2];
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    a[0][i] = pair(tile.in.a, row + i % 2 * 8, k + word + i / 2 * 8);
                    a[1][i] = pair(tile.in.a, row + 16 + i % 2 * 8, k + word + i / 2 * 8);
                    b[i][0] = pair(tile.in.b, column + 8 * i, k + word);
                    b[i][1] = pair(tile.in.b, column + 8 * i, k + word + 8);
                }
#pragma unroll
                for (int i = 0; i < 2; i++) {
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        octet_mma_bf16(part[i][j], a[i], b[j]);
                    }
                }
            }
        }
        // sA * sB is rounded once, its product with the block's sum not at all.
#pragma unroll
        for (int i = 0; i < 2; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    float scale = __fmul_rn(tile.scaleA[row + 16 * i + e / 2 * 8],
                            tile.scaleB[warp % 4 * 32 + 8 * j + word + e % 2]);
                    sum[i][j][e] = __fmaf_rn(scale, part[i][j][e], sum[i][j][e]);
                }
            }
        }
    }
    __syncthreads(); // the last values have been used: the tile of sums takes their place
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
#pragma unroll
            for (int e = 0; e < 4; e += 2) {
                *reinterpret_cast<float2*>(&tile.out[row + 16 * i + e / 2 * 8][warp % 4 * 32 + 8 * j + word]) =
                        make_float2(sum[i][j][e], sum[i][j][e + 1]);
            }
        }
    }
    __syncthreads();
#pragma unroll 1
    for (int r = warp; r < TILE_M && m0 + r < g.m; r += WARPS) {
        float4 four = *reinterpret_cast<const float4*>(&tile.out[r][lane * 4]);
        float x[4] = {four.x, four.y, four.z, four.w};
        finish_row(p, g, m0 + r, n0 + lane * 4, x);
    }
}
