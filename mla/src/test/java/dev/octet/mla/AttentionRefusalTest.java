package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Elsewhere;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.jspecify.annotations.Nullable;

/** What attention refuses: with which message, and with its outputs untouched. */
@Tag("backend")
class AttentionRefusalTest {
    private static final AttentionOptions CAUSAL = AttentionOptions.causal(1);

    private final Arena arena = Arena.ofShared();
    /** Every tensor that a call may write to. */
    private final List<Tensor> outputs = new ArrayList<>();
    private LatentKvCache cache;
    private LatentKvCache.Sequence sequence;

    @BeforeEach
    void fillCache() {
        cache = LatentKvCache.allocate(arena, 8, 2, CacheFormat.BF16, 2, 10, 4);
        sequence = cache.open();
        cache.extend(List.of(sequence), 5);
    }

    @AfterEach
    void free() {
        cache.close();
        arena.close();
    }

    private Tensor input(DType dtype, long... dims) {
        return Tensor.allocate(arena, dtype, Shape.of(dims));
    }

    private Tensor f32(long... dims) {
        return input(DType.F32, dims);
    }

    private Tensor output(DType dtype, long... dims) {
        Tensor t = input(dtype, dims);
        t.segment().fill((byte) 0xFF);
        outputs.add(t);
        return t;
    }

    private Tensor out(long... dims) {
        return output(DType.F32, dims);
    }

    private Tensor closed(long... dims) {
        Tensor t = Tensor.allocate(DType.F32, Shape.of(dims));
        t.close();
        return t;
    }

    /** A call with one backend. */
    private interface Call {
        void on(Mla mla);
    }

    private void refused(Class<? extends RuntimeException> type, String message, Call call) {
        List<Mla> all = new ArrayList<>(TestedBackends.names().map(Mla::on).toList());
        all.add(Mla.auto());
        for (Mla mla : all) {
            RuntimeException e = assertThrows(type, () -> call.on(mla), message);
            assertTrue(e.getMessage().startsWith(message), e.getMessage());
            for (Tensor t : outputs) {
                for (byte b : t.segment().toArray(ValueLayout.JAVA_BYTE)) {
                    assertEquals(-1, b, message);
                }
            }
        }
    }

    private void illegal(String message, Call call) {
        refused(IllegalArgumentException.class, message, call);
    }

    // ---------------------------------------------------------------------------------------------- prefill

    /** A prefill of 3 queries, 5 keys, 2 heads of 4 + 2 by 6, one of whose arguments a test replaces. */
    private final class Prefill implements Call {
        Tensor query = f32(3, 2, 6);
        Tensor keys = f32(5, 2, 4);
        @Nullable Tensor ropeKeys = f32(5, 2);
        Tensor values = f32(5, 2, 6);
        Ragged lengths = new Ragged(new int[] {3}, new int[] {5});
        Tensor out = AttentionRefusalTest.this.out(3, 2, 6);
        @Nullable Tensor lse = AttentionRefusalTest.this.out(3, 2);

        @Override
        public void on(Mla mla) {
            mla.prefill(query, keys, ropeKeys, values, lengths, CAUSAL, out, lse);
        }
    }

    /** Changes one argument of a prefill that is right otherwise. */
    private interface PrefillChange {
        void to(Prefill p);
    }

    private void prefill(String message, PrefillChange change) {
        Prefill p = new Prefill();
        change.to(p);
        illegal(message, p);
    }

    @Test
    void prefillTakesTheRightArguments() {
        new Prefill().on(Mla.auto());
        outputs.clear();
    }

    @Test
    void prefillShapes() {
        prefill("query has shape [3, 12], it must have 3 dimensions", p -> p.query = f32(3, 12));
        prefill("keys has shape [5, 8], it must have 3 dimensions", p -> p.keys = f32(5, 8));
        prefill("ropeKeys has shape [5, 2, 1], it must have 2 dimensions", p -> p.ropeKeys = f32(5, 2, 1));
        prefill("values has shape [60], it must have 3 dimensions", p -> p.values = f32(60));
        prefill("out has shape [3, 12], it must have 3 dimensions", p -> p.out = out(3, 12));
        prefill("query has 2 heads, keys 1 and values 2", p -> p.keys = f32(5, 1, 4));
        prefill("query has 2 heads, keys 2 and values 3", p -> p.values = f32(5, 3, 6));
        prefill("values has 4 tokens, keys 5", p -> p.values = f32(4, 2, 6));
        prefill("ropeKeys has shape [4, 2], it must be [5, 2]", p -> p.ropeKeys = f32(4, 2));
        prefill("query has shape [3, 2, 6], keys [5, 2, 4] and ropeKeys take a last dimension of 7",
                p -> p.ropeKeys = f32(5, 3));
        prefill("query has shape [3, 2, 6], keys [5, 2, 4] and ropeKeys take a last dimension of 4",
                p -> p.ropeKeys = null);
        prefill("lengths has 2 queries and 5 keys", p -> p.lengths = new Ragged(new int[] {2}, new int[] {5}));
        prefill("lengths has 3 queries and 6 keys", p -> p.lengths = new Ragged(new int[] {3, 0}, new int[] {5, 1}));
        prefill("out has shape [3, 2, 5], it must be [3, 2, 6]", p -> p.out = out(3, 2, 5));
        prefill("lse has shape [2, 3], it must be [3, 2]", p -> p.lse = out(2, 3));
    }

    @Test
    void prefillTypes() {
        for (DType dtype : DType.values()) {
            if (dtype != DType.F32 && dtype != DType.BF16) {
                prefill("query is " + dtype, p -> p.query = input(dtype, 3, 2, 6));
                prefill("keys is " + dtype, p -> p.keys = input(dtype, 5, 2, 4));
                prefill("ropeKeys is " + dtype, p -> p.ropeKeys = input(dtype, 5, 2));
                prefill("values is " + dtype, p -> p.values = input(dtype, 5, 2, 6));
                prefill("out is " + dtype, p -> p.out = output(dtype, 3, 2, 6));
            }
            if (dtype != DType.F32) {
                prefill("lse is " + dtype, p -> p.lse = output(dtype, 3, 2));
            }
        }
    }

    @Test
    void prefillDevices() {
        prefill("keys is on cuda:0, it must be on cpu", p -> p.keys = Elsewhere.tensor(DType.F32, 5, 2, 4));
        prefill("ropeKeys is on cuda:0, it must be on cpu", p -> p.ropeKeys = Elsewhere.tensor(DType.F32, 5, 2));
        prefill("values is on cuda:0, it must be on cpu", p -> p.values = Elsewhere.tensor(DType.F32, 5, 2, 6));
        prefill("out is on cuda:0, it must be on cpu", p -> p.out = Elsewhere.tensor(DType.F32, 3, 2, 6));
        prefill("lse is on cuda:0, it must be on cpu", p -> p.lse = Elsewhere.tensor(DType.F32, 3, 2));
    }

    @Test
    void prefillClosed() {
        closedPrefill("query is closed", p -> p.query = closed(3, 2, 6));
        closedPrefill("keys is closed", p -> p.keys = closed(5, 2, 4));
        closedPrefill("ropeKeys is closed", p -> p.ropeKeys = closed(5, 2));
        closedPrefill("values is closed", p -> p.values = closed(5, 2, 6));
        closedPrefill("out is closed", p -> p.out = closed(3, 2, 6));
        closedPrefill("lse is closed", p -> p.lse = closed(3, 2));
    }

    private void closedPrefill(String message, PrefillChange change) {
        Prefill p = new Prefill();
        change.to(p);
        refused(IllegalStateException.class, message, p);
    }

    // ---------------------------------------------------------------------------------------------- decode

    @Test
    void decodeShapesAndTypes() {
        Tensor query = f32(2, 3, 10);
        Tensor out = out(2, 3, 8);
        Tensor lse = out(2, 3);
        int[] two = {2};
        List<LatentKvCache.Sequence> one = List.of(sequence);
        illegal("query has shape [2, 30], it must have 3 dimensions",
                m -> m.decode(f32(2, 30), cache, 0, one, two, CAUSAL, out, lse));
        illegal("query has shape [2, 3, 9], the cache takes a last dimension of 10",
                m -> m.decode(f32(2, 3, 9), cache, 0, one, two, CAUSAL, out, lse));
        illegal("out has shape [2, 24], it must have 3 dimensions",
                m -> m.decode(query, cache, 0, one, two, CAUSAL, out(2, 24), lse));
        illegal("out has shape [2, 3, 10], it must be [2, 3, 8]",
                m -> m.decode(query, cache, 0, one, two, CAUSAL, out(2, 3, 10), lse));
        illegal("lse has shape [3, 2], it must be [2, 3]",
                m -> m.decode(query, cache, 0, one, two, CAUSAL, out, out(3, 2)));
        illegal("queries has 2 entries, there are 1 sequences",
                m -> m.decode(query, cache, 0, one, new int[] {1, 1}, CAUSAL, out, lse));
        illegal("queries[0] is -1", m -> m.decode(query, cache, 0, one, new int[] {-1}, CAUSAL, out, lse));
        illegal("queries has 3 tokens, query 2", m -> m.decode(query, cache, 0, one, new int[] {3}, CAUSAL, out, lse));
        for (DType dtype : DType.values()) {
            if (dtype != DType.F32 && dtype != DType.BF16) {
                illegal("query is " + dtype,
                        m -> m.decode(input(dtype, 2, 3, 10), cache, 0, one, two, CAUSAL, out, lse));
                illegal("out is " + dtype,
                        m -> m.decode(query, cache, 0, one, two, CAUSAL, output(dtype, 2, 3, 8), lse));
            }
            if (dtype != DType.F32) {
                illegal("lse is " + dtype,
                        m -> m.decode(query, cache, 0, one, two, CAUSAL, out, output(dtype, 2, 3)));
            }
        }
    }

    @Test
    void decodeDevicesAndLifetimes() {
        Tensor query = f32(2, 3, 10);
        Tensor out = out(2, 3, 8);
        Tensor lse = out(2, 3);
        int[] two = {2};
        List<LatentKvCache.Sequence> one = List.of(sequence);
        illegal("query is on cuda:0, it must be on cpu", m -> m.decode(Elsewhere.tensor(DType.F32, 2, 3, 10), cache, 0,
                one, two, CAUSAL, out, lse));
        illegal("out is on cuda:0, it must be on cpu", m -> m.decode(query, cache, 0, one, two, CAUSAL,
                Elsewhere.tensor(DType.F32, 2, 3, 8), lse));
        illegal("lse is on cuda:0, it must be on cpu", m -> m.decode(query, cache, 0, one, two, CAUSAL, out,
                Elsewhere.tensor(DType.F32, 2, 3)));
        refused(IllegalStateException.class, "query is closed",
                m -> m.decode(closed(2, 3, 10), cache, 0, one, two, CAUSAL, out, lse));
        refused(IllegalStateException.class, "out is closed",
                m -> m.decode(query, cache, 0, one, two, CAUSAL, closed(2, 3, 8), lse));
        refused(IllegalStateException.class, "lse is closed",
                m -> m.decode(query, cache, 0, one, two, CAUSAL, out, closed(2, 3)));
    }

    @Test
    void decodeSequencesAndLayers() {
        Tensor query = f32(2, 3, 10);
        Tensor out = out(2, 3, 8);
        int[] two = {2};
        illegal("layer is 2", m -> m.decode(query, cache, 2, List.of(sequence), two, CAUSAL, out, null));
        illegal("layer is -1", m -> m.decode(query, cache, -1, List.of(sequence), two, CAUSAL, out, null));
        assertThrows(IllegalArgumentException.class, () -> Mla.auto().decode(query, cache, 0,
                List.of(sequence, sequence), new int[] {1, 1}, CAUSAL, out, null));
        try (LatentKvCache other = LatentKvCache.allocate(8, 2, CacheFormat.BF16, 1, 3, 4)) {
            LatentKvCache.Sequence foreign = other.open();
            assertThrows(IllegalArgumentException.class,
                    () -> Mla.auto().decode(query, cache, 0, List.of(foreign), two, CAUSAL, out, null));
        }
        LatentKvCache.Sequence gone = cache.open();
        gone.close();
        assertThrows(IllegalStateException.class,
                () -> Mla.auto().decode(query, cache, 0, List.of(gone), two, CAUSAL, out, null));
        for (byte b : out.segment().toArray(ValueLayout.JAVA_BYTE)) {
            assertEquals(-1, b);
        }
    }

    // ---------------------------------------------------------------------------------------------- merge

    @Test
    void merge() {
        Tensor a = f32(2, 3, 4);
        Tensor l = f32(2, 3);
        Tensor out = out(2, 3, 4);
        Tensor lse = out(2, 3);
        illegal("outA has shape [2, 12], it must have 3 dimensions", m -> m.merge(f32(2, 12), l, a, l, out, lse));
        illegal("outB has shape [2, 3, 5], it must be [2, 3, 4]", m -> m.merge(a, l, f32(2, 3, 5), l, out, lse));
        illegal("out has shape [3, 2, 4], it must be [2, 3, 4]", m -> m.merge(a, l, a, l, out(3, 2, 4), lse));
        illegal("lseA has shape [3, 2], it must be [2, 3]", m -> m.merge(a, f32(3, 2), a, l, out, lse));
        illegal("lseB has shape [6], it must be [2, 3]", m -> m.merge(a, l, a, f32(6), out, lse));
        illegal("lse has shape [2, 4], it must be [2, 3]", m -> m.merge(a, l, a, l, out, out(2, 4)));
        illegal("outA is U8", m -> m.merge(input(DType.U8, 2, 3, 4), l, a, l, out, lse));
        illegal("outB is F16", m -> m.merge(a, l, input(DType.F16, 2, 3, 4), l, out, lse));
        illegal("out is F8_E4M3", m -> m.merge(a, l, a, l, output(DType.F8_E4M3, 2, 3, 4), lse));
        illegal("lseA is BF16", m -> m.merge(a, input(DType.BF16, 2, 3), a, l, out, lse));
        illegal("lseB is BF16", m -> m.merge(a, l, a, input(DType.BF16, 2, 3), out, lse));
        illegal("lse is BF16", m -> m.merge(a, l, a, l, out, output(DType.BF16, 2, 3)));
        Tensor far = Elsewhere.tensor(DType.F32, 2, 3, 4);
        Tensor farLse = Elsewhere.tensor(DType.F32, 2, 3);
        illegal("outB is on cuda:0", m -> m.merge(a, l, far, l, out, lse));
        illegal("out is on cuda:0", m -> m.merge(a, l, a, l, far, lse));
        illegal("lseA is on cuda:0", m -> m.merge(a, farLse, a, l, out, lse));
        illegal("lseB is on cuda:0", m -> m.merge(a, l, a, farLse, out, lse));
        illegal("lse is on cuda:0", m -> m.merge(a, l, a, l, out, farLse));
        Tensor gone = closed(2, 3, 4);
        Tensor goneLse = closed(2, 3);
        refused(IllegalStateException.class, "outA is closed", m -> m.merge(gone, l, a, l, out, lse));
        refused(IllegalStateException.class, "outB is closed", m -> m.merge(a, l, gone, l, out, lse));
        refused(IllegalStateException.class, "out is closed", m -> m.merge(a, l, a, l, gone, lse));
        refused(IllegalStateException.class, "lseA is closed", m -> m.merge(a, goneLse, a, l, out, lse));
        refused(IllegalStateException.class, "lseB is closed", m -> m.merge(a, l, a, goneLse, out, lse));
        refused(IllegalStateException.class, "lse is closed", m -> m.merge(a, l, a, l, out, goneLse));
    }

    // ---------------------------------------------------------------------------------------------- descriptors

    @Test
    void optionsAndLengths() {
        for (float scale : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                    () -> AttentionOptions.causal(scale));
            assertTrue(e.getMessage().startsWith("scale is " + scale), e.getMessage());
        }
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> CAUSAL.withWindow(-1));
        assertTrue(e.getMessage().startsWith("window is -1"), e.getMessage());
        e = assertThrows(IllegalArgumentException.class, () -> AttentionOptions.bidirectional(1).withWindow(4));
        assertTrue(e.getMessage().startsWith("window is 4"), e.getMessage());
        e = assertThrows(IllegalArgumentException.class, () -> new Ragged(new int[] {1, -2}, new int[] {1, 2}));
        assertTrue(e.getMessage().startsWith("queries[1] is -2"), e.getMessage());
        e = assertThrows(IllegalArgumentException.class, () -> new Ragged(new int[] {1}, new int[] {-3}));
        assertTrue(e.getMessage().startsWith("keys[0] is -3"), e.getMessage());
        e = assertThrows(IllegalArgumentException.class, () -> new Ragged(new int[] {1}, new int[] {3, 4}));
        assertTrue(e.getMessage().startsWith("queries has 1 sequences and keys 2"), e.getMessage());
    }

    /** Tensors that all lie on a device which a named CPU backend does not take. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void wrongBackend(String backend) {
        Tensor t = Elsewhere.tensor(DType.F32, 1, 1, 4);
        Tensor lse = Elsewhere.tensor(DType.F32, 1, 1);
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> Mla.on(backend).prefill(t, t, null, t, Ragged.self(1), CAUSAL, t, lse));
        assertTrue(e.getMessage().startsWith("backend " + backend + " takes tensors on CPU"), e.getMessage());
        e = assertThrows(IllegalArgumentException.class, () -> Mla.on(backend).merge(t, lse, t, lse, t, lse));
        assertTrue(e.getMessage().startsWith("backend " + backend + " takes tensors on CPU"), e.getMessage());
    }

    @Test
    void unknownBackend() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Mla.on("abacus"));
        assertTrue(e.getMessage().startsWith("backend 'abacus' is not there; found: "), e.getMessage());
    }
}
