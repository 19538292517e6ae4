package dev.octet.fp8.cuda;

import dev.octet.fp8.cuda.HopperVariant.Out;
import dev.octet.fp8.cuda.HopperVariant.Share;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * Predicts how long a product takes on a Hopper GPU with each variant of {@code fp8_gemm_hopper.cu}, and chooses the
 * fastest. A multiprocessor takes as long for a block of K as its busiest part: tensor cores, shared memory, the
 * promotion's instructions, the way from the second-level cache. The GPU takes as long as its busiest: those, device
 * memory, the second-level cache, or the power that lets the clock fall. The module's page on CUDA derives the figures.
 */
final class HopperModel {
    /** Cycles of m64nNk128 for each of N: 8192 floating-point operations a cycle. */
    private static final double TENSOR_CYCLES = 2;
    /** Bytes a cycle: of shared memory; and from the second-level cache, for each multiprocessor. */
    private static final double SHARED_BYTES = 128;
    private static final double L2_BYTES = 64;
    /** Wait, issue, drain of a warpgroup's wgmma, which its own promotion does not overlap. */
    private static final double DRAIN = 90;
    /** From a tile's first load to its first wgmma. */
    private static final double FILL = 1100;
    /** Of a tile, beside what its bytes take; tensor cores wait meanwhile. */
    private static final double EPILOGUE = 800;
    /** Two barriers of a cluster, and reading the others' parts. */
    private static final double ADD_PARTS = 1500;
    private static final double LAUNCH_US = 2.5;
    private static final double UNHIDDEN = 0.03;

    /**
     * A GPU.
     *
     * @param multiprocessors how many
     * @param ghz the clock while nothing limits it
     * @param memory bytes a microsecond of device memory that a copy reaches
     * @param l2 bytes a microsecond of the second-level cache
     * @param power floating-point operations a microsecond that its power allows with FP8
     */
    record Gpu(int multiprocessors, double ghz, double memory, double l2, double power) {
        /** 4.3 TB/s seen in copies; the rest as on an H800, where DeepGEMM reports up to 1,550 TFLOP/s. */
        static final Gpu H200 = new Gpu(132, 1.755, 4.2e6, 7.0e6, 1.5e9);
        static final Gpu H800 = new Gpu(132, 1.755, 3.0e6, 7.0e6, 1.5e9);

        /**
         * {@return how many clusters run at a time} A cluster stays within a processing cluster of the chip, of which
         * an SXM part with 132 multiprocessors is taken to have six with 16 and two with 18.
         */
        int clusters(int size) {
            int parts = Math.max(1, multiprocessors / 16);
            int each = multiprocessors / parts / 2 * 2;
            int larger = (multiprocessors - each * parts) / 2;
            return size == 1 ? multiprocessors
                    : Math.max(1, (parts - larger) * (each / size) + larger * ((each + 2) / size));
        }

        Gpu withMultiprocessors(int count) {
            return new Gpu(count, ghz, memory, l2, power);
        }
    }

    /**
     * What is to be multiplied.
     *
     * @param rows tokens of each group; one group is a plain product
     * @param channels columns of D
     * @param depth K
     * @param aVector whether A has a scale for each row, else for each 128
     * @param bVector the same for B
     * @param aE5m2 whether A is E5M2
     * @param bE5m2 whether B is
     * @param out what D is
     * @param epilogue whether there is an addend, a bias or an activation
     */
    record Work(long[] rows, int channels, int depth, boolean aVector, boolean bVector, boolean aE5m2, boolean bE5m2,
            Out out, boolean epilogue) {
        static Work dense(long tokens, int channels, int depth) {
            return new Work(new long[] {tokens}, channels, depth, true, false, false, false, Out.BF16, false);
        }

        Work with(Out other, boolean withEpilogue) {
            return new Work(rows, channels, depth, aVector, bVector, aE5m2, bE5m2, other, withEpilogue);
        }

        long tokens() {
            long sum = 0;
            for (long r : rows) {
                sum += r;
            }
            return sum;
        }

        double flop() {
            return 2.0 * tokens() * channels * depth;
        }

        /** {@return bytes of A, the groups' B that are needed, and D} */
        double bytes() {
            int used = 0;
            for (long r : rows) {
                used += r > 0 ? 1 : 0;
            }
            return (double) tokens() * depth * (1 + 4.0 / 128) + (double) used * channels * depth
                    + (double) tokens() * channels * (out == Out.F32 ? 4 : out == Out.BF16 ? 2 : 1);
        }
    }

    /**
     * A variant, how it is launched, and what is expected of it.
     *
     * @param variant how the kernel is compiled
     * @param parts blocks that share K
     * @param band tiles of tokens that are walked before the next tile of channels
     * @param clusters how many are launched; blocks, where there are none
     * @param micros predicted time in microseconds
     * @param limit the part that sets it
     */
    record Choice(HopperVariant variant, int parts, int band, int clusters, double micros, String limit) {
        int clusterBlocks() {
            return variant.split() ? parts : variant.cluster();
        }

        int grid() {
            return clusters * clusterBlocks();
        }
    }

    private HopperModel() {}

    /** {@return tiles of a product, those of a cluster counted once} */
    static long tiles(HopperVariant v, Work w) {
        long sum = 0;
        for (long rows : w.rows) {
            sum += Math.ceilDiv(rows, (long) v.tokenSpan()) * Math.ceilDiv(w.channels, v.channelSpan());
        }
        return sum;
    }

    /**
     * {@return how many clusters are launched for so many tiles: a part of K has none to spare, all else takes what
     * runs at a time}
     */
    static int clusters(HopperVariant v, int parts, long tiles, Gpu gpu) {
        return (int) (v.split() ? tiles : Math.min(tiles, gpu.clusters(parts > 1 ? parts : v.cluster())));
    }

    /** {@return the prediction for one variant} */
    static Choice estimate(HopperVariant v, int parts, Work w, Gpu gpu) {
        int slabs = v.rows() / 64;
        int blocks = Math.ceilDiv(Math.ceilDiv(w.depth, HopperVariant.DEPTH), parts);
        double tensor = TENSOR_CYCLES * v.cols() * slabs;
        double tile = (v.rows() + v.cols()) * (double) HopperVariant.DEPTH;
        double shared = (tile + slabs * (64 + v.cols()) * (double) HopperVariant.DEPTH) / SHARED_BYTES;
        double promotion = v.cols() / 2.0 * (v.rightVector() ? 2 : 1);
        double issue = slabs * (promotion + 40);
        double chain = v.overlap() ? tensor : slabs / 2.0 * (TENSOR_CYCLES * v.cols() + promotion + DRAIN);
        double fetched = HopperVariant.DEPTH * (v.rows() / (v.share() == Share.LEFT ? 2.0 : 1)
                + v.cols() / (v.share() == Share.RIGHT ? 2.0 : 1));
        double period = Math.max(Math.max(tensor, shared), Math.max(Math.max(issue, chain), fetched / L2_BYTES));
        double epilogue = EPILOGUE + v.rows() * (double) v.cols() * v.outBytes() / 64 + (parts > 1 ? ADD_PARTS : 0);

        long tiles = tiles(v, w);
        int clusterBlocks = parts > 1 ? parts : v.cluster();
        long room = gpu.clusters(clusterBlocks);
        long rounds = Math.ceilDiv(tiles, room);
        double compute = (FILL + rounds * (blocks * period + epilogue)) / (gpu.ghz * 1000);
        double executed = (double) tiles * v.cluster() * v.rows() * v.cols() * 2.0 * w.depth;
        double l2 = (double) tiles * clusterBlocks * blocks * fetched / gpu.l2;
        double memory = w.bytes() / gpu.memory;
        double power = executed / gpu.power;

        double most = Math.max(Math.max(compute, l2), Math.max(memory, power));
        String limit = most == memory ? "device memory" : most == power ? "power" : most == l2 ? "second-level cache"
                : period == tensor ? "tensor cores" : period == shared ? "shared memory" : "promotion";
        int clusters = clusters(v, parts, tiles, gpu);
        // What is not the limit overlaps, but not perfectly; and of two variants with one limit the lighter is better.
        double others = compute + l2 + memory + power - most;
        return new Choice(v, parts, band(v, w, gpu), clusters, LAUNCH_US + most + UNHIDDEN * others, limit);
    }

    /**
     * Blocks that run at the same time read {@code band} tiles of tokens and {@code blocks / band} tiles of channels;
     * of 8 and 16 the one with fewer bytes.
     */
    private static int band(HopperVariant v, Work w, Gpu gpu) {
        long most = 0;
        for (long r : w.rows) {
            most = Math.max(most, Math.ceilDiv(r, (long) v.tokenSpan()));
        }
        int running = Math.max(1, gpu.multiprocessors / v.cluster());
        long narrow = 8L * v.tokenSpan() + Math.ceilDiv(running, 8) * (long) v.channelSpan();
        long wide = 16L * v.tokenSpan() + Math.ceilDiv(running, 16) * (long) v.channelSpan();
        return most > 8 && wide < narrow ? 16 : 8;
    }

    /** {@return what is predicted to be fastest; the same for the same arguments} */
    static Choice choose(Work w, Gpu gpu) {
        Choice best = null;
        for (Choice c : candidates(w, gpu)) {
            if (best == null || c.micros < best.micros) {
                best = c;
            }
        }
        if (best == null) {
            throw new IllegalArgumentException("nothing to multiply");
        }
        return best;
    }

    /** {@return the predictions for all variants that fit, plain ones first} */
    static List<Choice> candidates(Work w, Gpu gpu) {
        List<Choice> all = new ArrayList<>();
        if (w.aVector) {
            int blocks = Math.ceilDiv(w.depth, HopperVariant.DEPTH);
            for (int cols : new int[] {16, 32, 64, 128}) {
                for (Share share : new Share[] {Share.NONE, Share.RIGHT}) {
                    all.add(estimate(swapped(w, cols, share, false), 1, w, gpu));
                }
                HopperVariant split = swapped(w, cols, Share.NONE, true);
                long tiles = tiles(split, w);
                for (int parts = 2; parts <= 8 && w.rows.length == 1; parts++) {
                    // More blocks than run at a time would wait for a whole round.
                    if (parts <= blocks && tiles <= gpu.clusters(parts)) {
                        all.add(estimate(split, parts, w, gpu));
                    }
                }
            }
        }
        // Of 128 channels that share a scale of D, a tile has all.
        boolean anyWidth = w.aVector && !w.bVector && w.out != Out.FP8;
        int[] widths = anyWidth ? new int[] {128, 96, 112, 160, 192} : new int[] {128};
        for (int cols : widths) {
            for (Share share : Share.values()) {
                all.add(estimate(wide(w, 128, cols, share), 1, w, gpu));
            }
        }
        // With an epilogue, whose code stands there for each sum, NVRTC takes 2.9 s for this one instead of 0.5.
        if (w.aVector && !w.bVector && w.out != Out.F32 && !w.epilogue) {
            for (Share share : Share.values()) {
                all.add(estimate(wide(w, 256, 128, share), 1, w, gpu));
            }
        }
        return all;
    }

    /**
     * {@return the variants that the shapes of DeepSeek-V3 take on an H200: dense, grouped, a weight gradient, an FP8
     * result, an epilogue; what a check of the build compiles}
     */
    static List<HopperVariant> usual() {
        Set<HopperVariant> all = new LinkedHashSet<>();
        int[][] shapes = {{2112, 7168}, {24576, 1536}, {32768, 512}, {7168, 16384}, {4096, 7168}, {7168, 2048}};
        for (int[] s : shapes) {
            for (long tokens : new long[] {1, 64, 128, 4096}) {
                all.add(choose(Work.dense(tokens, s[0], s[1]), Gpu.H200).variant);
            }
        }
        long[] masked = new long[32];
        Arrays.fill(masked, 20);
        all.add(choose(new Work(masked, 4096, 7168, true, false, false, false, Out.BF16, false), Gpu.H200).variant);
        Work gradient = new Work(new long[] {4096}, 4096, 7168, true, true, false, false, Out.F32, false);
        all.add(choose(gradient, Gpu.H200).variant);
        all.add(choose(gradient.with(Out.F32, true), Gpu.H200).variant);
        for (long tokens : new long[] {64, 4096}) {
            all.add(choose(Work.dense(tokens, 4096, 7168).with(Out.FP8, false), Gpu.H200).variant);
        }
        all.add(choose(Work.dense(4096, 4096, 7168).with(Out.BF16, true), Gpu.H200).variant);
        return List.copyOf(all);
    }

    private static HopperVariant wide(Work w, int rows, int cols, Share share) {
        return new HopperVariant(rows, cols, false, share, false, false, w.aVector, w.bVector, w.aE5m2, w.bE5m2,
                w.out, w.epilogue);
    }

    private static HopperVariant swapped(Work w, int cols, Share share, boolean split) {
        return new HopperVariant(128, cols, true, share, split, false, w.bVector, w.aVector, w.bE5m2, w.aE5m2,
                w.out, w.epilogue);
    }
}
