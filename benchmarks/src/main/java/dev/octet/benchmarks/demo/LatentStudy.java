package dev.octet.benchmarks.demo;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.factor.ActivationStatistics;
import dev.octet.mla.factor.AttentionProbe;
import dev.octet.mla.factor.AttentionWeights;
import dev.octet.mla.factor.FactorOptions;
import dev.octet.mla.factor.LatentError;
import dev.octet.mla.factor.LatentFactorization;
import dev.octet.mla.factor.LatentFactors;
import dev.octet.mla.factor.SquaredError;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What a cache of latents does to MiniLM: its six attention layers, or one of them, factorised by both methods and
 * measured on sentences that neither has seen.
 *
 * @param layer the one layer that was looked at, from 1, or null for all
 * @param calibration the sample's size
 * @param heldOut what was measured on
 * @param cache the format of latents, keys and values in a cache
 * @param options of the factorisation by activations; its weighting holds for both
 * @param ranks in ascending order
 * @param uncompressed the error of the outputs of these layers when keys and values themselves are cached
 * @param curves by method
 */
record LatentStudy(@Nullable Integer layer, Sample calibration, Sample heldOut, DType cache, FactorOptions options,
        int[] ranks, SquaredError uncompressed, Map<Method, Curve> curves) {
    /** Every so many sentences one is kept from the calibration: a fixed split. */
    static final int HELD_OUT_EVERY = 3;

    /** How the factors are made. */
    enum Method {
        /** From the weights. */
        DATA_FREE("data-free"),
        /** From weights and calibration sentences. */
        ACTIVATION_AWARE("activation-aware");

        private final String label;

        Method(String label) {
            this.label = label;
        }

        String label() {
            return label;
        }
    }

    /** Sentences and their tokens. */
    record Sample(int sentences, int tokens) {}

    /**
     * One method.
     *
     * @param layers errors by layer, then by rank
     * @param meanCosine by rank, between the embeddings of a held-out sentence with all layers factorised and with
     *     none; empty for one layer
     * @param leastCosine by rank, of the sentence that suffers most; empty for one layer
     */
    record Curve(List<List<LatentError>> layers, double[] meanCosine, double[] leastCosine) {
        /** The layers together, by rank. */
        List<LatentError> total() {
            return IntStream.range(0, layers.getFirst().size())
                    .mapToObj(r -> LatentError.total(layers.stream().map(l -> l.get(r)).toList())).toList();
        }
    }

    /**
     * Runs everything.
     *
     * @param model the weights
     * @param tokenizer the model's
     * @param sentences of which every third is held out
     * @param layer from 1, or null for all
     * @param ranks in ascending order, each 1 to the hidden width
     * @param cache F32 or BF16
     * @param options of the factorisation
     * @param pool the threads
     * @param progress is told what is going on
     */
    static LatentStudy run(MiniLm model, WordPieceTokenizer tokenizer, List<String> sentences, @Nullable Integer layer,
            int[] ranks, DType cache, FactorOptions options, CpuPool pool, Consumer<String> progress) {
        List<int[]> calibration = new ArrayList<>();
        List<int[]> heldOut = new ArrayList<>();
        for (int i = 0; i < sentences.size(); i++) {
            int[] ids = tokenizer.encode(sentences.get(i), MiniLm.MAX_TOKENS).ids();
            (i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 ? heldOut : calibration).add(ids);
        }
        progress.accept("encoding " + sentences.size() + " sentences");
        int first = layer == null ? 0 : layer - 1; // those that are looked at are counted from it
        int layers = layer == null ? model.layers().size() : 1;
        List<ActivationStatistics> statistics = new ArrayList<>();
        List<Tensor> inputs = new ArrayList<>();
        for (int l = 0; l < layers; l++) {
            statistics.add(new ActivationStatistics(MiniLm.HIDDEN));
            inputs.add(Tensor.allocate(DType.F32, Shape.of(tokens(heldOut), MiniLm.HIDDEN)));
        }
        float[][] expected;
        try (SentenceEncoder encoder = new SentenceEncoder(model, parts -> new Fp32Linear(pool, parts), pool)) {
            // The layers are post-norm: what one puts out is what the next one's attention reads.
            encoder.encode(calibration, (l, hidden) -> {
                if (l >= first && l < first + layers) {
                    statistics.get(l - first).add(hidden);
                }
            });
            long[] at = new long[layers];
            expected = encoder.encode(heldOut, (l, hidden) -> {
                if (l >= first && l < first + layers) {
                    long from = at[l - first];
                    at[l - first] += hidden.dim(0);
                    inputs.get(l - first).slice(0, from, at[l - first]).copyFrom(hidden);
                }
            });
        }

        progress.accept("decomposing the weights of " + (layer == null ? layers + " layers" : "the layer") + ", twice");
        List<AttentionWeights> weights =
                model.layers().subList(first, first + layers).stream().map(LatentStudy::weights).toList();
        LatentFactorization[] all = new LatentFactorization[2 * layers];
        pool.run(all.length, task -> {
            AttentionWeights w = weights.get(task / 2);
            all[task] = task % 2 == Method.DATA_FREE.ordinal()
                    ? LatentFactorization.ofWeights(w, options.weighting())
                    : LatentFactorization.ofActivations(w, statistics.get(task / 2), options);
        });

        progress.accept("measuring " + ranks.length + " ranks");
        int[] lengths = heldOut.stream().mapToInt(s -> s.length).toArray();
        List<AttentionProbe> probes = new ArrayList<>();
        for (int l = 0; l < layers; l++) {
            probes.add(new AttentionProbe(weights.get(l), inputs.get(l), lengths, false));
            inputs.get(l).close();
        }
        SquaredError uncompressed = SquaredError.NONE;
        for (AttentionProbe p : probes) {
            uncompressed = uncompressed.plus(p.uncompressed(cache));
        }
        Map<Method, Curve> curves = new EnumMap<>(Method.class);
        for (Method method : Method.values()) {
            List<LatentFactorization> factorizations =
                    IntStream.range(0, layers).mapToObj(l -> all[2 * l + method.ordinal()]).toList();
            List<List<LatentError>> errors = IntStream.range(0, layers)
                    .mapToObj(l -> probes.get(l).latent(factorizations.get(l), ranks, cache)).toList();
            double[] mean = new double[layer == null ? ranks.length : 0];
            double[] least = new double[mean.length];
            for (int r = 0; r < mean.length; r++) {
                float[][] actual = encode(model, factorizations, ranks[r], cache, heldOut, pool);
                double[] cosines = new double[actual.length];
                Arrays.setAll(cosines, s -> Similarity.cosine(expected[s], actual[s]));
                mean[r] = Arrays.stream(cosines).average().orElseThrow();
                least[r] = Arrays.stream(cosines).min().orElseThrow();
            }
            curves.put(method, new Curve(errors, mean, least));
        }
        return new LatentStudy(layer, new Sample(calibration.size(), tokens(calibration)),
                new Sample(heldOut.size(), tokens(heldOut)), cache, options, ranks, uncompressed, curves);
    }

    private static int tokens(List<int[]> sentences) {
        return sentences.stream().mapToInt(s -> s.length).sum();
    }

    /** A layer's matrices lie {@code [in, out]} in the file. */
    static AttentionWeights weights(MiniLm.Layer l) {
        return new AttentionWeights(MiniLm.HEADS, MiniLm.HEADS, l.query().weight().transpose(),
                l.key().weight().transpose(), l.value().weight().transpose(), l.output().weight().transpose(),
                l.query().bias(), l.key().bias(), l.value().bias());
    }

    private static float[][] encode(MiniLm model, List<LatentFactorization> factorizations, int rank, DType cache,
            List<int[]> sentences, CpuPool pool) {
        Map<MiniLm.Dense, LatentFactorization> byKey = new IdentityHashMap<>();
        for (int l = 0; l < factorizations.size(); l++) {
            byKey.put(model.layers().get(l).key(), factorizations.get(l));
        }
        Linear.Factory factory = parts -> {
            if (parts.size() == 1) {
                return new Fp32Linear(pool, parts);
            }
            try (LatentFactors factors = byKey.get(parts.get(1)).factors(rank, DType.F32)) {
                return new LatentLinear(pool, parts.get(0), factors, cache);
            }
        };
        try (SentenceEncoder encoder = new SentenceEncoder(model, factory, pool)) {
            return encoder.encode(sentences);
        }
    }
}
