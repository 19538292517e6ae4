package dev.octet.benchmarks.suite;

import dev.octet.fp8.Granularity;
import dev.octet.mla.CacheFormat;
import dev.octet.mla.MlaConfig;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * The cases of a run. GEMM shapes are those of DeepSeek-V3's dense layers and experts: the joint down projections of
 * attention (2112 and 576 by 7168), the query's up projection (24576 by 1536), the output projection (7168 by 16384),
 * an expert's gate and up (4096 by 7168) and its down projection (7168 by 2048). Latent attention has the dimensions of
 * DeepSeek-V3 (128 heads) and DeepSeek-V2-Lite (16).
 *
 * @param backend the implementation to measure
 * @param threads the pool sizes, the one that everything is measured with last; with the others only products of
 *     many rows with the first shape, for threads are a matter of the pool, not of the shape
 * @param shapes N and K of the weights
 * @param rows values of M
 * @param quick whether to leave out what takes long
 */
public record Catalog(String backend, List<Integer> threads, List<NK> shapes, List<Long> rows, boolean quick) {
    /**
     * A weight matrix.
     *
     * @param n its rows
     * @param k its columns
     */
    public record NK(long n, long k) {
        /** {@return for example {@code 2112x7168}} */
        @Override
        public String toString() {
            return n + "x" + k;
        }
    }

    /** All shapes. */
    public static final List<NK> SHAPES = List.of(new NK(2112, 7168), new NK(576, 7168), new NK(24576, 1536),
            new NK(7168, 16384), new NK(4096, 7168), new NK(7168, 2048));
    /** The shapes of a quick run. */
    public static final List<NK> QUICK_SHAPES = List.of(new NK(2112, 7168), new NK(7168, 2048));
    /** All values of M. */
    public static final List<Long> ROWS = List.of(1L, 4L, 16L, 64L, 128L, 512L, 1024L);
    /** The values of M of a quick run. */
    public static final List<Long> QUICK_ROWS = List.of(1L, 4L, 16L, 64L, 128L, 512L);

    /** An expert of DeepSeek-V2-Lite: gate and up, and down. */
    private static final List<NK> EXPERTS = List.of(new NK(2816, 2048), new NK(2048, 1408));

    private static final List<Integer> CONTEXTS = List.of(1024, 8192, 32768);
    private static final List<Integer> QUICK_CONTEXTS = List.of(1024, 8192);
    private static final List<Integer> BATCHES = List.of(1, 8);

    private static final List<String> PAIRINGS = List.of("dgrad", "wgrad", "row", "tensor");
    /** Where a product is bound by arithmetic, so that threads must scale. */
    private static final long MANY_ROWS = 128;

    /** Copies the lists. */
    public Catalog {
        threads = List.copyOf(threads);
        shapes = List.copyOf(shapes);
        rows = List.copyOf(rows);
    }

    /** {@return all cases that measure Octet, in the order in which they are run} */
    public List<Case> cases() {
        List<Case> cases = new ArrayList<>();
        int most = threads.getLast();
        for (NK s : shapes) {
            for (long m : rows) {
                for (int t : threads) {
                    if (t == most || (m >= MANY_ROWS && s.equals(shapes.getFirst()))) {
                        cases.add(gemm("fprop", t, m, s));
                    }
                }
            }
        }
        for (String pairing : PAIRINGS) {
            for (NK s : shapes.subList(0, 1)) {
                cases.add(gemm(pairing, most, quick ? 128 : 512, s));
            }
        }
        cases.add(Case.of("StartupBenchmark.gemm", "backend", backend, "threads", most));
        for (String dtype : List.of("BF16", "F32")) {
            for (Granularity g : List.of(Granularity.BLOCK_1X128, Granularity.BLOCK_128X128)) {
                cases.add(quantize("quantize", most, g, dtype));
            }
        }
        for (Granularity g : quick ? List.<Granularity>of()
                : List.of(Granularity.BLOCK_128X1, Granularity.ROW, Granularity.TENSOR)) {
            cases.add(quantize("quantize", most, g, "BF16"));
        }
        for (Granularity g : List.of(Granularity.BLOCK_1X128, Granularity.BLOCK_128X128)) {
            cases.add(quantize("dequantize", most, g, "BF16"));
        }
        for (String dtype : List.of("BF16", "F32")) {
            cases.add(quantize("cast", most, Granularity.BLOCK_1X128, dtype));
        }
        decode(most, cases);
        MlaConfig v3 = MlaConfig.V3;
        cases.add(Case.of("MlaBenchmark.compress", "backend", backend, "threads", most, "n",
                v3.qLoraRank() + v3.latentDim(), "k", v3.hiddenSize()));
        grouped(most, cases);
        for (int tokens : quick ? List.of(1) : List.of(1, 256)) {
            cases.add(Case.of("MoeBenchmark.layer", "backend", backend, "threads", most, "tokens", tokens));
        }
        if (backend.equals(Limits.NATIVE)) {
            cases.add(Case.of("DowncallBenchmark.ordinary", "backend", backend, "threads", 1));
            cases.add(Case.of("DowncallBenchmark.critical", "backend", backend, "threads", 1));
            small(most, cases);
            prefill(most, cases);
            absorption(most, cases);
        } else {
            withoutNativeKernels(most, cases);
        }
        router(most, cases);
        permutation(most, cases);
        return cases;
    }

    /** What backend {@code native} leaves to {@code cpu}: there it would be measured twice. */
    private void withoutNativeKernels(int most, List<Case> cases) {
        prefill(most, cases);
        absorption(most, cases);
        for (int t : quick ? List.of(most) : threads) {
            cases.add(Case.of("MoeBenchmark.gate", "backend", backend, "threads", t, "tokens", 4096));
        }
    }

    private void router(int threads, List<Case> cases) {
        for (int tokens : quick ? List.of(1) : List.of(1, 4096)) {
            for (String dtype : quick ? List.of("BF16") : List.of("BF16", "F32")) {
                cases.add(Case.of("MoeBenchmark.router", "backend", backend, "threads", threads, "tokens", tokens, "n",
                        256, "k", 7168, "dtype", dtype));
            }
        }
    }

    /** Where what a call costs counts: native code must not be slower than what would run without it. */
    private void small(int threads, List<Case> cases) {
        for (long[] s : new long[][] {{1, 1, 1}, {1, 64, 128}, {8, 16, 128}, {8, 256, 256}, {64, 64, 128}}) {
            cases.add(small("gemm", threads, s[0], s[1], s[2]));
        }
        for (String operation : List.of("quantize", "dequantize", "cast")) {
            for (long[] s : new long[][] {{1, 16}, {4, 256}, {64, 512}}) {
                cases.add(small(operation, threads, s[0], 1, s[1]));
            }
        }
    }

    private Case small(String operation, int threads, long m, long n, long k) {
        return Case.of("SmallBenchmark." + operation, "backend", backend, "threads", threads, "m", m, "n", n, "k", k);
    }

    private void decode(int threads, List<Case> cases) {
        for (MlaConfig model : List.of(MlaConfig.V3, MlaConfig.V2_LITE)) {
            for (CacheFormat cache : List.of(CacheFormat.BF16, CacheFormat.FP8)) {
                for (int context : quick ? QUICK_CONTEXTS : CONTEXTS) {
                    for (int batch : BATCHES) {
                        // A quick run has a look at batches and at FP8 in one place each.
                        if (!quick || (cache == CacheFormat.BF16 ? batch == 1 || context == Limits.PEER_CONTEXT
                                : batch == 1 && context == Limits.PEER_CONTEXT)) {
                            cases.add(Case.of("MlaBenchmark.decode", "backend", backend, "threads", threads, "heads",
                                    model.heads(), "batch", batch, "context", context, "cache", cache));
                        }
                    }
                }
            }
        }
    }

    private void prefill(int threads, List<Case> cases) {
        for (String dtype : quick && !backend.equals(Limits.NATIVE) ? List.of("F32") : List.of("F32", "BF16")) {
            cases.add(Case.of("MlaBenchmark.prefill", "backend", backend, "threads", threads, "heads",
                    MlaConfig.V2_LITE.heads(), "tokens", 512, "dtype", dtype));
        }
    }

    private void absorption(int threads, List<Case> cases) {
        for (int tokens : quick ? List.of(1) : List.of(1, 8)) {
            for (String weight : List.of("UK", "UV")) {
                cases.add(Case.of("MlaBenchmark.absorb", "backend", backend, "threads", threads, "tokens", tokens,
                        "heads", MlaConfig.V3.heads(), "weight", weight));
            }
        }
    }

    private void grouped(int threads, List<Case> cases) {
        for (NK s : quick ? EXPERTS.subList(0, 1) : EXPERTS) {
            for (int rows : List.of(1, 128)) {
                cases.add(Case.of("GroupedBenchmark.gemm", "backend", backend, "threads", threads, "groups", 64, "rows",
                        rows, "n", s.n(), "k", s.k()));
            }
        }
    }

    private void permutation(int threads, List<Case> cases) {
        for (String operation : List.of("permute", "reduce")) {
            for (String dtype : quick ? List.of("BF16") : List.of("BF16", "F32")) {
                cases.add(Case.of("PermuteBenchmark." + operation, "backend", backend, "threads", threads, "tokens",
                        4096, "topK", 6, "hidden", 2048, "dtype", dtype));
            }
        }
    }

    private Case gemm(String pairing, int threads, long m, NK s) {
        return Case.of("GemmBenchmark." + pairing, "backend", backend, "threads", threads, "m", m, "n", s.n(), "k",
                s.k());
    }

    private Case quantize(String operation, int threads, Granularity g, String dtype) {
        return Case.of("QuantizeBenchmark." + operation, "backend", backend, "threads", threads, "granularity", g,
                "dtype", dtype, "rows", 4096, "columns", 7168);
    }

    /** {@return the names of all cases, each once} */
    public Set<String> names() {
        Set<String> names = new LinkedHashSet<>();
        cases().forEach(c -> names.add(c.name()));
        return names;
    }
}
