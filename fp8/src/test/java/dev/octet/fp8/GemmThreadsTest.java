package dev.octet.fp8;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.octet.core.DType;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.GemmCase.Addend;
import dev.octet.fp8.GemmCase.Pairing;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The same bits from every pool, every run and every calling thread. */
@Tag("backend")
class GemmThreadsTest {
    static List<GemmCase> cases() {
        List<GemmCase> cases = new ArrayList<>();
        for (long m : new long[] {1, 3, 17, 130}) {
            for (Pairing pairing : Pairing.values()) {
                cases.add(GemmCase.plain(m, pairing, m, 391, 300)
                        .withEpilogue(DType.F32, Addend.BF16, Activation.SILU));
            }
            cases.add(GemmCase.plain(m, Pairing.FORWARD, m, 391, 300).withOutput(DType.F8_E4M3, ScaleFormat.F32));
            cases.add(GemmCase.plain(m, Pairing.FORWARD, m, 2112, 300).withOutput(DType.BF16, ScaleFormat.F32));
        }
        return cases;
    }

    /** Runs on outputs full of NaN and returns all of their bytes. */
    private static byte[] bits(GemmCase gemm, GemmCase.Data data, Fp8 fp8) {
        if (data.d() != null) {
            data.d().memory().fill((byte) 0xFF);
            gemm.run(fp8, data);
            return data.d().memory().toArray(ValueLayout.JAVA_BYTE);
        }
        MemorySegment codes = data.quantized().codes().segment().fill((byte) 0xFF);
        MemorySegment scales = data.quantized().scales().segment().fill((byte) 0xFF);
        gemm.run(fp8, data);
        byte[] both = Arrays.copyOf(codes.toArray(ValueLayout.JAVA_BYTE), (int) (codes.byteSize() + scales.byteSize()));
        MemorySegment.copy(scales, ValueLayout.JAVA_BYTE, 0, both, (int) codes.byteSize(), (int) scales.byteSize());
        return both;
    }

    @Test
    void everyPoolGivesTheSameBits() {
        for (int threads : new int[] {1, 2, 3, 5}) {
            try (CpuPool pool = new CpuPool(threads); Arena arena = Arena.ofShared()) {
                for (GemmCase gemm : cases()) {
                    GemmCase.Data data = gemm.data(arena, Matrices::random);
                    for (String backend : TestedBackends.names().toList()) {
                        Fp8 fp8 = Fp8.on(backend);
                        byte[] shared = bits(gemm, data, fp8);
                        for (int run = 0; run < 2; run++) {
                            assertArrayEquals(shared, bits(gemm, data, fp8.with(pool)),
                                    gemm + " on backend " + backend + ", " + threads + " threads, run " + run);
                        }
                    }
                }
            }
        }
    }

    /** Callers in parallel share a pool; scratch memory belongs to each. */
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void callersInParallelGetTheSameBits(String backend) throws Exception {
        GemmCase gemm = GemmCase.plain(1, Pairing.FORWARD, 37, 300, 700);
        Fp8 fp8 = Fp8.on(backend);
        try (Arena arena = Arena.ofShared(); CpuPool pool = new CpuPool(2);
                ExecutorService callers = Executors.newFixedThreadPool(4)) {
            byte[] alone = bits(gemm, gemm.data(arena, Matrices::random), fp8);
            List<Future<byte[]>> results = new ArrayList<>();
            for (int i = 0; i < 16; i++) {
                results.add(callers.submit(
                        () -> bits(gemm, gemm.data(arena, Matrices::random), fp8.with(pool))));
            }
            for (Future<byte[]> r : results) {
                assertArrayEquals(alone, r.get(), backend);
            }
        }
    }

    /** Memory of a confined arena belongs to one thread: the caller works alone, and the bits are the same. */
    @ParameterizedTest
    @MethodSource("dev.octet.fp8.TestedBackends#names")
    void confinedMemory(String backend) {
        for (DType output : new DType[] {DType.F32, DType.BF16, DType.F8_E4M3}) {
            GemmCase gemm = GemmCase.plain(9, Pairing.FORWARD, 200, 391, 300).withOutput(output, ScaleFormat.F32)
                    .withEpilogue(DType.F32, Addend.F32, Activation.IDENTITY);
            try (Arena shared = Arena.ofShared(); Arena confined = Arena.ofConfined(); CpuPool pool = new CpuPool(3)) {
                Fp8 fp8 = Fp8.on(backend).with(pool);
                assertArrayEquals(bits(gemm, gemm.data(shared, Matrices::random), fp8),
                        bits(gemm, gemm.data(confined, Matrices::random), fp8), backend);
            }
        }
    }
}
