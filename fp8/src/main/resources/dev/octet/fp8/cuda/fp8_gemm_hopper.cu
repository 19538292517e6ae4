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
// 128 rows; OCTET_LEFT_E5M2, OCTET_RIGHT_E5M2; OCTET_OUT_F32, else BF16. With OCTET_HOST, an emulation gives the
// instructions. "PTX" is the PTX ISA, version 9.

#define OCTET_DEVICE __device__ __forceinline__

#ifdef OCTET_HOST
OCTET_DEVICE void wgmma(float (&d)[OCTET_COLS / 2], unsigned long long left, unsigned long long right, int accumulate) {
    octet_hopper::wgmma<OCTET_COLS, OCTET_LEFT_E5M2 != 0, OCTET_RIGHT_E5M2 != 0>(d, left, right, accumulate);
}
#else
#include "fp8_hopper.cuh"
#endif

// Groups that a launch can pass by value.
static constexpr int TABLE = 256;

/** What a launch passes beside the tensor maps. The host fills it field by field; 8-byte fields first. */
struct GemmArguments {
    const int* begins;             // first token of each group, or null
    const int* ends;               // one past its last token
    const float* blockScales;      // of the operand with a scale for each 128 rows: [groups][rows / 128][K / 128]
    const float* otherBlockScales; // of right, where both have such scales
    void* d;
    const void* addend;            // or null
    const void* bias;              // or null
    long long ldd;                 // elements from a token to the next
    long long addendStride;
    long long scaleRow;            // of blockScales, in floats: to the next 128 rows, to the next group
    long long scaleGroup;
    long long otherScaleRow;
    int tokens;                    // rows of A and D
    int channels;                  // rows of B of a group, columns of D
    int depth;                     // K
    int groups;
    int band;                      // tiles of tokens walked before the next tile of channels
    int scaleStep;                 // 1: scales of each 128 of K; 0: the same for all of K
    int otherScaleStep;
    int vectorStep;                // the same for scales of each row
    int addendBf16;
    int biasBf16;
    int silu;
    int tmaStore;                  // D may be written by TMA
    int alignedOutput;             // D takes stores of 16 bytes (FP32) or 8 bytes (BF16) at multiples of 4 channels
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

// BF16 results of 64 columns are a line of 128 bytes; tiles that 64 does not divide have lines of 64 or 32 bytes.
static constexpr int LINE = COLS % 64 == 0 ? 64 : COLS % 32 == 0 ? 32 : 16;
static constexpr int PITCH = ROWS + 4;          // of a transposed result, in floats: keeps banks apart
static constexpr bool STAGED = OCTET_SWAPPED || OCTET_SPLIT;
static constexpr int OUT_BYTES = STAGED ? COLS * PITCH * 4 : OCTET_OUT_F32 ? 0 : ROWS * COLS * 2;

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
static_assert(SHARED_BYTES <= 232448, "shared memory of a block on sm_90");
static_assert(OUT_AT % 1024 == 0, "alignment of the swizzle");

/** One tile, or the end. */
struct Tile {
    int token;       // first
    int tokenEnd;    // of its group
    int channel;
    int group;
};

/** Walks the tiles of a block; all its threads do, with the same results. */
struct Schedule {
    const GemmArguments& arguments;
    long long next;
    long long step;
    long long before;    // tiles of the groups before
    int group;

    static OCTET_DEVICE Schedule start(const GemmArguments& arguments) {
        int together = OCTET_SPLIT ? (int) cluster_size() : OCTET_CLUSTER;
        return {arguments, (int) block_index() / together, (int) block_count() / together, 0, 0};
    }

    OCTET_DEVICE bool take(Tile& tile) {
        int channelTiles = (arguments.channels + CHANNEL_TILE * (CLUSTER_CHANNELS ? 2 : 1) - 1)
                / (CHANNEL_TILE * (CLUSTER_CHANNELS ? 2 : 1));
        for (; group < arguments.groups; group++) {
            int begin = arguments.begins ? arguments.begins[group] : arguments.tabled ? arguments.table[group] : 0;
            int end = arguments.begins ? arguments.ends[group]
                    : arguments.tabled ? arguments.table[TABLE + group] : arguments.tokens;
            int tokenTiles = (end - begin + TOKEN_TILE * (CLUSTER_TOKENS ? 2 : 1) - 1)
                    / (TOKEN_TILE * (CLUSTER_TOKENS ? 2 : 1));
            long long count = (long long) tokenTiles * channelTiles;
            if (next < before + count) {
                // Bands of token tiles: neighbours in time share channels, and a band's tokens stay in the cache.
                int index = (int) (next - before);
                int perBand = arguments.band * channelTiles;
                int first = index / perBand * arguments.band;
                int size = tokenTiles - first < arguments.band ? tokenTiles - first : arguments.band;
                int inside = index % perBand;
                int rank = OCTET_CLUSTER == 2 ? (int) cluster_rank() : 0;
                int t = first + inside % size;
                int c = inside / size;
                tile.token = begin + (CLUSTER_TOKENS ? 2 * t + rank : t) * TOKEN_TILE;
                tile.tokenEnd = end;
                tile.channel = (CLUSTER_CHANNELS ? 2 * c + rank : c) * CHANNEL_TILE;
                tile.group = group;
                next += step;
                return true;
            }
            before += count;
        }
        return false;
    }
};

/** Where the ring of stages stands. */
struct Ring {
    int stage;
    unsigned phase;

    OCTET_DEVICE void advance() {
        if (++stage == STAGES) {
            stage = 0;
            phase ^= 1;
        }
    }
};

// This block's blocks of K.
OCTET_DEVICE void range(const GemmArguments& arguments, int& from, int& to) {
    int blocks = (arguments.depth + DEPTH - 1) / DEPTH;
    from = 0;
    to = blocks;
    if (OCTET_SPLIT) {
        int rank = (int) cluster_rank();
        int size = (int) cluster_size();
        from = (int) ((long long) blocks * rank / size);
        to = (int) ((long long) blocks * (rank + 1) / size);
    }
}

/**
 * One tile of the left operand is the box of a load, or, where the cluster shares it, one half of it is. Groups are the
 * third dimension of B; A has one.
 */
OCTET_DEVICE void load_tiles(const GemmArguments& arguments, unsigned shared, const TensorMap* left,
        const TensorMap* right, const TensorMap* leftScales, const TensorMap* rightScales) {
    unsigned full = shared + BARRIERS_AT;
    unsigned empty = full + STAGES * 8;
    unsigned long long leftPolicy = cache_policy(arguments.keepLeft != 0);
    unsigned long long rightPolicy = cache_policy(arguments.keepRight != 0);
    unsigned rank = OCTET_CLUSTER == 2 ? cluster_rank() : 0;
    int from, to;
    range(arguments, from, to);
    Ring ring = {0, 0};
    Schedule schedule = Schedule::start(arguments);
    Tile tile;
    while (schedule.take(tile)) {
        int leftRow = OCTET_SWAPPED ? tile.channel : tile.token;
        int rightRow = OCTET_SWAPPED ? tile.token : tile.channel;
        int leftGroup = OCTET_SWAPPED ? tile.group : 0;
        int rightGroup = OCTET_SWAPPED ? 0 : tile.group;
        for (int block = from; block < to; block++) {
            // Parity 1 of a fresh barrier has passed: the first round waits for nothing.
            if (OCTET_CLUSTER == 2) {
                mbarrier_wait_cluster(empty + ring.stage * 8, ring.phase ^ 1);
            } else {
                mbarrier_wait(empty + ring.stage * 8, ring.phase ^ 1);
            }
            unsigned barrier = full + ring.stage * 8;
            unsigned leftAt = shared + LEFT_AT + ring.stage * LEFT_BYTES;
            unsigned rightAt = shared + RIGHT_AT + ring.stage * RIGHT_BYTES;
            mbarrier_arrive_expect(barrier, STAGE_BYTES);
            if (OCTET_CLUSTER == 2 && OCTET_SHARE_LEFT) {
                tma_load_multicast(leftAt + rank * (LEFT_BYTES / 2), left, barrier, block * DEPTH,
                        leftRow + (int) rank * (ROWS / 2), leftGroup, 3, leftPolicy);
            } else {
                tma_load(leftAt, left, barrier, block * DEPTH, leftRow, leftGroup, leftPolicy);
            }
            if (OCTET_CLUSTER == 2 && !OCTET_SHARE_LEFT) {
                tma_load_multicast(rightAt + rank * (RIGHT_BYTES / 2), right, barrier, block * DEPTH,
                        rightRow + (int) rank * (COLS / 2), rightGroup, 3, rightPolicy);
            } else {
                tma_load(rightAt, right, barrier, block * DEPTH, rightRow, rightGroup, rightPolicy);
            }
            if (OCTET_LEFT_VECTOR) {
                tma_load(shared + LEFT_SCALES_AT + ring.stage * LEFT_SCALE_BYTES, leftScales, barrier, leftRow,
                        block * arguments.vectorStep);
            }
            if (OCTET_RIGHT_VECTOR) {
                tma_load(shared + RIGHT_SCALES_AT + ring.stage * RIGHT_SCALE_SLOT, rightScales, barrier, rightRow,
                        block * arguments.vectorStep);
            }
            ring.advance();
        }
    }
}

/**
 * The scales of one row of 128x128 blocks: each lane holds that of one of 32 blocks of K, and the next 32 are on their
 * way. So a load's latency is seen by nobody, and a block of K costs one shuffle.
 */
struct BlockScales {
    const float* base;
    int step;
    int count;
    float now;
    float ahead;

    OCTET_DEVICE void start(const float* scales, int stepAlongK, int blocks) {
        base = scales;
        step = stepAlongK;
        count = blocks;
        fetch(0);
    }

    OCTET_DEVICE void fetch(int block) {
        int at = block + (int) (thread_index() & 31);
        ahead = at < count ? load_constant(base + (long long) at * step) : 0.0f;
    }

    OCTET_DEVICE float at(int block) {
        if ((block & 31) == 0) {
            now = ahead;
            fetch(block + 32);
        }
        return shuffle(now, block & 31);
    }
};

// K-major, 128-byte swizzle: bits 0-13 the address / 16, 16-29 the leading offset (unused, 1), 32-45 the bytes between
// groups of 8 rows / 16, 62-63 the swizzle, 1 for 128 bytes (PTX 9.7.15.5.1.2.2). The next 32 of K are 2 further on.
OCTET_DEVICE unsigned long long descriptor(unsigned address) {
    return ((unsigned long long) ((1024u >> 4) | 1u << 30) << 32) | (1u << 16) | ((address & 0x3ffffu) >> 4);
}

OCTET_DEVICE void issue(float (&partial)[COLS / 2], unsigned long long left, unsigned long long right) {
#pragma unroll
    for (int i = 0; i < COLS / 2; i++) {
        pin(partial[i]);
    }
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < DEPTH / 32; k++) {
        wgmma(partial, left + 2 * k, right + 2 * k, k != 0);
    }
    wgmma_commit();
}

// Accumulator i of a thread is at row 16 warp + lane / 4 + 8 ((i / 2) % 2), column 8 (i / 4) + 2 (lane % 4) + i % 2
// (PTX 9.7.15.5.1.1, figure of D).
struct Place {
    int group;       // of the two warpgroups that multiply
    int warp;        // of the warpgroup
    int lane;

    static OCTET_DEVICE Place here() {
        int t = (int) thread_index() - 128;
        return {uniform(t >> 7), uniform((t >> 5) & 3), t & 31};
    }

    OCTET_DEVICE int row(int slab) const {
        return group * (SLABS * 64) + slab * 64 + warp * 16 + (lane >> 2);
    }

    OCTET_DEVICE int column(int i) const {
        return (i >> 2) * 8 + (lane & 3) * 2;
    }
};

/** What the promotion of a block of K needs, read before its stage is given back. */
struct Scales {
    float left[2 * SLABS];     // rows lane / 4 and lane / 4 + 8 of each slab; the same four times where left has blocks
    float right[OCTET_RIGHT_VECTOR ? COLS / 4 : 2];
};

struct Multiplier {
    const GemmArguments& arguments;
    unsigned shared;
    Place place;
    Ring ring;
    BlockScales leftBlocks;
    BlockScales rightBlocks[2];
    int from;
    int to;

    // Asks for the first scales of a tile, so that they are there when its sums are.
    OCTET_DEVICE void prepare(const Tile& tile) {
        int leftRow = OCTET_SWAPPED ? tile.channel : tile.token;
        int rightRow = OCTET_SWAPPED ? tile.token : tile.channel;
        const float* scales = arguments.blockScales + tile.group * arguments.scaleGroup
                + (long long) from * arguments.scaleStep;
        if (!OCTET_LEFT_VECTOR) {
            int row = (leftRow + place.group * (SLABS * 64)) / 128;
            int last = ((OCTET_SWAPPED ? arguments.channels : arguments.tokens) - 1) / 128;
            leftBlocks.start(scales + (row < last ? row : last) * arguments.scaleRow, arguments.scaleStep, to - from);
        }
        if (!OCTET_RIGHT_VECTOR) {
            long long pitch = arguments.scaleRow;
            int step = arguments.scaleStep;
            if (!OCTET_LEFT_VECTOR) {
                scales = arguments.otherBlockScales + (long long) from * arguments.otherScaleStep;
                pitch = arguments.otherScaleRow;
                step = arguments.otherScaleStep;
            }
            int row = rightRow / 128;
            int last = ((OCTET_SWAPPED ? arguments.tokens : arguments.channels) - 1) / 128;
            row = row < last ? row : last;
            rightBlocks[0].start(scales + row * pitch, step, to - from);
            if (128 % COLS != 0) {
                rightBlocks[1].start(scales + (row < last ? row + 1 : row) * pitch, step, to - from);
            }
        }
    }

    OCTET_DEVICE Scales scales(int block) {
        Scales s;
        if (OCTET_LEFT_VECTOR) {
            unsigned at = shared + LEFT_SCALES_AT + ring.stage * LEFT_SCALE_BYTES;
#pragma unroll
            for (int slab = 0; slab < SLABS; slab++) {
                s.left[2 * slab] = load_shared(at + place.row(slab) * 4);
                s.left[2 * slab + 1] = load_shared(at + place.row(slab) * 4 + 32);
            }
        } else {
            float v = leftBlocks.at(block);
#pragma unroll
            for (int i = 0; i < 2 * SLABS; i++) {
                s.left[i] = v;
            }
        }
        if (OCTET_RIGHT_VECTOR) {
            unsigned at = shared + RIGHT_SCALES_AT + ring.stage * RIGHT_SCALE_SLOT + (place.lane & 3) * 8;
#pragma unroll
            for (int i = 0; i < COLS / 8; i++) {
                load_shared(at + i * 32, s.right[2 * i], s.right[2 * i + 1]);
            }
        } else {
            s.right[0] = rightBlocks[0].at(block);
            s.right[1] = 128 % COLS != 0 ? rightBlocks[1].at(block) : s.right[0];
        }
        return s;
    }

    // total += (sA * sB) * partial: one rounding for the scales, one for the multiply-add. Columns from FORMER on
    // belong to the second row of blocks of right.
    template <int FORMER>
    OCTET_DEVICE void promote(float (&total)[COLS / 2], float (&partial)[COLS / 2], const Scales& s, int slab) {
#pragma unroll
        for (int i = 0; i < COLS / 2; i++) {
            pin(partial[i]);
        }
        if (OCTET_RIGHT_VECTOR) {
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                float scale = s.left[2 * slab + ((i >> 1) & 1)] * s.right[(i >> 2) * 2 + (i & 1)];
                total[i] = fmaf(scale, partial[i], total[i]);
            }
        } else {
            float former0 = s.left[2 * slab] * s.right[0];
            float former1 = s.left[2 * slab + 1] * s.right[0];
            float latter0 = s.left[2 * slab] * s.right[1];
            float latter1 = s.left[2 * slab + 1] * s.right[1];
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                bool first = (i >> 2) * 8 < FORMER;
                float scale = (i >> 1) & 1 ? (first ? former1 : latter1) : (first ? former0 : latter0);
                total[i] = fmaf(scale, partial[i], total[i]);
            }
        }
    }

    OCTET_DEVICE unsigned long long left(int slab) const {
        return descriptor(shared + LEFT_AT + ring.stage * LEFT_BYTES + (place.group * SLABS + slab) * (64 * DEPTH));
    }

    OCTET_DEVICE unsigned long long right() const {
        return descriptor(shared + RIGHT_AT + ring.stage * RIGHT_BYTES);
    }

    OCTET_DEVICE void wait_full() {
        mbarrier_wait(shared + BARRIERS_AT + ring.stage * 8, ring.phase);
    }

    // One arrival of each warp, at every block whose loads fill this stage.
    OCTET_DEVICE void give_back(int stage) {
        unsigned barrier = shared + BARRIERS_AT + STAGES * 8 + stage * 8;
        if (OCTET_CLUSTER == 2) {
            if (place.lane < 2) {
                mbarrier_arrive_peer(barrier, place.lane);
            }
        } else if (place.lane == 0) {
            mbarrier_arrive(barrier);
        }
    }

    template <int FORMER>
    OCTET_DEVICE void multiply(float (&total)[SLABS][COLS / 2]) {
#if OCTET_OVERLAP
        static_assert(SLABS == 1, "registers");
        float partial[2][COLS / 2];
        int blocks = to - from;
        if (blocks == 0) {
            return;
        }
        wait_full();
        Scales s0 = scales(0);
        int stage0 = ring.stage;
        issue(partial[0], left(0), right());
        ring.advance();
        int block = 1;
        for (; block + 1 < blocks; block += 2) {
            wait_full();
            Scales s1 = scales(block);
            int stage1 = ring.stage;
            issue(partial[1], left(0), right());
            ring.advance();
            wgmma_wait<1>();
            give_back(stage0);
            promote<FORMER>(total[0], partial[0], s0, 0);
            wait_full();
            s0 = scales(block + 1);
            stage0 = ring.stage;
            issue(partial[0], left(0), right());
            ring.advance();
            wgmma_wait<1>();
            give_back(stage1);
            promote<FORMER>(total[0], partial[1], s1, 0);
        }
        if (block < blocks) {
            wait_full();
            Scales s1 = scales(block);
            int stage1 = ring.stage;
            issue(partial[1], left(0), right());
            ring.advance();
            wgmma_wait<1>();
            give_back(stage0);
            promote<FORMER>(total[0], partial[0], s0, 0);
            wgmma_wait<0>();
            give_back(stage1);
            promote<FORMER>(total[0], partial[1], s1, 0);
        } else {
            wgmma_wait<0>();
            give_back(stage0);
            promote<FORMER>(total[0], partial[0], s0, 0);
        }
#else
        float partial[COLS / 2];
        for (int block = 0; block < to - from; block++) {
            wait_full();
            Scales s = scales(block);
#pragma unroll
            for (int slab = 0; slab < SLABS; slab++) {
                issue(partial, left(slab), right());
                wgmma_wait<0>();
                if (slab == SLABS - 1) {
                    give_back(ring.stage);
                }
                promote<FORMER>(total[slab], partial, s, slab);
            }
            ring.advance();
        }
#endif
    }

    // Where a tile begins inside a block of 128 columns decides which columns have the second scale. As constants they
    // cost nothing, so there is a loop for each place where a tile can begin.
    template <int BEGIN>
    OCTET_DEVICE void dispatch(int begin, float (&total)[SLABS][COLS / 2]) {
        constexpr int GRID = 128 % COLS == 0 ? 128 : COLS % 64 == 0 ? 64 : COLS % 32 == 0 ? 32 : 16;
        if constexpr (BEGIN + GRID < 128) {
            if (begin != BEGIN) {
                dispatch<BEGIN + GRID>(begin, total);
                return;
            }
        }
        multiply<128 - BEGIN>(total);
    }

    OCTET_DEVICE void sums(const Tile& tile, float (&total)[SLABS][COLS / 2]) {
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                total[slab][i] = 0.0f;
            }
        }
        if (OCTET_RIGHT_VECTOR || 128 % COLS == 0) {
            multiply<128>(total);
        } else {
            dispatch<0>(tile.channel & 127, total);
        }
    }
};

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
        if (!STAGED && !OCTET_OUT_F32 && (thread_index() & 127) == 0) {
            tma_store_wait();
        }
        warp_barrier();
    }
    // No block may end while another one of its cluster can still reach its memory or barriers.
    if (OCTET_CLUSTER == 2 || OCTET_SPLIT) {
        cluster_barrier();
    }
}
