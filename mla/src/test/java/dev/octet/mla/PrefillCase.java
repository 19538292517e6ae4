package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.mla.reference.AttentionError.Products;
import dev.octet.mla.spi.MlaBackend;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * One prefill to test, all of whose data follow from these numbers.
 *
 * @param seed what the data are drawn from
 * @param keyDim values of a head's own key
 * @param ropeDim values of the shared key; 0 for none
 * @param lengths queries and keys of each sequence
 * @param deviation of the queries' values
 * @param inType of keys, shared keys and values
 */
record PrefillCase(long seed, int heads, int keyDim, int ropeDim, int valueDim, Ragged lengths,
        AttentionOptions options, double deviation, DType queryType, DType inType, DType outType, Layout inLayout,
        Layout outLayout) {
    private static final int[] LENGTHS = {0, 1, 2, 5, 15, 17, 63, 64, 65, 96, 97, 130, 200};

    /** All of one run: outputs full of NaN. */
    record Data(Tensor query, Tensor keys, @Nullable Tensor ropeKeys, Tensor values, Layout.Placed out,
            Layout.Placed lse) {}

    /** V3's dimensions, F32, contiguous, causal. */
    static PrefillCase plain(long seed, int heads, int[] queries, int[] keys) {
        return new PrefillCase(seed, heads, 128, 64, 128, new Ragged(queries, keys),
                AttentionOptions.causal(MlaConfig.V3.softmaxScale()), 1, DType.F32, DType.F32, DType.F32,
                Layout.CONTIGUOUS, Layout.CONTIGUOUS);
    }

    static PrefillCase self(long seed, int heads, int... tokens) {
        return plain(seed, heads, tokens, tokens);
    }

    PrefillCase withOptions(AttentionOptions other) {
        return new PrefillCase(seed, heads, keyDim, ropeDim, valueDim, lengths, other, deviation, queryType, inType,
                outType, inLayout, outLayout);
    }

    PrefillCase withDeviation(double other) {
        return new PrefillCase(seed, heads, keyDim, ropeDim, valueDim, lengths, options, other, queryType, inType,
                outType, inLayout, outLayout);
    }

    PrefillCase withDims(int key, int rope, int value) {
        return new PrefillCase(seed, heads, key, rope, value, lengths, options, deviation, queryType, inType, outType,
                inLayout, outLayout);
    }

    PrefillCase withTypes(DType query, DType in, DType out) {
        return new PrefillCase(seed, heads, keyDim, ropeDim, valueDim, lengths, options, deviation, query, in, out,
                inLayout, outLayout);
    }

    PrefillCase withLayouts(Layout in, Layout out) {
        return new PrefillCase(seed, heads, keyDim, ropeDim, valueDim, lengths, options, deviation, queryType, inType,
                outType, in, out);
    }

    /** Draws every number from one seed. */
    static PrefillCase sample(long seed) {
        SplittableRandom r = new SplittableRandom(seed);
        int sequences = r.nextInt(4);
        int[] queries = new int[sequences];
        int[] keys = new int[sequences];
        for (int s = 0; s < sequences; s++) {
            queries[s] = LENGTHS[r.nextInt(LENGTHS.length)];
            keys[s] = r.nextInt(3) > 0 ? queries[s] : LENGTHS[r.nextInt(LENGTHS.length)];
        }
        float scale = DecodeCase.pick(r, 0.02f, 0.1f, 0.0721f);
        AttentionOptions options = switch (r.nextInt(6)) {
            case 0 -> AttentionOptions.bidirectional(scale);
            case 1 -> AttentionOptions.causal(scale).withWindow(DecodeCase.pick(r, 1, 5, 64, 100, 5000));
            default -> AttentionOptions.causal(scale);
        };
        int keyDim = DecodeCase.pick(r, 128, 128, 64, 20, 7, 129);
        return new PrefillCase(seed, DecodeCase.pick(r, 1, 2, 3, 5), keyDim, DecodeCase.pick(r, 64, 64, 6, 1, 0),
                DecodeCase.pick(r, 128, 128, 64, 20, 7, 129, 1), new Ragged(queries, keys), options,
                DecodeCase.pick(r, 0.0, 0.3, 1.0, 3.0), type(r), type(r), type(r),
                DecodeCase.pick(r, Layout.values()), DecodeCase.pick(r, Layout.values()));
    }

    private static DType type(SplittableRandom r) {
        return DecodeCase.pick(r, DType.F32, DType.BF16);
    }

    private int queryTokens() {
        return Math.toIntExact(lengths.totalQueries());
    }

    private int keyTokens() {
        return Math.toIntExact(lengths.totalKeys());
    }

    private Tensor gaussian(Arena arena, int salt, double by, DType type, long... dims) {
        RandomGenerator random = new SplittableRandom(seed * 31 + salt);
        Tensor t = inLayout.place(arena, type, dims).view();
        float[] values = new float[Math.toIntExact(t.shape().elements())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (by * random.nextGaussian());
        }
        t.copyFrom(values);
        return t;
    }

    /** Makes all tensors; equal calls make equal ones. */
    Data data(Arena arena) {
        return new Data(gaussian(arena, 1, deviation, queryType, queryTokens(), heads, keyDim + ropeDim),
                gaussian(arena, 2, 1, inType, keyTokens(), heads, keyDim),
                ropeDim == 0 ? null : gaussian(arena, 3, 1, inType, keyTokens(), ropeDim),
                gaussian(arena, 4, 1, inType, keyTokens(), heads, valueDim),
                outLayout.place(arena, outType, queryTokens(), heads, valueDim),
                outLayout.place(arena, DType.F32, queryTokens(), heads));
    }

    /** What has to come out. */
    ExpectedAttention expected(Data data) {
        ExpectedAttention expected = new ExpectedAttention(queryTokens(), heads, Products.FP32);
        float[] query = data.query.toFloatArray();
        float[] keys = data.keys.toFloatArray();
        float[] ropeKeys = data.ropeKeys == null ? new float[0] : data.ropeKeys.toFloatArray();
        float[] values = data.values.toFloatArray();
        int first = 0;
        int firstKey = 0;
        for (int s = 0; s < lengths.sequences(); s++) {
            int m = lengths.queries()[s];
            int n = lengths.keys()[s];
            int begin = first;
            int beginKey = firstKey;
            IntStream.range(0, heads).parallel().forEach(h -> {
                double[][] own = ExpectedAttention.head(keys, heads, keyDim, beginKey, n, h);
                double[][] shared = ExpectedAttention.head(ropeKeys, 1, ropeDim, beginKey, n, 0);
                for (int j = 0; j < n; j++) {
                    own[j] = Arrays.copyOf(own[j], keyDim + ropeDim);
                    System.arraycopy(shared[j], 0, own[j], keyDim, ropeDim);
                }
                expected.add(begin, h, ExpectedAttention.head(query, heads, keyDim + ropeDim, begin, m, h), own,
                        ExpectedAttention.head(values, heads, valueDim, beginKey, n, h), valueDim, options);
            });
            first += m;
            firstKey += n;
        }
        return expected;
    }

    /** Runs it on one backend. */
    void run(MlaBackend backend, Data data, Layout.@Nullable Placed lse, Execution execution) {
        backend.prefill(data.query, data.keys, data.ropeKeys, data.values, lengths, options, data.out.view(),
                lse == null ? null : lse.view(), execution);
    }

    @Override
    public String toString() {
        return "prefill seed " + seed + ", heads " + heads + ", " + keyDim + "+" + ropeDim + " by " + valueDim
                + ", queries " + Arrays.toString(lengths.queries()) + ", keys " + Arrays.toString(lengths.keys()) + ", "
                + options + ", deviation " + deviation + ", query " + queryType + ", in " + inType + " " + inLayout
                + ", out " + outType + " " + outLayout;
    }
}
