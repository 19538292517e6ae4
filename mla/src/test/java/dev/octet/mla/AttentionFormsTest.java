package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.reference.ReferenceAttention;
import dev.octet.mla.spi.MlaBackend;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Ways to the same result: naive and absorbed form of one model, a prompt at once and in chunks. */
@Tag("backend")
class AttentionFormsTest {
    private static final double U = 0x1p-24;

    static List<Named<MlaBackend>> backends() {
        return TestedBackends.all().stream().map(b -> Named.of(b.name(), b)).toList();
    }

    /** A model's attention, by the naive form in prefill and the absorbed form over a cache in decode. */
    @ParameterizedTest
    @MethodSource("backends")
    void naiveIsAbsorbed(MlaBackend backend) {
        List<AttentionOptions> all = new ArrayList<>();
        all.add(AttentionOptions.causal(0.0721f));
        all.add(AttentionOptions.bidirectional(0.0721f));
        all.add(AttentionOptions.causal(0.0721f).withWindow(20));
        ExactModel model = new ExactModel(42, 3, 9, 150);
        for (AttentionOptions options : all) {
            try (Arena arena = Arena.ofShared()) {
                Layout.Placed naive = Layout.CONTIGUOUS.place(arena, DType.F32, 9, 3, ExactModel.VALUE);
                Layout.Placed lse = Layout.CONTIGUOUS.place(arena, DType.F32, 9, 3);
                Mla mla = Mla.on(backend.name());
                mla.prefill(model.query(arena), model.keys(arena), model.ropeKeys(arena), model.values(arena),
                        new Ragged(new int[] {9}, new int[] {150}), options, naive.view(), lse.view());
                Tensor query = model.absorbedQuery(arena);
                Layout.Placed overLatents = Layout.CONTIGUOUS.place(arena, DType.F32, 9, 3, ExactModel.LATENT);
                Layout.Placed absorbedLse = Layout.CONTIGUOUS.place(arena, DType.F32, 9, 3);
                try (LatentKvCache cache =
                        LatentKvCache.allocate(ExactModel.LATENT, ExactModel.ROPE, CacheFormat.BF16, 1, 20, 64)) {
                    LatentKvCache.Sequence sequence = cache.open();
                    cache.append(sequence, model.latents(arena), model.ropeKeys(arena));
                    mla.decode(query, cache, 0, List.of(sequence), new int[] {9}, options, overLatents.view(),
                            absorbedLse.view());
                }
                compare(model, options, query, naive, lse, overLatents, absorbedLse);
            }
        }
    }

    private static void compare(ExactModel model, AttentionOptions options, Tensor query, Layout.Placed naive,
            Layout.Placed lse, Layout.Placed overLatents, Layout.Placed absorbedLse) {
        ReferenceAttention.Result[] exact = ReferenceAttention.naive(model.queryNope, model.queryRope, model.latents,
                model.ropeKeys, model.upKeys, model.upValues, options);
        ExpectedAttention expectedNaive = model.expectedNaive(options);
        ExpectedAttention expectedAbsorbed = model.expectedOverLatents(query, options);
        float[] n = naive.view().toFloatArray();
        float[] o = overLatents.view().toFloatArray();
        float[] lseNaive = lse.view().toFloatArray();
        float[] lseAbsorbed = absorbedLse.view().toFloatArray();
        for (int t = 0; t < 9; t++) {
            for (int h = 0; h < 3; h++) {
                double[] bounds = expectedAbsorbed.outBound(t, h);
                for (int v = 0; v < ExactModel.VALUE; v++) {
                    double sum = 0;
                    double bound = 0;
                    for (int c = 0; c < ExactModel.LATENT; c++) {
                        double w = model.upValues[h][v][c];
                        double x = o[(t * 3 + h) * ExactModel.LATENT + c];
                        sum += w * x;
                        bound += Math.abs(w) * (bounds[c] + U * Math.abs(x));
                    }
                    String what = options + ", query " + t + ", head " + h + ", value " + v;
                    double value = exact[h].out()[t][v];
                    double ofNaive = n[(t * 3 + h) * ExactModel.VALUE + v];
                    double naiveBound = expectedNaive.outBound(t, h)[v] + U * Math.abs(value) + 1e-12;
                    assertEquals(value, sum, bound + 1e-12, what);
                    assertEquals(value, ofNaive, naiveBound, what);
                    assertEquals(ofNaive, sum, bound + naiveBound, what);
                }
                double lseExact = exact[h].lse()[t];
                double rounding = U * Math.abs(lseExact) + 1e-12;
                assertEquals(lseExact, lseNaive[t * 3 + h], expectedNaive.lseBound(t, h) + rounding);
                assertEquals(lseExact, lseAbsorbed[t * 3 + h], expectedAbsorbed.lseBound(t, h) + rounding);
            }
        }
        assertTrue(expectedNaive.relativeBound() < 1e-3 && expectedAbsorbed.relativeBound() < 1e-3);
    }

    /** A prompt in chunks, each against all keys so far, has the same bound as the whole. */
    @ParameterizedTest
    @MethodSource("backends")
    void chunkedPrefillIsWhole(MlaBackend backend) {
        for (AttentionOptions options : List.of(AttentionOptions.causal(0.1f),
                AttentionOptions.causal(0.1f).withWindow(50))) {
            PrefillCase whole = PrefillCase.self(6, 3, 333).withOptions(options);
            try (Arena arena = Arena.ofShared()) {
                PrefillCase.Data data = whole.data(arena);
                ExpectedAttention expected = whole.expected(data);
                whole.run(backend, data, data.lse(), Execution.shared());
                expected.check(whole + " at once on backend " + backend.name(), data.out(), data.lse());
                int from = 0;
                for (int chunk : new int[] {1, 64, 0, 100, 7, 161}) {
                    int to = from + chunk;
                    Layout.Placed out = Layout.CONTIGUOUS.place(arena, DType.F32, chunk, 3, 128);
                    Layout.Placed lse = Layout.CONTIGUOUS.place(arena, DType.F32, chunk, 3);
                    backend.prefill(data.query().slice(0, from, to), data.keys().slice(0, 0, to),
                            data.ropeKeys().slice(0, 0, to), data.values().slice(0, 0, to),
                            new Ragged(new int[] {chunk}, new int[] {to}), options, out.view(), lse.view(),
                            Execution.shared());
                    expected.part(from, to).check(whole + " from " + from + " to " + to + " on backend "
                            + backend.name(), out, lse);
                    from = to;
                }
                assertEquals(333, from);
            }
        }
    }

    /** The same records through the library's own cache, written in parts, forked and cut, and page by page. */
    @ParameterizedTest
    @MethodSource("backends")
    void decodeFromTheCache(MlaBackend backend) {
        Mla mla = Mla.on(backend.name());
        for (CacheFormat format : CacheFormat.values()) {
            DecodeCase decode = DecodeCase.plain(8, 5, 200, 130, 40).withQueries(2, 1, 3).withFormat(format);
            try (Arena arena = Arena.ofShared();
                    LatentKvCache cache = LatentKvCache.allocate(512, 64, format, 2, 60, 7)) {
                DecodeCase.Data data = decode.data(arena);
                List<LatentKvCache.Sequence> sequences = List.of(cache.open(), cache.open(), cache.open());
                cache.extend(sequences, 150, 100, 40);
                write(cache, sequences, decode.records(), new int[] {0, 0, 0}, new int[] {150, 100, 40}, arena);
                cache.extend(sequences, 50, 30, 0);
                write(cache, sequences, decode.records(), new int[] {150, 100, 40}, new int[] {200, 130, 40}, arena);
                ExpectedAttention expected = decode.expected(data);
                mla.decode(data.query().view(), cache, 1, sequences, decode.queries(), decode.options(),
                        data.out().view(), data.lse().view());
                expected.check(decode + " from the cache, backend " + backend.name(), data.out(), data.lse());
                // A fork of 60 tokens that goes on with other ones, while its origin stays.
                LatentKvCache.Sequence fork = sequences.get(0).fork(60);
                cache.extend(List.of(fork), 30);
                try (Tensor zeros = Tensor.allocate(DType.F32, Shape.of(30, 512));
                        Tensor zeroKeys = Tensor.allocate(DType.F32, Shape.of(30, 64))) {
                    cache.write(1, List.of(fork), new int[] {30}, zeros, zeroKeys);
                }
                mla.decode(data.query().view(), cache, 1, sequences, decode.queries(), decode.options(),
                        data.out().view(), null);
                expected.check(decode + " beside a fork, backend " + backend.name(), data.out(), null);
            }
        }
    }

    private static void write(LatentKvCache cache, List<LatentKvCache.Sequence> sequences, float[][][] records,
            int[] from, int[] to, Arena arena) {
        int[] tokens = new int[from.length];
        int total = 0;
        for (int s = 0; s < from.length; s++) {
            tokens[s] = to[s] - from[s];
            total += tokens[s];
        }
        float[] latents = new float[total * 512];
        float[] ropeKeys = new float[total * 64];
        int row = 0;
        for (int s = 0; s < from.length; s++) {
            for (int t = from[s]; t < to[s]; t++, row++) {
                for (int c = 0; c < 576; c++) {
                    float value = records[s][t][c];
                    if (c < 512) {
                        latents[row * 512 + c] = value;
                    } else {
                        ropeKeys[row * 64 + c - 512] = value;
                    }
                }
            }
        }
        Tensor latent = Tensor.allocate(arena, DType.F32, Shape.of(total, 512));
        latent.copyFrom(latents);
        Tensor rope = Tensor.allocate(arena, DType.F32, Shape.of(total, 64));
        rope.copyFrom(ropeKeys);
        cache.write(1, sequences, tokens, latent, rope);
    }
}
