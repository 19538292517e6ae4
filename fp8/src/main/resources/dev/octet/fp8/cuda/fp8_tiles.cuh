// What the quantisers and the dequantiser have in common. Each kernel has a file of its own, so that none is compiled
// that is not asked for, and several at a time.
//
//   amax  = max(max |x|, 1e-4) over the elements that share a scale
//   scale = amax / max, or that rounded up to a power of two      max = 448 for E4M3, 57344 for E5M2
//   code  = cast(x * (1 / scale))                                 FP32 division and product, saturating cast
//
// (DeepSeek-V3, section 3.3.2, rounded as DeepGEMM rounds.) The bits are those of the CPU's kernels.
//
// Schedule. A block of 256 threads takes a tile of 128 x 128 elements and reads it once: thread t has the columns
// 8 * (t % 16) to 8 * (t % 16) + 7 of the rows 8 * (t / 16) to 8 * (t / 16) + 7, in 8 loads of 16 bytes each (BF16)
// that all are on their way before the first is needed. So a row of the tile is read by half a warp, whole lines at a
// time, and the scales of 16 neighbouring rows leave a warp together, side by side in the GEMM's layout, where scales of
// 1x128 lie column by column. 1x128 needs shuffles within the half warp only, 128x128 and 128x1 take shared memory.
//
// "Row" and "column" mean what lies contiguously in the source: for a transposed view the launch swaps them, and with
// them 1x128 and 128x1. Codes that are contiguous the other way are turned in shared memory.
//
// The source may be FP8 with scales itself: then a value is code * scale in FP32, and nothing is rounded in between.
#pragma once

#include "fp8_numbers.cuh"

constexpr int TILE = 128;
constexpr int PASSES = 8;
constexpr int THREADS = 256;

struct Source {
    const u8* data;
    const u8* scales; // of FP8
    i64 rowStride, columnStride;
    i64 scaleRowStride, scaleColumnStride;
    int type;
    int vectors; // 8 elements of a row may be read at once, and no row ends within 8
    int scaleFormat;
    int scaleRowShift, scaleColumnShift; // a block of scales is 2^shift wide; 63: all of it
    int unused;
};

struct QuantizeParameters {
    Source source;
    i64 rows, columns;
    u8* codes;
    i64 codesRowStride, codesColumnStride;
    u8* scales;
    i64 scalesRowStride, scalesColumnStride;
    u32* partials; // maxima of parts of the matrix, for one scale for all of it
    int format, scaleFormat;
    int layout; // LAYOUT_...
    int partialCount;
};

/// How codes are written: one by one, 8 of a row at once, 16 of a column at once.
enum Layout { LAYOUT_ELEMENTS = 0, LAYOUT_ROWS = 1, LAYOUT_COLUMNS = 2 };

struct DequantizeParameters {
    Source source;
    i64 rows, columns;
    u8* target;
    i64 rowStride, columnStride;
    int type;
    int vectors;
};

// ---------------------------------------------------------------------------------------------------- loads

__device__ __forceinline__ float load_scaled(const Source& s, const Codec& c, i64 row, i64 column) {
    i64 scale = (row >> s.scaleRowShift) * s.scaleRowStride + (column >> s.scaleColumnShift) * s.scaleColumnStride;
    u32 code = s.data[row * s.rowStride + column * s.columnStride];
    return __fmul_rn(decode(c, code), load_scale(s.scales, scale, s.scaleFormat));
}

__device__ __forceinline__ uint4 load16(const u8* at, bool inside) {
    return inside ? *reinterpret_cast<const uint4*>(at) : make_uint4(0, 0, 0, 0);
}

/// Where a thread's 8 pieces of 8 elements lie: each rowStep and columnStep after the one before.
struct Pieces {
    i64 rows, columns;
    i64 row, column;
    int rowStep, columnStep;

    __device__ __forceinline__ i64 rowOf(int i) const { return row + i * rowStep; }
    __device__ __forceinline__ i64 columnOf(int i) const { return column + i * columnStep; }
    __device__ __forceinline__ bool inside(int i) const { return rowOf(i) < rows && columnOf(i) < columns; }
};

/// Aligned pieces, of which none is cut off by the last column. All loads stand before all that needs them, and in no
/// branch, or each would wait for the one before.
template <int TYPE>
__device__ __forceinline__ void load_vectors(const Source& s, const Pieces& at, float (&x)[PASSES][8]) {
    constexpr int SIZE = TYPE == F32 ? 4 : 2;
    uint4 raw[PASSES], more[TYPE == F32 ? PASSES : 1];
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        const u8* from = s.data + (at.rowOf(i) * s.rowStride + at.columnOf(i)) * SIZE;
        raw[i] = load16(from, at.inside(i));
        if (TYPE == F32) {
            more[i] = load16(from + 16, at.inside(i));
        }
    }
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        u32 words[4] = {raw[i].x, raw[i].y, raw[i].z, raw[i].w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (TYPE == F32) {
                u32 second[4] = {more[i].x, more[i].y, more[i].z, more[i].w};
                x[i][j] = __uint_as_float(words[j]);
                x[i][j + 4] = __uint_as_float(second[j]);
            } else if (TYPE == BF16) {
                x[i][2 * j] = __uint_as_float(words[j] << 16);
                x[i][2 * j + 1] = __uint_as_float(words[j] & 0xFFFF0000u);
            } else {
                x[i][2 * j] = octet_half_to_float(u16(words[j] & 0xFFFF));
                x[i][2 * j + 1] = octet_half_to_float(u16(words[j] >> 16));
            }
        }
    }
}

/// The same for codes with scales, of which 8 neighbours have one.
__device__ __forceinline__ void load_scaled_vectors(const Source& s, const Pieces& at, float (&x)[PASSES][8]) {
    Codec c = codec(s.type, true);
    uint2 raw[PASSES];
    float scale[PASSES];
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
        bool inside = at.inside(i);
        const u8* from = s.data + at.rowOf(i) * s.rowStride + at.columnOf(i);
        raw[i] = inside ? *reinterpret_cast<const uint2*>(from) : make_uint2(0, 0);
        i64 block = (at.rowOf(i) >> s.scaleRowShift) * s.scaleRowStride
                + (at.columnOf(i) >> s.scaleColumnShift) * s.scaleColumnStride;
        scale[i] = inside ? load_scale(s.scales, block, s.scaleFormat) : 0;
    }
#pragma unroll
    for (int i = 0; i < PASSES; i++) {
#pragma unroll
        for (int j = 0; j < 8; j++) {
            x[i][j] = __fmul_rn(decode(c, (j < 4 ? raw[i].x : raw[i].y) >> 8 * (j % 4) & 0xFF), scale[i]);
        }
    }
}

/// PASSES times 8 elements; what is outside of the matrix is 0.
__device__ __forceinline__ void load_tile(const Source& s, const Pieces& at, float (&x)[PASSES][8]) {
    if (s.vectors && s.type == BF16) {
        load_vectors<BF16>(s, at, x);
    } else if (s.vectors && s.type == F32) {
        load_vectors<F32>(s, at, x);
    } else if (s.vectors && s.type == F16) {
        load_vectors<F16>(s, at, x);
    } else if (s.vectors) {
        load_scaled_vectors(s, at, x);
    } else {
        // One element after the other, in a loop that is not unrolled: else this rare path would be most of every
        // kernel's code, and of the time that compiling takes.
        Codec c = codec(s.type, true);
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                x[i][j] = 0;
            }
        }
#pragma unroll 1
        for (int i = 0; i < PASSES; i++) {
            float piece[8] = {};
#pragma unroll 1
            for (int j = 0; j < 8; j++) {
                i64 row = at.rowOf(i), column = at.columnOf(i) + j;
                float one = row >= at.rows || column >= at.columns ? 0
                        : s.type > F16 ? load_scaled(s, c, row, column)
                        : load_float(s.data, row * s.rowStride + column * s.columnStride, s.type);
                // All move down by one place, and after the last each is in its own. So it is with the pieces below.
#pragma unroll
                for (int k = 0; k < 7; k++) {
                    piece[k] = piece[k + 1];
                }
                piece[7] = one;
            }
#pragma unroll
            for (int k = 0; k < PASSES; k++) {
#pragma unroll
                for (int j = 0; j < 8; j++) {
                    x[k][j] = k < PASSES - 1 ? x[(k + 1) % PASSES][j] : piece[j];
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------- maxima

__device__ __forceinline__ u32 larger(u32 a, u32 b) {
    return a > b ? a : b;
}

__device__ __forceinline__ u32 max8(const float (&x)[8]) {
    u32 m = 0;
#pragma unroll
    for (int j = 0; j < 8; j++) {
        m = larger(m, __float_as_uint(x[j]) & MAGNITUDE);
    }
    return m;
}

/// Over the 16 lanes of a half warp; all of them get it.
__device__ __forceinline__ u32 max_of_half_warp(u32 m) {
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes >>= 1) {
        m = larger(m, __shfl_xor_sync(0xFFFFFFFFu, m, lanes));
    }
    return m;
}

/// Over the block; all of its threads get it. May be called once in a kernel.
__device__ __forceinline__ u32 max_of_block(u32 m) {
    __shared__ u32 ofWarp[THREADS / 32];
    m = __reduce_max_sync(0xFFFFFFFFu, m);
    if (threadIdx.x % 32 == 0) {
        ofWarp[threadIdx.x / 32] = m;
    }
    __syncthreads();
    m = ofWarp[0];
#pragma unroll
    for (int i = 1; i < THREADS / 32; i++) {
        m = larger(m, ofWarp[i]);
    }
    return m;
}

// ---------------------------------------------------------------------------------------------------- codes

__device__ __forceinline__ uint2 encode8(const Codec& c, const float (&x)[8], const float (&factor)[8]) {
    float y[8];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        y[j] = __fmul_rn(x[j], factor[j]);
    }
    return make_uint2(encode_quantized4(c, y[0], y[1], y[2], y[3]), encode_quantized4(c, y[4], y[5], y[6], y[7]));
}

__device__ __forceinline__ uint2 encode8(const Codec& c, const float (&x)[8], float factor) {
    float same[8] = {factor, factor, factor, factor, factor, factor, factor, factor};
    return encode8(c, x, same);
}

__device__ __forceinline__ void store8(const QuantizeParameters& p, i64 row, i64 column, uint2 word) {
    if (row >= p.rows || column >= p.columns) {
        return;
    }
    u8* at = p.codes + row * p.codesRowStride + column * p.codesColumnStride;
    if (p.layout == LAYOUT_ROWS && column + 8 <= p.columns) {
        *reinterpret_cast<uint2*>(at) = word;
        return;
    }
    u64 rest = u64(word.y) << 32 | word.x;
#pragma unroll 1
    for (int j = 0; j < 8 && column + j < p.columns; j++) {
        at[j * p.codesColumnStride] = u8(rest >> 8 * j);
    }
}

/// Writes a tile's codes. Those that are contiguous along columns are turned in shared memory: 16 rows of a column are
/// one store, and 8 lanes write one line.
__device__ __forceinline__ void store_tile(const QuantizeParameters& p, i64 row0, i64 column0, int row, int column,
        const uint2 (&words)[PASSES]) {
    if (p.layout != LAYOUT_COLUMNS) {
#pragma unroll
        for (int i = 0; i < PASSES; i++) {
            store8(p, row0 + row + i, column0 + column, words[i]);
        }
        return;
    }
    // [column][row]; 16 more bytes keep 16-byte loads aligned and lanes apart.
    __shared__ __align__(16) u8 turned[TILE][TILE + 16];
#pragma unroll
    for (int j = 0; j < 8; j++) {
        u32 low = 0, high = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            low |= ((j < 4 ? words[i].x : words[i].y) >> 8 * (j % 4) & 0xFF) << 8 * i;
            high |= ((j < 4 ? words[i + 4].x : words[i + 4].y) >> 8 * (j % 4) & 0xFF) << 8 * i;
        }
        *reinterpret_cast<uint2*>(&turned[column + j][row]) = make_uint2(low, high);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * TILE / 16; i += THREADS) {
        int c = i / (TILE / 16), r = i % (TILE / 16) * 16;
        if (column0 + c >= p.columns || row0 + r >= p.rows) {
            continue;
        }
        u8* at = p.codes + (row0 + r) + (column0 + c) * p.codesColumnStride;
        if (row0 + r + 16 <= p.rows) {
            *reinterpret_cast<uint4*>(at) = *reinterpret_cast<const uint4*>(&turned[c][r]);
        } else {
            for (int k = 0; row0 + r + k < p.rows; k++) {
                at[k] = turned[c][r + k];
            }
        }
    }
}

struct Place {
    i64 row0, column0, tileRow, tileColumn;
    int row, column;
};

/// Tiles are numbered along the rows of the matrix.
__device__ __forceinline__ Place place(i64 columns, i64 tile) {
    i64 across = (columns + TILE - 1) / TILE;
    Place at;
    at.tileRow = across == 0 ? 0 : tile / across;
    at.tileColumn = across == 0 ? 0 : tile % across;
    at.row0 = at.tileRow * TILE;
    at.column0 = at.tileColumn * TILE;
    at.row = int(threadIdx.x) / 16 * PASSES;
    at.column = int(threadIdx.x) % 16 * 8;
    return at;
}

__device__ __forceinline__ Pieces pieces(i64 rows, i64 columns, const Place& at) {
    return {rows, columns, at.row0 + at.row, at.column0 + at.column, 1, 0};
}
