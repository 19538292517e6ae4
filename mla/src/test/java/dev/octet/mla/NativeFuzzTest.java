package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.ffm.NativeBackend;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * Native code through the public operations, with whatever they take: any extents, none at all, more dimensions than
 * there are kernels for, odd addresses, gaps, sparse views, windows, any pages. Results are the scalar backend's, and
 * not a byte beside them is written; what does not fit, or is closed, is refused before anything is written. A failure
 * names its seed; {@code -Doctet.test.seed=N} runs it alone, {@code -Doctet.test.rounds=N} more.
 */
@Tag("backend")
class NativeFuzzTest {
    private static final int[] EXTENTS = {0, 1, 1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 47, 64, 65, 97, 129, 140};
    private static final int[] DIMS = {0, 1, 2, 7, 16, 31, 33, 63, 64, 65, 128, 129, 192};

    /** One round's random choices and memory. */
    private static final class Round {
        final SplittableRandom random;
        final Arena arena;
        final Mla scalar = Mla.on("scalar");
        final Mla tested = Mla.on("native");

        Round(long seed, Arena arena) {
            random = new SplittableRandom(seed);
            this.arena = arena;
        }

        int any(int... of) {
            return of[random.nextInt(of.length)];
        }

        DType type() {
            return random.nextBoolean() ? DType.F32 : DType.BF16;
        }

        Layout.Placed place(DType type, long... dims) {
            return Layout.values()[random.nextInt(Layout.values().length)].place(arena, type, dims);
        }

        Tensor filled(DType type, long... dims) {
            Tensor t = place(type, dims).view();
            float[] values = new float[Math.toIntExact(t.shape().elements())];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextDouble(-1, 1);
            }
            t.copyFrom(values);
            return t;
        }

        AttentionOptions options() {
            AttentionOptions causal = AttentionOptions.causal(0.1f);
            return switch (random.nextInt(4)) {
                case 0 -> AttentionOptions.bidirectional(0.1f);
                case 1 -> causal.withWindow(1 + random.nextInt(100));
                default -> causal;
            };
        }

        void prefill() {
            int sequences = random.nextInt(4);
            int[] queries = new int[sequences];
            int[] keys = new int[sequences];
            for (int s = 0; s < sequences; s++) {
                queries[s] = any(EXTENTS);
                keys[s] = random.nextBoolean() ? queries[s] : any(EXTENTS);
            }
            Ragged lengths = new Ragged(queries, keys);
            boolean large = random.nextInt(10) == 0;
            int heads = random.nextInt(4);
            int own = large ? any(512, 577) : any(DIMS);
            int rope = any(DIMS);
            int dims = large && random.nextBoolean() ? 580 : any(DIMS);
            DType same = type();
            boolean mixed = random.nextBoolean();
            long m = lengths.totalQueries();
            long n = lengths.totalKeys();
            Tensor query = filled(mixed ? type() : same, m, heads, own + rope);
            Tensor k = filled(mixed ? type() : same, n, heads, own);
            Tensor ropeKeys = rope == 0 ? null : filled(mixed ? type() : same, n, rope);
            Tensor v = filled(mixed ? type() : same, n, heads, dims);
            AttentionOptions options = options();
            Layout.Placed out = place(type(), m, heads, dims);
            Layout.Placed lse = random.nextBoolean() ? place(DType.F32, m, heads) : null;
            Tensor expected = Tensor.allocate(arena, out.view().dtype(), out.view().shape());
            Tensor expectedLse = Tensor.allocate(arena, DType.F32, Shape.of(m, heads));
            scalar.prefill(query, k, ropeKeys, v, lengths, options, expected, expectedLse);
            tested.prefill(query, k, ropeKeys, v, lengths, options, out.view(), lse == null ? null : lse.view());
            assertClose(expected, expectedLse, out, lse);
            refused(() -> tested.prefill(query, k, ropeKeys, v, lengths, options,
                    place(DType.F32, m + 1, heads, dims).view(), null));
            refused(() -> tested.prefill(query, k, ropeKeys, filled(DType.F32, n, heads + 1, dims), lengths, options,
                    out.view(), null));
            refused(() -> tested.prefill(query, k, filled(DType.F32, n, rope + 1), v, lengths, options, out.view(),
                    null));
            refused(() -> tested.prefill(query, k, ropeKeys, v, Ragged.self(Math.toIntExact(n) + 1), options,
                    out.view(), null));
            Tensor closed = Tensor.allocate(v.dtype(), v.shape());
            closed.close();
            assertThrows(IllegalStateException.class,
                    () -> tested.prefill(query, k, ropeKeys, closed, lengths, options, out.view(), null));
            assertTrue(out.surroundingsUntouched(), "written though refused");
        }

        void decode() {
            int rank = any(128, 256, 512, 384, 64, 640);
            int rope = any(0, 2, 6, 64, 7);
            CacheFormat format = rank % CacheFormat.TILE != 0 ? CacheFormat.BF16
                    : CacheFormat.values()[random.nextInt(CacheFormat.values().length)];
            int heads = any(0, 1, 3, 16, 20);
            int sequences = random.nextInt(4);
            int pageSize = any(1, 3, 16, 64);
            try (LatentKvCache cache = LatentKvCache.allocate(rank, rope, format, 1, 600 / pageSize + 4, pageSize)) {
                List<LatentKvCache.Sequence> all = new ArrayList<>();
                int[] queries = new int[sequences];
                int[] lengths = new int[sequences];
                int total = 0;
                for (int s = 0; s < sequences; s++) {
                    all.add(cache.open());
                    lengths[s] = any(EXTENTS);
                    queries[s] = random.nextInt(Math.min(lengths[s], 4) + 1);
                    total += queries[s];
                    cache.extend(all.subList(s, s + 1), lengths[s]);
                    cache.write(0, all.subList(s, s + 1), new int[] {lengths[s]}, filled(DType.F32, lengths[s], rank),
                            filled(DType.F32, lengths[s], rope));
                }
                int tokens = total;
                Tensor query = filled(type(), tokens, heads, rank + rope);
                AttentionOptions options = options();
                Layout.Placed out = place(type(), tokens, heads, rank);
                Layout.Placed lse = random.nextBoolean() ? place(DType.F32, tokens, heads) : null;
                Tensor expected = Tensor.allocate(arena, out.view().dtype(), out.view().shape());
                Tensor expectedLse = Tensor.allocate(arena, DType.F32, Shape.of(tokens, heads));
                scalar.decode(query, cache, 0, all, queries, options, expected, expectedLse);
                tested.decode(query, cache, 0, all, queries, options, out.view(), lse == null ? null : lse.view());
                assertClose(expected, expectedLse, out, lse);
                refused(() -> tested.decode(query, cache, 0, all, new int[sequences + 1], options, out.view(), null));
                refused(() -> tested.decode(query, cache, 1, all, queries, options, out.view(), null));
                refused(() -> tested.decode(filled(DType.F32, tokens, heads, rank + rope + 1), cache, 0, all, queries,
                        options, out.view(), null));
                refused(() -> tested.decode(query, cache, 0, all, queries, options,
                        place(DType.F32, tokens, heads, rank + 1).view(), null));
                assertTrue(out.surroundingsUntouched(), "written though refused");
            }
        }

        void projectHeads() {
            int tokens = any(0, 1, 2, 4, 5, 8, 9, 17, 64, 70);
            int heads = random.nextInt(4);
            int even = any(0, 32, 64, 96, 128, 512);
            int other = any(DIMS);
            boolean turned = random.nextBoolean();
            DType weights = random.nextInt(5) == 0 ? DType.F32 : DType.BF16;
            Tensor rows = filled(weights, heads, other, even);
            Tensor weight = turned ? rows.transpose(1, 2) : rows;
            Tensor x = filled(type(), tokens, heads, turned ? other : even);
            int n = turned ? even : other;
            Layout.Placed out = place(type(), tokens, heads, n);
            Tensor expected = Tensor.allocate(arena, out.view().dtype(), out.view().shape());
            scalar.projectHeads(x, weight, expected);
            tested.projectHeads(x, weight, out.view());
            assertClose(expected, expected, out, null);
            refused(() -> tested.projectHeads(x, filled(weights, heads, n, x.dim(2) + 1), out.view()));
            refused(() -> tested.projectHeads(x, weight, place(DType.F32, tokens, heads, n + 1).view()));
            refused(() -> tested.projectHeads(filled(DType.F32, tokens, heads + 1, x.dim(2)), weight, out.view()));
            assertTrue(out.surroundingsUntouched(), "written though refused");
        }

        private void assertClose(Tensor expected, Tensor expectedLse, Layout.Placed out, Layout.@Nullable Placed lse) {
            float[] e = expected.toFloatArray();
            float[] a = out.view().toFloatArray();
            float unit = expected.dtype() == DType.BF16 ? 0x1p-7f : 0;
            for (int i = 0; i < e.length; i++) {
                assertEquals(e[i], a[i], 1e-4f + unit * Math.abs(e[i]), "out " + i + " of " + expected.shape());
            }
            assertTrue(out.surroundingsUntouched(), "memory around out was written");
            if (lse != null) {
                float[] el = expectedLse.toFloatArray();
                float[] al = lse.view().toFloatArray();
                for (int i = 0; i < el.length; i++) {
                    assertEquals(el[i], al[i], 1e-4f, "lse " + i + " of " + expectedLse.shape());
                }
                assertTrue(lse.surroundingsUntouched(), "memory around lse was written");
            }
        }

        private void refused(Runnable call) {
            assertThrows(IllegalArgumentException.class, call::run);
        }
    }

    @Test
    void whateverTheOperationsTake() {
        assumeTrue(new NativeBackend().unavailable().isEmpty(), "needs the native library");
        Long only = Long.getLong("octet.test.seed");
        long rounds = only != null ? only + 1 : Long.getLong("octet.test.rounds", 150);
        for (long seed = only != null ? only : 0; seed < rounds; seed++) {
            try (Arena arena = Arena.ofShared()) {
                Round round = new Round(seed, arena);
                switch ((int) (seed % 3)) {
                    case 0 -> round.prefill();
                    case 1 -> round.decode();
                    default -> round.projectHeads();
                }
            } catch (RuntimeException | Error e) {
                throw new AssertionError("seed " + seed, e);
            }
        }
    }
}
