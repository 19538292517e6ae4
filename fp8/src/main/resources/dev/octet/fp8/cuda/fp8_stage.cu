// Brings operands of a GEMM into the form that TMA and FP8 wgmma read: codes contiguous along K in rows at multiples of
// 16 bytes, scales of rows as FP32, [K / 128][rows], in columns at multiples of 16 bytes. For transposed views, E8M0
// scales and what is not aligned; one launch for both operands.
//
// A block takes a tile of 128 x 128 codes. Where rows are neighbours in memory, a thread reads 16 of them, 16 bytes,
// for each of 4 neighbours along K: a warp reads 128 contiguous bytes at a time. It exchanges bytes so that a word has
// the 4 neighbours of a row, puts 16 words into shared memory, and then writes 16 bytes along K of 4 rows: 128
// contiguous bytes again. Chunks of 4 words are exchanged by the row's 16: lanes that write, and lanes that read, take 32 banks.
#include "fp8_numbers.cuh"

constexpr int THREADS = 256;
constexpr int TILE = 128;
constexpr int WORDS = TILE / 4;
/// Scales that a block converts.
constexpr int SCALES = 16 * THREADS;

/// Codes [groups][rows, depth] of any strides, and where they go: [groups][rows, pitch]. Its tiles are firstBlock and
/// those that follow, along K fastest.
struct CodesJob {
    const u8* from;
    u8* to;
    i64 rowStride, kStride, groupStride;
    i64 rows, depth, groups;
    i64 pitch;       // a multiple of 16, at least depth
    i64 firstBlock;
    int alongRows;   // rows are neighbours, and 16 of them can be read at once from every 16th on
    int unused;
};

/// Scales [rows, blocks] of any strides, and where they go: [blocks, pitch].
struct ScalesJob {
    const u8* from;
    float* to;
    i64 rowStride, blockStride;
    i64 rows, blocks;
    i64 pitch;
    i64 firstBlock;
    int format;
    int unused;
};

struct StageParameters {
    CodesJob codes[2];
    ScalesJob scales[2];
};

/// Word k has row k's bytes of the 4 words: x[i] has 4 rows of one k.
__device__ __forceinline__ void transpose4(const u32 (&x)[4], u32 (&y)[4]) {
    u32 low = __byte_perm(x[0], x[1], 0x5140), high = __byte_perm(x[2], x[3], 0x5140);
    y[0] = __byte_perm(low, high, 0x5410);
    y[1] = __byte_perm(low, high, 0x7632);
    low = __byte_perm(x[0], x[1], 0x7362), high = __byte_perm(x[2], x[3], 0x7362);
    y[2] = __byte_perm(low, high, 0x5410);
    y[3] = __byte_perm(low, high, 0x7632);
}

/// 4 rows from one on, at one k: the first in the lowest byte, 0 where there is none.
__device__ __forceinline__ u32 rows4(const CodesJob& job, const u8* from, i64 row, i64 k) {
    u32 word = 0;
    if (k < job.depth) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (row + j < job.rows) {
                word |= u32(from[(row + j) * job.rowStride + k * job.kStride]) << 8 * j;
            }
        }
    }
    return word;
}

__device__ __forceinline__ void stage_codes(const CodesJob& job, i64 tile, u32 (&words)[TILE * WORDS]) {
    const int t = threadIdx.x;
    const i64 across = (job.depth + TILE - 1) / TILE, down = (job.rows + TILE - 1) / TILE;
    const i64 group = tile / (across * down);
    const i64 row0 = tile / across % down * TILE, k0 = tile % across * TILE;
    const u8* from = job.from + group * job.groupStride;

    const int chunk = t % 8, quad = t / 8; // 16 rows, 4 neighbours along K
    const i64 row = row0 + chunk * 16;
    uint4 read[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        i64 k = k0 + quad * 4 + j;
        if (job.alongRows && row + 16 <= job.rows && k < job.depth) {
            read[j] = *reinterpret_cast<const uint4*>(from + row + k * job.kStride);
        } else {
            read[j] = make_uint4(rows4(job, from, row, k), rows4(job, from, row + 4, k), rows4(job, from, row + 8, k),
                    rows4(job, from, row + 12, k));
        }
    }
    const int at = chunk * 16 * WORDS + (quad ^ chunk * 4);
#pragma unroll
    for (int r = 0; r < 4; r++) {
        u32 x[4], y[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            x[j] = r == 0 ? read[j].x : r == 1 ? read[j].y : r == 2 ? read[j].z : read[j].w;
        }
        transpose4(x, y);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            words[at + (r * 4 + j) * WORDS] = y[j];
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TILE * TILE / 16 / THREADS; i++) {
        int line = t / 8 + i * (THREADS / 8), piece = t % 8;
        i64 target = row0 + line, k = k0 + piece * 16;
        if (target < job.rows && k < job.pitch) {
            *reinterpret_cast<uint4*>(job.to + (group * job.rows + target) * job.pitch + k)
                    = *reinterpret_cast<const uint4*>(&words[line * WORDS + (piece ^ line / 16) * 4]);
        }
    }
}

__device__ __forceinline__ void stage_scales(const ScalesJob& job, i64 block) {
    const i64 count = job.rows * job.blocks;
    for (i64 i = block * SCALES + threadIdx.x; i < count && i < (block + 1) * SCALES; i += THREADS) {
        i64 row = i % job.rows, k = i / job.rows;
        job.to[k * job.pitch + row] = load_scale(job.from, row * job.rowStride + k * job.blockStride, job.format);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) octet_stage(const __grid_constant__ StageParameters p) {
    __shared__ __align__(16) u32 words[TILE * WORDS];
    const i64 block = blockIdx.x;
    // A job that there is not begins where the next one does.
    if (block < p.codes[1].firstBlock) {
        stage_codes(p.codes[0], block, words);
    } else if (block < p.scales[0].firstBlock) {
        stage_codes(p.codes[1], block - p.codes[1].firstBlock, words);
    } else if (block < p.scales[1].firstBlock) {
        stage_scales(p.scales[0], block - p.scales[0].firstBlock);
    } else {
        stage_scales(p.scales[1], block - p.scales[1].firstBlock);
    }
}
