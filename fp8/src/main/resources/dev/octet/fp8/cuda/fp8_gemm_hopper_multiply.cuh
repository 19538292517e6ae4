// The side of fp8_gemm_hopper.cu that multiplies: descriptors, scales, wgmma and the promotion of its sums.

// 2^(code - 127), and 0xff is NaN (OCP microscaling formats 1.0).
OCTET_DEVICE float e8m0_to_float(unsigned code) {
    return bits_to_float(code == 0xff ? 0x7fc00000u : code == 0 ? 0x00400000u : code << 23);
}

/**
 * The scales of one row of 128x128 blocks: each lane holds that of one of 32 blocks of K, and the next 32 are on their
 * way. So a load's latency is seen by nobody, and a block of K costs one shuffle.
 */
struct BlockScales {
    const char* base;
    int step;        // in bytes
    int count;
    int e8m0;
    float now;
    float ahead;

    // Of the scales from "scales" on, the one that is "first" further, and then each step.
    OCTET_DEVICE void start(const void* scales, long long first, int stepAlongK, int isE8m0, int blocks) {
        base = (const char*) scales + (isE8m0 ? first : first * 4);
        step = isE8m0 ? stepAlongK : stepAlongK * 4;
        count = blocks;
        e8m0 = isE8m0;
        fetch(0);
    }

    OCTET_DEVICE void fetch(int block) {
        int at = block + (int) (thread_index() & 31);
        ahead = 0.0f;
        if (at < count) {
            const char* from = base + (long long) at * step;
            ahead = e8m0 ? e8m0_to_float(load_constant_byte(from)) : load_constant((const float*) from);
        }
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
        const void* scales = arguments.blockScales;
        long long first = tile.group * arguments.scaleGroup + (long long) from * arguments.scaleStep;
        long long pitch = arguments.scaleRow;
        int step = arguments.scaleStep;
        int e8m0 = arguments.scaleE8m0;
        if (!OCTET_LEFT_VECTOR) {
            int row = (leftRow + place.group * (SLABS * 64)) / 128;
            int last = ((OCTET_SWAPPED ? arguments.channels : arguments.tokens) - 1) / 128;
            leftBlocks.start(scales, first + (row < last ? row : last) * pitch, step, e8m0, to - from);
        }
        if (!OCTET_RIGHT_VECTOR) {
            if (!OCTET_LEFT_VECTOR) {
                scales = arguments.otherBlockScales;
                step = arguments.otherScaleStep;
                first = (long long) from * step;
                pitch = arguments.otherScaleRow;
                e8m0 = arguments.otherScaleE8m0;
            }
            int row = rightRow / 128;
            int last = ((OCTET_SWAPPED ? arguments.tokens : arguments.channels) - 1) / 128;
            row = row < last ? row : last;
            rightBlocks[0].start(scales, first + row * pitch, step, e8m0, to - from);
            if (128 % COLS != 0) {
                rightBlocks[1].start(scales, first + (row < last ? row + 1 : row) * pitch, step, e8m0, to - from);
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
