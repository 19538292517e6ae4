package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What the host build must do with kernels that are right, and say of kernels that are wrong. */
class HostRuntimeTest {
    private static final Path SOURCE = Path.of("src", "test", "cuda", "host_runtime_test.cu");
    private static final int BLOCKS = 5;
    private static final int THREADS = 256;

    private final float[] y = new float[BLOCKS * THREADS];

    @BeforeAll
    static void aCompiler() {
        assumeTrue(HostBuild.unavailable().isEmpty(), () -> HostBuild.unavailable().orElseThrow());
    }

    private void run(int mode, long order) {
        try (Arena arena = Arena.ofConfined();
                Tensor target = Tensor.allocate(DType.F32, Shape.of(y.length))) {
            MemorySegment p = arena.allocate(16, 8);
            p.set(ValueLayout.JAVA_LONG, 0, target.address());
            p.set(ValueLayout.JAVA_INT, 8, mode);
            HostBuild.of(SOURCE).launch("host_runtime", BLOCKS, THREADS, 4 * THREADS, order, p);
            System.arraycopy(target.toFloatArray(), 0, y, 0, y.length);
        }
    }

    /** Sums by shuffles, static and dynamic shared memory, and barriers in a loop that differs by block. */
    @ParameterizedTest
    @ValueSource(longs = {0, 1, 2, 3, 17})
    void aRightKernelHasOneResultInEveryOrder(long order) {
        run(0, order);
        float[] expected = new float[y.length];
        for (int block = 0; block < BLOCKS; block++) {
            for (int t = 0; t < THREADS; t++) {
                // The sum of 0 to 255, and what the thread opposite has added in block + 1 rounds.
                expected[block * THREADS + t] = 255 * 128 + (THREADS - 1 - t) * (block + 1);
            }
        }
        assertArrayEquals(expected, y);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "1 | deadlock: | waits at barrier 0 | 1 have returned, one of them thread (77,0,0)",
        "2 | deadlock: | waits at barrier 0 | waits at barrier 3",
        "3 | __shfl_sync with mask 0000ffff | __syncwarp with mask ffffffff | host_runtime",
        "4 | with mask ffffffff, of which lanes 00000200 have returned | __shfl | thread",
        "5 | behind its 1024 bytes of dynamic shared memory | wrote 0 bytes | block",
        "6 | reads lane 20, which is not in it | mask 000000ff | thread",
        "7 | __trap() | thread (5,0,0) | block",
        "8 | barrier 2 of 64 threads, where others wait for 256 | thread | block"})
    void aWrongKernelIsNamed(int mode, String first, String second, String third) {
        for (long order = 0; order < 4; order++) {
            long turns = order;
            String message = assertThrows(IllegalStateException.class, () -> run(mode, turns)).getMessage();
            // Which of two groups comes first, and so is complained about, is up to the order of turns.
            if (order == 0) {
                for (String part : new String[] {first, second, third}) {
                    assertTrue(message.contains(part), message);
                }
            }
        }
    }

    /** Without the barrier, some order reads what is not yet written: shared memory begins as NaN. */
    @Test
    void aMissingBarrierShows() {
        int wrong = 0;
        for (long order = 0; order < 4; order++) {
            run(9, order);
            for (float value : y) {
                wrong += Float.isNaN(value) ? 1 : 0;
            }
        }
        assertTrue(wrong > 0);
    }

    @Test
    void aParameterOfAnotherSizeIsRefused() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment p = arena.allocate(24, 8);
            String message = assertThrows(IllegalStateException.class,
                    () -> HostBuild.of(SOURCE).launch("host_runtime", 1, 32, 0, 0, p)).getMessage();
            assertEquals("host_runtime has a parameter of 16 bytes, the launch has one of 24", message);
        }
    }

    @Test
    void kernelsParametersHaveTheSizesThatTheLaunchesWrite() {
        for (Fp8Kernel kernel : Fp8Kernel.values()) {
            assertEquals(kernel.parameterBytes(),
                    HostBuild.of(HostLauncher.SOURCES.resolve(kernel.file())).parameterBytes(kernel.function()),
                    kernel.toString());
        }
    }
}
