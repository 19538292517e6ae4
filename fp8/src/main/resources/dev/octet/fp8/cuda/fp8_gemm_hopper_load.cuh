// The side of fp8_gemm_hopper.cu that loads: one thread, which keeps the ring filled.

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
