package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** NaN and infinity reach the rows that see them, all of those, and no others. */
@Tag("backend")
class AttentionNanTest {
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final float[] SPECIALS = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY};

    static List<Named<MlaBackend>> backends() {
        return TestedBackends.all().stream().map(b -> Named.of(b.name(), b)).toList();
    }

    /**
     * All that no token owns, unused pages and the ends of the last ones, changes from NaN to infinity, then to large
     * numbers: no bit of the result changes.
     */
    @ParameterizedTest
    @MethodSource("backends")
    void whatNoTokenOwnsHasNoInfluence(MlaBackend backend) {
        for (CacheFormat format : CacheFormat.values()) {
            DecodeCase decode = DecodeCase.plain(1, 5, 0, 1, 63, 64, 65, 3000).withFormat(format);
            try (Arena arena = Arena.ofShared()) {
                DecodeCase.Data data = decode.data(arena);
                decode.run(backend, data, Execution.shared());
                byte[] expected = data.out().memory().toArray(ValueLayout.JAVA_BYTE);
                for (float value : data.out().view().toFloatArray()) {
                    assertTrue(Float.isFinite(value), decode.toString());
                }
                for (int pattern : new int[] {0x7F80, 0xFF80, 0x7F7F, 0x0000}) {
                    refill(data.pages().paged(), (short) pattern);
                    decode.run(backend, data, Execution.shared());
                    assertArrayEquals(expected, data.out().memory().toArray(ValueLayout.JAVA_BYTE),
                            decode + " with " + Integer.toHexString(pattern) + " around");
                }
            }
        }
    }

    private static void refill(PagedLatents paged, short pattern) {
        MemorySegment all = paged.pages().segment();
        try (Tensor copy = paged.pages().copy()) {
            for (long at = 0; at < all.byteSize(); at += 2) {
                all.set(I16, at, pattern);
            }
            for (int s = 0; s < paged.sequences(); s++) {
                for (int t = 0; t < paged.lengths()[s]; t++) {
                    long at = paged.offset(s, t);
                    MemorySegment.copy(copy.segment(), at, all, at, paged.bytesPerToken());
                }
            }
        }
    }

    /** One value of one token's record, in the latent and in the rotary key, against the definition. */
    @ParameterizedTest
    @EnumSource(CacheFormat.class)
    void cachedTokens(CacheFormat format) {
        AttentionOptions causal = AttentionOptions.causal(0.1f);
        for (AttentionOptions options : List.of(causal, causal.withWindow(3), AttentionOptions.bidirectional(0.1f))) {
            DecodeCase decode = DecodeCase.plain(2, 3, 130, 20).withQueries(6, 2).withOptions(options)
                    .withFormat(format);
            for (int place : new int[] {0, 511, 512, 575}) {
                checkRecords(decode, place, Float.NaN, 127);
                checkRecords(decode, place, Float.NaN, 60);
            }
            for (float special : SPECIALS) {
                checkRecords(decode, 300, special, 127);
                checkRecords(decode, 550, special, 127);
            }
        }
    }

    private static void checkRecords(DecodeCase decode, int place, float special, int token) {
        float[][][] records = LatentPages.gaussian(new SplittableRandom(5), 512, 64, decode.lengths());
        records[0][token][place] = special;
        String what = decode + ", " + special + " in value " + place + " of token " + token + ", backend ";
        try (Arena arena = Arena.ofShared()) {
            DecodeCase.Data data = decode.data(arena, records);
            ExpectedAttention expected = decode.expected(data);
            for (int q = 0; q < 8 && Float.isNaN(special); q++) {
                long position = 124 + q;
                boolean sees = q < 6 && token >= decode.options().firstKey(position)
                        && token < decode.options().endKey(position, 130);
                for (int h = 0; h < 3; h++) {
                    assertEquals(sees, Double.isNaN(expected.lse(q, h)), what + "none, query " + q);
                }
            }
            for (MlaBackend backend : TestedBackends.all()) {
                decode.run(backend, data, Execution.shared());
                expected.check(what + backend.name(), data.out(), data.lse());
            }
        }
    }

    /** A value of one query changes the rows of that token and head alone. */
    @ParameterizedTest
    @MethodSource("backends")
    void queries(MlaBackend backend) {
        DecodeCase decode = DecodeCase.plain(3, 5, 130, 20, 1500).withQueries(3, 2, 1);
        PrefillCase prefill = PrefillCase.plain(3, 5, new int[] {3, 2, 1}, new int[] {130, 20, 1500});
        for (float special : SPECIALS) {
            try (Arena arena = Arena.ofShared()) {
                DecodeCase.Data data = decode.data(arena);
                set(data.query().view(), special, 1, 2, 5);
                set(data.query().view(), special, 5, 4, 575);
                ExpectedAttention expected = decode.expected(data);
                assertTrue(Double.isNaN(expected.out(1, 2)[0]) && !Double.isNaN(expected.out(1, 3)[0]));
                decode.run(backend, data, Execution.shared());
                expected.check(decode + ", " + special + " in a query, backend " + backend.name(), data.out(),
                        data.lse());
                PrefillCase.Data prefillData = prefill.data(arena);
                set(prefillData.query(), special, 1, 2, 5);
                set(prefillData.query(), special, 5, 4, 191);
                expected = prefill.expected(prefillData);
                prefill.run(backend, prefillData, prefillData.lse(), Execution.shared());
                expected.check(prefill + ", " + special + " in a query, backend " + backend.name(), prefillData.out(),
                        prefillData.lse());
            }
        }
    }

    /** In a key or a shared key: whole rows. In a value: one column of the rows that see it. */
    @ParameterizedTest
    @MethodSource("backends")
    void keysAndValues(MlaBackend backend) {
        AttentionOptions causal = AttentionOptions.causal(0.1f);
        for (AttentionOptions options : List.of(causal, causal.withWindow(5), AttentionOptions.bidirectional(0.1f))) {
            for (float special : SPECIALS) {
                for (int which = 0; which < 3; which++) {
                    PrefillCase prefill = PrefillCase.self(which, 3, 10, 200, 7).withOptions(options);
                    try (Arena arena = Arena.ofShared()) {
                        PrefillCase.Data data = prefill.data(arena);
                        switch (which) {
                            case 0 -> set(data.keys(), special, 110, 1, 77);
                            case 1 -> data.ropeKeys().slice(0, 110, 111).slice(1, 3, 4)
                                    .copyFrom(new float[] {special});
                            default -> set(data.values(), special, 110, 1, 77);
                        }
                        ExpectedAttention expected = prefill.expected(data);
                        if (which == 2) {
                            assertTrue(Double.isFinite(expected.out(110, 1)[76])
                                    && !Double.isFinite(expected.out(110, 1)[77]));
                        }
                        prefill.run(backend, data, data.lse(), Execution.shared());
                        expected.check(prefill + ", " + special + " in operand " + which + ", backend "
                                + backend.name(), data.out(), data.lse());
                    }
                }
            }
        }
    }

    private static void set(Tensor t, float value, int i, int j, int k) {
        t.slice(0, i, i + 1).slice(1, j, j + 1).slice(2, k, k + 1).copyFrom(new float[] {value});
    }

    /** Rows that see nothing are 0 and +Infinity, in outputs of BF16 and without any key, too. */
    @ParameterizedTest
    @MethodSource("backends")
    void nothingToSee(MlaBackend backend) {
        List<DecodeCase> cases = new ArrayList<>();
        cases.add(DecodeCase.plain(1, 3, 0, 0).withQueries(2, 1));
        cases.add(DecodeCase.plain(1, 17, 2, 0).withQueries(20, 2).withTypes(DType.BF16, DType.BF16));
        cases.add(DecodeCase.plain(1, 3, 0).withOptions(AttentionOptions.bidirectional(1)));
        for (DecodeCase decode : cases) {
            try (Arena arena = Arena.ofShared()) {
                DecodeCase.Data data = decode.data(arena);
                decode.run(backend, data, Execution.shared());
                float[] lse = data.lse().view().toFloatArray();
                float[] out = data.out().view().toFloatArray();
                int empty = 0;
                for (int i = 0; i < lse.length; i++) {
                    if (lse[i] == Float.POSITIVE_INFINITY) {
                        empty++;
                        for (int c = 0; c < 512; c++) {
                            assertEquals(0, Float.floatToRawIntBits(out[i * 512 + c]), decode.toString());
                        }
                    }
                }
                int sighted = decode.lengths()[0] == 2 ? 2 * 17 : 0;
                assertEquals(lse.length - sighted, empty, decode + " on backend " + backend.name());
            }
        }
        try (Tensor query = Tensor.allocate(DType.F32, Shape.of(2, 3, 4));
                Tensor none = Tensor.allocate(DType.F32, Shape.of(0, 3, 4));
                Tensor out = Tensor.allocate(DType.F32, Shape.of(2, 3, 4));
                Tensor lse = Tensor.allocate(DType.F32, Shape.of(2, 3))) {
            out.segment().fill((byte) 0xFF);
            backend.prefill(query, none, null, none, new Ragged(new int[] {2}, new int[] {0}),
                    AttentionOptions.bidirectional(1), out, lse, Execution.shared());
            assertArrayEquals(new float[24], out.toFloatArray());
            for (float x : lse.toFloatArray()) {
                assertEquals(Float.POSITIVE_INFINITY, x);
            }
        }
    }
}
