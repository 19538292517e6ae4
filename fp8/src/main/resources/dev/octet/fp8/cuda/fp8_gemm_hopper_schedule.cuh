// Which tiles of fp8_gemm_hopper.cu a block takes, in which order, and how the ring of stages turns. Both sides walk
// alike: the warpgroup that loads and the two that multiply.

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
