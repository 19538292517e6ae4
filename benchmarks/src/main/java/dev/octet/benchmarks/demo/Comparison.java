package dev.octet.benchmarks.demo;

import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import java.util.List;
import java.util.function.Consumer;

/**
 * What came out of encoding the same sentences twice, in FP32 and in FP8.
 *
 * @param sentences the text
 * @param tokens their tokens
 * @param cosines for each sentence, between its two embeddings
 * @param similarity of all pairs among the first {@link #MAX_PAIRED} sentences; first encoder FP32, second FP8
 * @param relativeErrors of the hidden states, after the embeddings and each layer
 * @param calcDiffs of the same
 * @param fp32Bytes of the linear weights
 * @param fp8Bytes of the linear weights, scales included
 * @param otherBytes of the weights that are FP32 in both
 * @param speed null if it was not measured
 */
record Comparison(List<String> sentences, List<WordPieceTokenizer.Tokens> tokens, double[] cosines,
        Similarity similarity, double[] relativeErrors, double[] calcDiffs, long fp32Bytes, long fp8Bytes,
        long otherBytes, @org.jspecify.annotations.Nullable Speed speed) {
    /** Pairs grow with the square of the sentences. */
    static final int MAX_PAIRED = 1000;

    /** Sentences that the timed part encodes: enough to fill the largest GEMM. */
    private static final int MAX_TIMED = 64;

    /**
     * Sentences per second.
     *
     * @param sentences how many were encoded
     * @param fp32Batch FP32, all in one call
     * @param fp8Batch FP8, all in one call
     * @param fp32Single FP32, one call for each
     * @param fp8Single FP8, one call for each
     */
    record Speed(int sentences, double fp32Batch, double fp8Batch, double fp32Single, double fp8Single) {}

    /**
     * Runs both encoders.
     *
     * @param model the weights
     * @param tokenizer the model's
     * @param sentences at least one
     * @param fp8 the FP8 operations to use
     * @param pool the threads for everything else
     * @param seconds how long to measure the speed, 0 for not at all
     * @param progress is told what is going on
     */
    static Comparison run(MiniLm model, WordPieceTokenizer tokenizer, List<String> sentences, Fp8 fp8, CpuPool pool,
            double seconds, Consumer<String> progress) {
        List<WordPieceTokenizer.Tokens> tokens =
                sentences.stream().map(s -> tokenizer.encode(s, MiniLm.MAX_TOKENS)).toList();
        List<int[]> ids = tokens.stream().map(WordPieceTokenizer.Tokens::ids).toList();
        progress.accept("quantising the weights");
        try (SentenceEncoder fp32 = new SentenceEncoder(model, parts -> new Fp32Linear(pool, parts), pool);
                SentenceEncoder quantised = new SentenceEncoder(model,
                        parts -> new Fp8Linear(fp8, parts, SentenceEncoder.BATCH_TOKENS), pool)) {
            LayerErrors errors = new LayerErrors(model.layers().size());
            progress.accept("encoding in FP32");
            float[][] expected = fp32.encode(ids, errors::expect);
            progress.accept("encoding in FP8");
            float[][] actual = quantised.encode(ids, errors::compare);
            double[] cosines = new double[expected.length];
            java.util.Arrays.setAll(cosines, s -> Similarity.cosine(expected[s], actual[s]));
            int paired = Math.min(MAX_PAIRED, expected.length);
            Similarity similarity = Similarity.of(java.util.Arrays.copyOf(expected, paired),
                    java.util.Arrays.copyOf(actual, paired));
            Speed speed = null;
            if (seconds > 0) {
                progress.accept("measuring the speed");
                speed = measure(fp32, quantised, ids.subList(0, Math.min(MAX_TIMED, ids.size())), seconds);
            }
            return new Comparison(sentences, tokens, cosines, similarity, errors.relative(), errors.calcDiff(),
                    fp32.linearBytes(), quantised.linearBytes(), model.otherBytes(), speed);
        }
    }

    private static Speed measure(SentenceEncoder fp32, SentenceEncoder fp8, List<int[]> ids, double seconds) {
        double[] t = Stopwatch.medians(List.of(
                () -> fp32.encode(ids),
                () -> fp8.encode(ids),
                () -> ids.forEach(s -> fp32.encode(List.of(s))),
                () -> ids.forEach(s -> fp8.encode(List.of(s)))), seconds);
        int n = ids.size();
        return new Speed(n, n / t[0], n / t[1], n / t[2], n / t[3]);
    }
}
