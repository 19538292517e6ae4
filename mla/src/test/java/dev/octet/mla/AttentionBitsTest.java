package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.DType;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.spi.MlaBackend;
import dev.octet.mla.spi.PagedLatents;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What may not change a single bit: threads, callers, page sizes, other sequences in the batch, strides. */
@Tag("backend")
class AttentionBitsTest {
    /** Long and short sequences, so that kernels split some and not others. */
    private static DecodeCase mixed(long seed) {
        return DecodeCase.plain(seed, 6, 3000, 7, 0, 200, 1025).withQueries(2, 1, 1, 3, 1)
                .withFormat(CacheFormat.values()[(int) seed % 3]).withOptions(AttentionOptions.causal(0.1f));
    }

    private static byte[] bytes(MemorySegment... parts) {
        int size = 0;
        for (MemorySegment part : parts) {
            size += (int) part.byteSize();
        }
        byte[] all = new byte[size];
        int at = 0;
        for (MemorySegment part : parts) {
            MemorySegment.copy(part, ValueLayout.JAVA_BYTE, 0, all, at, (int) part.byteSize());
            at += (int) part.byteSize();
        }
        return all;
    }

    /** Runs on outputs full of NaN and returns all of their bytes. */
    private static byte[] bits(DecodeCase decode, DecodeCase.Data data, MlaBackend backend, Execution execution) {
        data.out().memory().fill((byte) 0xFF);
        data.lse().memory().fill((byte) 0xFF);
        decode.run(backend, data, execution);
        return bytes(data.out().memory(), data.lse().memory());
    }

    private static byte[] bits(PrefillCase prefill, PrefillCase.Data data, MlaBackend backend, Execution execution) {
        data.out().memory().fill((byte) 0xFF);
        data.lse().memory().fill((byte) 0xFF);
        prefill.run(backend, data, data.lse(), execution);
        return bytes(data.out().memory(), data.lse().memory());
    }

    static List<Named<MlaBackend>> backends() {
        return TestedBackends.all().stream().map(b -> Named.of(b.name(), b)).toList();
    }

    @ParameterizedTest
    @MethodSource("backends")
    void everyPoolGivesTheSameBits(MlaBackend backend) {
        PrefillCase prefill = PrefillCase.plain(3, 3, new int[] {130, 1, 70}, new int[] {130, 1500, 300});
        try (Arena arena = Arena.ofShared()) {
            PrefillCase.Data prefillData = prefill.data(arena);
            byte[] prefillBits = bits(prefill, prefillData, backend, Execution.shared());
            for (long seed = 0; seed < 3; seed++) {
                DecodeCase decode = mixed(seed);
                DecodeCase.Data data = decode.data(arena);
                byte[] decodeBits = bits(decode, data, backend, Execution.shared());
                for (int threads : new int[] {1, 2, 3, 5}) {
                    try (CpuPool pool = new CpuPool(threads)) {
                        Execution execution = new Execution(pool);
                        assertArrayEquals(decodeBits, bits(decode, data, backend, execution),
                                decode + ", " + threads + " threads");
                        assertArrayEquals(prefillBits, bits(prefill, prefillData, backend, execution),
                                prefill + ", " + threads + " threads");
                    }
                }
            }
        }
    }

    /** Callers in parallel share a pool; scratch memory belongs to each. */
    @ParameterizedTest
    @MethodSource("backends")
    void callersInParallelGetTheSameBits(MlaBackend backend) throws Exception {
        DecodeCase decode = mixed(1);
        PrefillCase prefill = PrefillCase.self(5, 2, 150, 40);
        try (Arena arena = Arena.ofShared(); CpuPool pool = new CpuPool(2);
                ExecutorService callers = Executors.newFixedThreadPool(4)) {
            Execution execution = new Execution(pool);
            byte[] decodeAlone = bits(decode, decode.data(arena), backend, execution);
            byte[] prefillAlone = bits(prefill, prefill.data(arena), backend, execution);
            List<Future<byte[]>> decodes = new ArrayList<>();
            List<Future<byte[]>> prefills = new ArrayList<>();
            for (int i = 0; i < 6; i++) {
                decodes.add(callers.submit(() -> bits(decode, decode.data(arena), backend, execution)));
                prefills.add(callers.submit(() -> bits(prefill, prefill.data(arena), backend, execution)));
            }
            for (int i = 0; i < 6; i++) {
                assertArrayEquals(decodeAlone, decodes.get(i).get(), decode.toString());
                assertArrayEquals(prefillAlone, prefills.get(i).get(), prefill.toString());
            }
        }
    }

    /** Memory of a confined arena belongs to one thread: the caller works alone, and the bits are the same. */
    @ParameterizedTest
    @MethodSource("backends")
    void confinedMemory(MlaBackend backend) {
        DecodeCase decode = mixed(2);
        PrefillCase prefill = PrefillCase.self(5, 2, 150, 40);
        try (Arena shared = Arena.ofShared(); Arena confined = Arena.ofConfined(); CpuPool pool = new CpuPool(3)) {
            Execution execution = new Execution(pool);
            assertArrayEquals(bits(decode, decode.data(shared), backend, execution),
                    bits(decode, decode.data(confined), backend, execution), decode.toString());
            assertArrayEquals(bits(prefill, prefill.data(shared), backend, execution),
                    bits(prefill, prefill.data(confined), backend, execution), prefill.toString());
        }
    }

    /** Pages of 1, 7, 64 and 100 tokens against one page that holds a whole sequence. */
    @ParameterizedTest
    @MethodSource("backends")
    void pageSizes(MlaBackend backend) {
        for (long seed = 0; seed < 3; seed++) {
            DecodeCase whole = mixed(seed).withPages(3000);
            try (Arena arena = Arena.ofShared()) {
                byte[] expected = bits(whole, whole.data(arena), backend, Execution.shared());
                for (int size : new int[] {1, 7, 64, 100}) {
                    DecodeCase paged = whole.withPages(size);
                    assertArrayEquals(expected, bits(paged, paged.data(arena), backend, Execution.shared()),
                            paged.toString());
                }
            }
        }
    }

    /** Two sequences that share the pages of their common beginning give what two with pages of their own give. */
    @ParameterizedTest
    @MethodSource("backends")
    void sharedPages(MlaBackend backend) {
        DecodeCase decode = DecodeCase.plain(4, 3, 140, 140).withPages(64).withFormat(CacheFormat.FP8);
        float[][][] records = LatentPages.gaussian(new SplittableRandom(4), 512, 64, 140, 140);
        System.arraycopy(records[0], 0, records[1], 0, 128);
        try (Arena arena = Arena.ofShared()) {
            DecodeCase.Data data = decode.data(arena, records);
            byte[] expected = bits(decode, data, backend, Execution.shared());
            PagedLatents own = data.pages().paged();
            int[][] tables = {own.tables()[0], own.tables()[1].clone()};
            tables[1][0] = tables[0][0];
            tables[1][1] = tables[0][1];
            PagedLatents sharing = new PagedLatents(own.format(), own.kvLoraRank(), own.ropeDim(), own.pages(), tables,
                    own.lengths());
            DecodeCase.Data shared = new DecodeCase.Data(new LatentPages(sharing, data.pages().rows()), data.query(),
                    data.out(), data.lse());
            assertArrayEquals(expected, bits(decode, shared, backend, Execution.shared()), decode.toString());
        }
    }

    /** A sequence gives the same bits alone as in any batch: kernels cut work by a sequence's own lengths. */
    @ParameterizedTest
    @MethodSource("backends")
    void raggedDecodeIsOneByOne(MlaBackend backend) {
        DecodeCase decode = mixed(1);
        try (Arena arena = Arena.ofShared()) {
            DecodeCase.Data data = decode.data(arena);
            bits(decode, data, backend, Execution.shared());
            float[] together = data.out().view().toFloatArray();
            float[] lseTogether = data.lse().view().toFloatArray();
            PagedLatents pages = data.pages().paged();
            int first = 0;
            for (int s = 0; s < decode.lengths().length; s++) {
                int queries = decode.queries()[s];
                PagedLatents one = new PagedLatents(pages.format(), pages.kvLoraRank(), pages.ropeDim(), pages.pages(),
                        new int[][] {pages.tables()[s]}, new int[] {pages.lengths()[s]});
                Tensor out = Tensor.allocate(arena, DType.F32, Shape.of(queries, decode.heads(), decode.kvLoraRank()));
                Tensor lse = Tensor.allocate(arena, DType.F32, Shape.of(queries, decode.heads()));
                backend.decode(data.query().view().slice(0, first, first + queries), one, new int[] {queries},
                        decode.options(), out, lse, Execution.shared());
                assertPart(decode + ", sequence " + s, together, first * decode.heads() * decode.kvLoraRank(), out);
                assertPart(decode + ", sequence " + s, lseTogether, first * decode.heads(), lse);
                first += queries;
            }
        }
    }

    @ParameterizedTest
    @MethodSource("backends")
    void raggedPrefillIsOneByOne(MlaBackend backend) {
        PrefillCase prefill = PrefillCase.plain(7, 3, new int[] {70, 0, 1, 130}, new int[] {70, 5, 2000, 200});
        try (Arena arena = Arena.ofShared()) {
            PrefillCase.Data data = prefill.data(arena);
            bits(prefill, data, backend, Execution.shared());
            float[] together = data.out().view().toFloatArray();
            float[] lseTogether = data.lse().view().toFloatArray();
            int first = 0;
            int firstKey = 0;
            for (int s = 0; s < prefill.lengths().sequences(); s++) {
                int m = prefill.lengths().queries()[s];
                int n = prefill.lengths().keys()[s];
                Tensor out = Tensor.allocate(arena, DType.F32, Shape.of(m, prefill.heads(), prefill.valueDim()));
                Tensor lse = Tensor.allocate(arena, DType.F32, Shape.of(m, prefill.heads()));
                backend.prefill(data.query().slice(0, first, first + m), data.keys().slice(0, firstKey, firstKey + n),
                        data.ropeKeys().slice(0, firstKey, firstKey + n),
                        data.values().slice(0, firstKey, firstKey + n),
                        new Ragged(new int[] {m}, new int[] {n}), prefill.options(), out, lse, Execution.shared());
                assertPart(prefill + ", sequence " + s, together, first * prefill.heads() * prefill.valueDim(), out);
                assertPart(prefill + ", sequence " + s, lseTogether, first * prefill.heads(), lse);
                first += m;
                firstKey += n;
            }
        }
    }

    private static void assertPart(String what, float[] whole, int from, Tensor part) {
        float[] values = part.toFloatArray();
        int differs = Arrays.mismatch(values, 0, values.length, whole, from, from + values.length);
        assertEquals(-1, differs, what + ": value " + differs);
    }
}
