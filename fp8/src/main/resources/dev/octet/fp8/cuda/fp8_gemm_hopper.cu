// D = epilogue(A * B^T) of FP8 matrices with fine-grained scales on Hopper (sm_90a): wgmma fed by TMA.
//
// wgmma multiplies a left tile of 64-row slabs with a right tile of up to 192 rows, both contiguous along K. Left is A
// and right is B, or, for few rows of A (OCTET_SWAPPED), left is B and right is A, and the result leaves transposed.
// The words "row" and "column" mean rows of the left and of the right tile; "token" and "channel" mean rows of A and
// of B.
//
// A block has three warpgroups. The first loads: one thread keeps a ring of OCTET_STAGES stages filled, each 128 of K
// deep: left tile, right tile, and the scales of the operand that has one per row. The other two multiply: each has
// half of the left rows. Per stage a warpgroup issues four wgmma of K = 32 into registers that begin at zero, waits,
// frees the stage, and adds the sums times their scales to its FP32 totals: the tensor core keeps only about 14 bits
// (DeepSeek-V3, section 3.3.2), so nothing stays in it for longer than 128 of K. While one warpgroup promotes, the
// wgmma of the other one run. With OCTET_OVERLAP a warpgroup also issues the next stage's wgmma before it promotes;
// that takes twice the registers.
//
// Blocks are persistent: block i takes tiles i, i + blocks, ... of all groups. OCTET_CLUSTER = 2 blocks share the
// right tile (OCTET_SHARE_LEFT: the left one); each loads half of it for both. With OCTET_SPLIT the blocks of a
// cluster share one tile, each with a part of K, and add up in rank order through distributed shared memory: no
// atomics, and the same bits on every run.
//
// Parameters of the compilation, all macros, all to be given: OCTET_KERNEL the name; OCTET_ROWS 128 or 256; OCTET_COLS
// 16 to 192; OCTET_STAGES; OCTET_SWAPPED, OCTET_CLUSTER, OCTET_SHARE_LEFT, OCTET_SPLIT, OCTET_OVERLAP;
// OCTET_LEFT_VECTOR and OCTET_RIGHT_VECTOR, 1 where the operand has a scale for each row, 0 where it has one for each
// 128 rows; OCTET_LEFT_E5M2, OCTET_RIGHT_E5M2; OCTET_OUT_F32, OCTET_OUT_FP8 (with fresh scales for each 128 channels
// of a token), else BF16; OCTET_EPILOGUE, 0 where there is no addend, bias or SiLU: their code is most of the time that
// a compilation takes. With OCTET_HOST, an emulation gives the instructions. "PTX" is the PTX ISA, version 9.
//
// fp8_gemm_hopper_schedule.cuh walks the tiles, _load.cuh loads them, _multiply.cuh makes the sums, _store.cuh has the
// epilogue.

#define OCTET_DEVICE __device__ __forceinline__

#ifdef OCTET_HOST
OCTET_DEVICE void wgmma(float (&d)[OCTET_COLS / 2], unsigned long long left, unsigned long long right, int accumulate) {
    octet_hopper::wgmma<OCTET_COLS, OCTET_LEFT_E5M2 != 0, OCTET_RIGHT_E5M2 != 0>(d, left, right, accumulate);
}
#else
#include "fp8_hopper.cuh"
#endif
#if OCTET_OUT_FP8
#include "fp8_numbers.cuh"
#endif

// Groups that a launch can pass by value.
static constexpr int TABLE = 256;

/** What a launch passes beside the tensor maps. The host fills it field by field; 8-byte fields first. */
struct GemmArguments {
    const int* begins;             // first token of each group, or null
    const int* ends;               // one past its last token
    const void* blockScales;       // of the operand with a scale for each 128 rows: [groups][rows / 128][K / 128]
    const void* otherBlockScales;  // of right, where both have such scales
    void* d;
    void* dScales;                 // where D is FP8
    const void* addend;            // or null
    const void* bias;              // or null
    long long dRow;                // elements from a token to the next, from a channel to the next
    long long dColumn;
    long long dScaleRow;           // from a token to the next, from 128 channels to the next
    long long dScaleColumn;
    long long addendRow;
    long long addendColumn;
    long long biasStep;
    long long scaleRow;            // of blockScales, in scales: to the next 128 rows, to the next group
    long long scaleGroup;
    long long otherScaleRow;
    int scaleStep;                 // to the next 128 of K; 0 where one scale is for all of K
    int otherScaleStep;
    int vectorStep;                // 1: scales of rows for each 128 of K; 0: the same for all of K
    int scaleE8m0;                 // block scales are E8M0, else FP32
    int otherScaleE8m0;
    int tokens;                    // rows of A and D
    int channels;                  // rows of B of a group, columns of D
    int depth;                     // K
    int groups;
    int band;                      // tiles of tokens walked before the next tile of channels
    int addendBf16;
    int biasBf16;
    int silu;
    int dE5m2;                     // where D is FP8: E5M2, else E4M3
    int dScaleFormat;              // of the scales of D, as in fp8_numbers.cuh
    int tmaStore;                  // D may be written by TMA
    int alignedOutput;             // D takes stores of 4 channels at multiples of 4 channels, FP8 of 8 at 8
    int keepLeft;                  // which operand stays in the second-level cache
    int keepRight;
    int tabled;                    // groups are in the table; without it and begins, there is one group, all tokens
    int table[2 * TABLE];          // first token of each group, then one past its last
};

static constexpr int ROWS = OCTET_ROWS;
static constexpr int COLS = OCTET_COLS;
static constexpr int SLABS = ROWS / 128;        // of 64 rows, for each of the two warpgroups
static constexpr int STAGES = OCTET_STAGES;
static constexpr int DEPTH = 128;               // of K in a stage: a row of a tile is one line of the 128-byte swizzle
static constexpr int LEFT_BYTES = ROWS * DEPTH;
static constexpr int RIGHT_BYTES = COLS * DEPTH;
static constexpr int LEFT_SCALE_BYTES = OCTET_LEFT_VECTOR ? ROWS * 4 : 0;
static constexpr int RIGHT_SCALE_BYTES = OCTET_RIGHT_VECTOR ? COLS * 4 : 0;
static constexpr int STAGE_BYTES = LEFT_BYTES + RIGHT_BYTES + LEFT_SCALE_BYTES + RIGHT_SCALE_BYTES;
static constexpr int RIGHT_SCALE_SLOT = (RIGHT_SCALE_BYTES + 127) / 128 * 128;

#if !OCTET_OUT_FP8
// BF16 results of 64 columns are a line of 128 bytes; tiles that 64 does not divide have lines of 64 or 32 bytes.
static constexpr int LINE = COLS % 64 == 0 ? 64 : COLS % 32 == 0 ? 32 : 16;
#endif
static constexpr int PITCH = ROWS + 4;          // of a transposed result, in floats: keeps banks apart
static constexpr bool STAGED = OCTET_SWAPPED || OCTET_SPLIT;
static constexpr int OUT_BYTES = STAGED ? COLS * PITCH * 4 : OCTET_OUT_F32 || OCTET_OUT_FP8 ? 0 : ROWS * COLS * 2;

// From the start of shared memory, all tiles at multiples of 1024 (PTX 9.7.15.5.1.2: the swizzle's atoms).
static constexpr int LEFT_AT = 0;
static constexpr int RIGHT_AT = LEFT_AT + STAGES * LEFT_BYTES;
static constexpr int OUT_AT = RIGHT_AT + STAGES * RIGHT_BYTES;
static constexpr int LEFT_SCALES_AT = OUT_AT + (OUT_BYTES + 127) / 128 * 128;
static constexpr int RIGHT_SCALES_AT = LEFT_SCALES_AT + STAGES * LEFT_SCALE_BYTES;
static constexpr int BARRIERS_AT = RIGHT_SCALES_AT + STAGES * RIGHT_SCALE_SLOT;
static constexpr int SHARED_BYTES = BARRIERS_AT + STAGES * 16;

// Of 168 for each of 384 threads (setmaxnreg): the loading warpgroup lends what it can spare without spilling.
static constexpr int LOAD_REGISTERS = STAGED ? 56 : 40;
static constexpr int MULTIPLY_REGISTERS = STAGED ? 224 : 232;

static constexpr int TOKEN_TILE = OCTET_SWAPPED ? COLS : ROWS;
static constexpr int CHANNEL_TILE = OCTET_SWAPPED ? ROWS : COLS;
// Blocks of a cluster lie next to each other along the rows that they do not share.
static constexpr bool CLUSTER_TOKENS = OCTET_CLUSTER == 2 && (OCTET_SHARE_LEFT != 0) == (OCTET_SWAPPED != 0);
static constexpr bool CLUSTER_CHANNELS = OCTET_CLUSTER == 2 && !CLUSTER_TOKENS;

static_assert(ROWS == 128 || ROWS == 256, "two warpgroups of one or two slabs");
static_assert(COLS % 16 == 0 && COLS <= 192, "two columns of 8, and 192 registers for sums and totals");
static_assert(!(OCTET_CLUSTER == 2 && OCTET_SPLIT), "a cluster shares a tile or parts of K");
static_assert(!OCTET_OUT_FP8 || CHANNEL_TILE == 128 && !OCTET_OUT_F32, "a tile has all columns that share a scale");
static_assert(SHARED_BYTES <= 232448, "shared memory of a block on sm_90");
static_assert(OUT_AT % 1024 == 0, "alignment of the swizzle");

#include "fp8_gemm_hopper_schedule.cuh"
#include "fp8_gemm_hopper_load.cuh"
#include "fp8_gemm_hopper_multiply.cuh"
#include "fp8_gemm_hopper_store.cuh"

extern "C" __global__ void __launch_bounds__(384, 1) OCTET_KERNEL(const __grid_constant__ TensorMap left,
        const __grid_constant__ TensorMap right, const __grid_constant__ TensorMap leftScales,
        const __grid_constant__ TensorMap rightScales, const __grid_constant__ TensorMap d,
        const __grid_constant__ GemmArguments arguments) {
    unsigned shared = dynamic_shared();
    if (thread_index() == 0) {
        tma_prefetch_map(&left);
        tma_prefetch_map(&right);
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(shared + BARRIERS_AT + i * 8, 1);
            mbarrier_init(shared + BARRIERS_AT + (STAGES + i) * 8, 8 * OCTET_CLUSTER);
        }
        fence_mbarrier_init();
    }
    warp_barrier();
    if (OCTET_CLUSTER == 2) {
        cluster_barrier();
    } else {
        block_barrier();
    }
    wait_for_previous_kernel();
    if (thread_index() < 128) {
        fewer_registers<LOAD_REGISTERS>();
        if (thread_index() == 0) {
            load_tiles(arguments, shared, &left, &right, &leftScales, &rightScales);
        }
        warp_barrier();
        start_next_kernel();
        if (OCTET_SPLIT) {
            cluster_barrier(); // the one before the parts are added up
        }
    } else {
        more_registers<MULTIPLY_REGISTERS>();
        Multiplier multiplier = {arguments, shared, Place::here(), {0, 0}};
        range(arguments, multiplier.from, multiplier.to);
        Schedule schedule = Schedule::start(arguments);
        Tile tile;
        bool more = schedule.take(tile);
        if (more) {
            multiplier.prepare(tile);
        }
        while (more) {
            float total[SLABS][COLS / 2];
            multiplier.sums(tile, total);
            Tile done = tile;
            more = schedule.take(tile);
            if (more) {
                multiplier.prepare(tile);
            }
            if (STAGED) {
                store_staged(arguments, shared, multiplier.place, done, total);
            } else {
                store_upright(arguments, shared, &d, multiplier.place, done, total);
            }
        }
        if (!STAGED && !OCTET_OUT_F32 && !OCTET_OUT_FP8 && (thread_index() & 127) == 0) {
            tma_store_wait();
        }
        warp_barrier();
    }
    // No block may end while another one of its cluster can still reach its memory or barriers.
    if (OCTET_CLUSTER == 2 || OCTET_SPLIT) {
        cluster_barrier();
    }
}
