package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.mla.spi.MlaBackend;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * One decode to test, all of whose data follow from these numbers.
 *
 * @param seed what the data are drawn from
 * @param lengths cached tokens of each sequence
 * @param queries query tokens of each sequence
 * @param deviation of the queries' values
 */
record DecodeCase(long seed, CacheFormat format, int kvLoraRank, int ropeDim, int heads, int[] lengths, int[] queries,
        int pageSize, AttentionOptions options, double deviation, DType queryType, DType outType, Layout queryLayout,
        Layout outLayout) {
    private static final int[] LENGTHS = {0, 1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 130, 255, 257, 300,
        700};

    /** All of one run: outputs full of NaN. */
    record Data(LatentPages pages, Layout.Placed query, Layout.Placed out, Layout.Placed lse) {}

    /** V3's dimensions, BF16 cache, pages of 64, F32 queries and outputs, contiguous, one query token each. */
    static DecodeCase plain(long seed, int heads, int... lengths) {
        int[] queries = new int[lengths.length];
        Arrays.fill(queries, 1);
        return new DecodeCase(seed, CacheFormat.BF16, 512, 64, heads, lengths, queries, 64,
                AttentionOptions.causal(MlaConfig.V3.softmaxScale()), 0.7, DType.F32, DType.F32, Layout.CONTIGUOUS,
                Layout.CONTIGUOUS);
    }

    DecodeCase withQueries(int... each) {
        return new DecodeCase(seed, format, kvLoraRank, ropeDim, heads, lengths, each, pageSize, options, deviation,
                queryType, outType, queryLayout, outLayout);
    }

    DecodeCase withOptions(AttentionOptions other) {
        return new DecodeCase(seed, format, kvLoraRank, ropeDim, heads, lengths, queries, pageSize, other, deviation,
                queryType, outType, queryLayout, outLayout);
    }

    DecodeCase withDeviation(double other) {
        return new DecodeCase(seed, format, kvLoraRank, ropeDim, heads, lengths, queries, pageSize, options, other,
                queryType, outType, queryLayout, outLayout);
    }

    DecodeCase withFormat(CacheFormat other) {
        return new DecodeCase(seed, other, kvLoraRank, ropeDim, heads, lengths, queries, pageSize, options, deviation,
                queryType, outType, queryLayout, outLayout);
    }

    DecodeCase withDims(int latent, int rope) {
        return new DecodeCase(seed, format, latent, rope, heads, lengths, queries, pageSize, options, deviation,
                queryType, outType, queryLayout, outLayout);
    }

    DecodeCase withPages(int size) {
        return new DecodeCase(seed, format, kvLoraRank, ropeDim, heads, lengths, queries, size, options, deviation,
                queryType, outType, queryLayout, outLayout);
    }

    DecodeCase withTypes(DType query, DType out) {
        return new DecodeCase(seed, format, kvLoraRank, ropeDim, heads, lengths, queries, pageSize, options, deviation,
                query, out, queryLayout, outLayout);
    }

    DecodeCase withLayouts(Layout query, Layout out) {
        return new DecodeCase(seed, format, kvLoraRank, ropeDim, heads, lengths, queries, pageSize, options, deviation,
                queryType, outType, query, out);
    }

    /** Draws every number from one seed. */
    static DecodeCase sample(long seed) {
        SplittableRandom r = new SplittableRandom(seed);
        int sequences = r.nextInt(4);
        int[] lengths = new int[sequences];
        int[] queries = new int[sequences];
        for (int s = 0; s < sequences; s++) {
            lengths[s] = LENGTHS[r.nextInt(LENGTHS.length)];
            queries[s] = pick(r, 1, 1, 1, 2, 3, 0, 9);
        }
        CacheFormat format = pick(r, CacheFormat.values());
        int latent = format == CacheFormat.BF16 ? pick(r, 512, 512, 20, 7, 130, 256, 129) : pick(r, 512, 512, 128, 256);
        float scale = pick(r, 0.02f, 0.1f, 0.0721f);
        AttentionOptions options = switch (r.nextInt(6)) {
            case 0 -> AttentionOptions.bidirectional(scale);
            case 1 -> AttentionOptions.causal(scale).withWindow(pick(r, 1, 5, 64, 100, 5000));
            default -> AttentionOptions.causal(scale);
        };
        return new DecodeCase(seed, format, latent, pick(r, 64, 64, 64, 6, 2, 0), pick(r, 1, 3, 7, 16, 17, 33, 63),
                lengths, queries, pick(r, 1, 7, 64, 100, 16), options, pick(r, 0.0, 0.3, 1.0, 3.0),
                pick(r, DType.F32, DType.BF16), pick(r, DType.F32, DType.BF16), pick(r, Layout.values()),
                pick(r, Layout.values()));
    }

    @SafeVarargs
    static <T> T pick(SplittableRandom r, T... values) {
        return values[r.nextInt(values.length)];
    }

    private int tokens() {
        return Arrays.stream(queries).sum();
    }

    /** Makes all tensors; equal calls make equal ones. */
    Data data(Arena arena) {
        return data(arena, records());
    }

    /** What is cached, before it is rounded. */
    float[][][] records() {
        return LatentPages.gaussian(new SplittableRandom(seed ^ 0xCAC4E), kvLoraRank, ropeDim, lengths);
    }

    /** The same with these records in the cache. */
    Data data(Arena arena, float[][][] records) {
        RandomGenerator random = new SplittableRandom(seed);
        LatentPages pages = LatentPages.encode(arena, random, format, kvLoraRank, ropeDim, pageSize, records);
        Layout.Placed query = queryLayout.place(arena, queryType, tokens(), heads, kvLoraRank + ropeDim);
        float[] values = new float[tokens() * heads * (kvLoraRank + ropeDim)];
        RandomGenerator ofQueries = new SplittableRandom(seed ^ 0x93E21);
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (deviation * ofQueries.nextGaussian());
        }
        query.view().copyFrom(values);
        return new Data(pages, query, outLayout.place(arena, outType, tokens(), heads, kvLoraRank),
                outLayout.place(arena, DType.F32, tokens(), heads));
    }

    /** What has to come out. */
    ExpectedAttention expected(Data data) {
        ExpectedAttention expected = new ExpectedAttention(tokens(), heads, TestedBackends.decodeProducts());
        float[] values = data.query.view().toFloatArray();
        int first = 0;
        for (int s = 0; s < lengths.length; s++) {
            double[][] rows = data.pages.rows()[s];
            int begin = first;
            int count = queries[s];
            IntStream.range(0, heads).parallel().forEach(h -> {
                double[][] head = ExpectedAttention.head(values, heads, kvLoraRank + ropeDim, begin, count, h);
                expected.add(begin, h, head, rows, rows, kvLoraRank, options);
            });
            first += count;
        }
        return expected;
    }

    /** Runs it on one backend. */
    void run(MlaBackend backend, Data data, Execution execution) {
        run(backend, data, data.lse, execution);
    }

    void run(MlaBackend backend, Data data, Layout.@Nullable Placed lse, Execution execution) {
        backend.decode(data.query.view(), data.pages.paged(), queries.clone(), options, data.out.view(),
                lse == null ? null : lse.view(), execution);
    }

    @Override
    public String toString() {
        return "decode seed " + seed + ", " + format + " " + kvLoraRank + "+" + ropeDim + ", heads " + heads
                + ", lengths " + Arrays.toString(lengths) + ", queries " + Arrays.toString(queries) + ", pages of "
                + pageSize + ", "
                + options + ", deviation " + deviation + ", query " + queryType + " " + queryLayout + ", out " + outType
                + " " + outLayout;
    }
}
