package dev.octet.fp8.cuda;

import java.util.List;

/**
 * One way to compile {@code fp8_gemm_hopper.cu}, whose first lines explain the words: left and right are the operands
 * of {@code wgmma}, rows and columns those of their tiles, tokens and channels the rows of A and B.
 *
 * @param rows of the left tile: 128 or 256
 * @param cols rows of the right tile: a multiple of 16, up to 192
 * @param swapped whether left is B, for few tokens
 * @param share what a cluster of two blocks shares
 * @param split whether the blocks of a cluster share a tile and each has a part of K
 * @param overlap whether a warpgroup promotes one block of K while the next one is multiplied
 * @param leftVector whether left has a scale for each row, else for each 128 rows
 * @param rightVector the same for right
 * @param leftE5m2 whether left is E5M2, else E4M3
 * @param rightE5m2 the same for right
 * @param out what D is
 * @param epilogue whether there is an addend, a bias or an activation
 */
record HopperVariant(int rows, int cols, boolean swapped, Share share, boolean split, boolean overlap,
        boolean leftVector, boolean rightVector, boolean leftE5m2, boolean rightE5m2, Out out, boolean epilogue) {

    /** What D is; FP8 of either format, with fresh scales for each 128 channels of a token. */
    enum Out {
        BF16(2), F32(4), FP8(1);

        private final int bytes;

        Out(int bytes) {
            this.bytes = bytes;
        }
    }

    /** Which tile the two blocks of a cluster share; each loads half of it for both. */
    enum Share { NONE, LEFT, RIGHT }

    /** Threads of a block: one warpgroup loads, two multiply. */
    static final int THREADS = 384;
    /** Elements of K in a stage, and in a block of scales. */
    static final int DEPTH = 128;
    /** Shared memory of a block on sm_90. */
    static final int SHARED_LIMIT = 232448;
    /** More stages than these hide no more latency. */
    private static final int MOST_STAGES = 12;

    HopperVariant {
        if (rows != 128 && rows != 256 || cols < 16 || cols > 192 || cols % 16 != 0) {
            throw new IllegalArgumentException("a tile of " + rows + " x " + cols + ", takes 128 or 256 x 16 to 192");
        }
        if (split && (share != Share.NONE || !swapped) || overlap && rows != 128 || swapped && rows != 128) {
            throw new IllegalArgumentException("no such variant: " + rows + " x " + cols + " " + share);
        }
        if (out == Out.FP8 && !swapped && cols != 128) {
            throw new IllegalArgumentException("a tile of " + cols + " channels, FP8 takes 128: they share a scale");
        }
    }

    int cluster() {
        return share == Share.NONE ? 1 : 2;
    }

    int tokenTile() {
        return swapped ? cols : rows;
    }

    int channelTile() {
        return swapped ? rows : cols;
    }

    /** {@return tokens of the tiles of a cluster together; its blocks lie along what they do not share} */
    int tokenSpan() {
        return tokenTile() * (share != Share.NONE && (share == Share.LEFT) == swapped ? 2 : 1);
    }

    int channelSpan() {
        return channelTile() * (share != Share.NONE && (share == Share.LEFT) != swapped ? 2 : 1);
    }

    /** {@return columns of D in one line of shared memory that TMA stores: 128, 64 or 32 bytes of BF16} */
    int line() {
        return cols % 64 == 0 ? 64 : cols % 32 == 0 ? 32 : 16;
    }

    int outBytes() {
        return out.bytes;
    }

    private int stagedBytes() {
        int bytes = swapped ? cols * (rows + 4) * 4 : out == Out.BF16 ? rows * cols * 2 : 0;
        return roundUp(bytes);
    }

    private int stageBytes() {
        return (rows + cols) * DEPTH + (leftVector ? rows * 4 : 0) + (rightVector ? roundUp(cols * 4) : 0) + 16;
    }

    /** {@return as many stages as shared memory takes} */
    int stages() {
        return Math.min(MOST_STAGES, (SHARED_LIMIT - stagedBytes()) / stageBytes());
    }

    int sharedBytes() {
        return stages() * stageBytes() + stagedBytes();
    }

    private static int roundUp(int bytes) {
        return (bytes + 127) / 128 * 128;
    }

    /** {@return the macros of the compilation, without the kernel's name} */
    List<String> options() {
        return List.of(define("ROWS", rows), define("COLS", cols), define("STAGES", stages()),
                define("SWAPPED", swapped), define("CLUSTER", cluster()), define("SHARE_LEFT", share == Share.LEFT),
                define("SPLIT", split), define("OVERLAP", overlap), define("LEFT_VECTOR", leftVector),
                define("RIGHT_VECTOR", rightVector), define("LEFT_E5M2", leftE5m2), define("RIGHT_E5M2", rightE5m2),
                define("OUT_F32", out == Out.F32), define("OUT_FP8", out == Out.FP8), define("EPILOGUE", epilogue));
    }

    private static String define(String macro, boolean value) {
        return define(macro, value ? 1 : 0);
    }

    private static String define(String macro, int value) {
        return "-DOCTET_" + macro + "=" + value;
    }

    /** {@return a short name, as in tables} */
    @Override
    public String toString() {
        return (swapped ? "swapped " : "") + rows + "x" + cols
                + switch (share) {
                    case NONE -> "";
                    case LEFT -> swapped ? ", B shared" : ", A shared";
                    case RIGHT -> swapped ? ", A shared" : ", B shared";
                } + (split ? ", K split" : "") + (overlap ? ", overlapped" : "") + (out == Out.FP8 ? ", FP8" : "")
                + (epilogue ? ", epilogue" : "") + ", " + stages() + " stages";
    }
}
