package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The router's product against FP64, and that its sums have one order. */
@Tag("backend")
class RouterTest {
    private static final String BACKENDS = "dev.octet.moe.TestedBackends#names";

    private static Tensor random(SplittableRandom random, DType type, int rows, int columns, boolean turned) {
        Tensor memory = Tensor.allocate(type, turned ? Shape.of(columns, rows) : Shape.of(rows, columns));
        Tensor t = turned ? memory.transpose() : memory;
        t.copyFrom(GateRun.gaussian(random, rows * columns, 1));
        return t;
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void isWithinTheBoundOfFp32Sums(String backend) {
        SplittableRandom random = new SplittableRandom(21);
        for (int[] dims : new int[][] {{1, 8, 64}, {3, 19, 1536}, {8, 7, 2064}, {8, 33, 130}, {9, 5, 7},
                {37, 70, 1100}, {13, 4, 1}, {2, 3, 0}}) {
            for (DType a : new DType[] {DType.F32, DType.BF16}) {
                for (DType b : new DType[] {DType.F32, DType.BF16}) {
                    for (boolean turned : new boolean[] {false, true}) {
                        check(backend, random(random, a, dims[0], dims[2], turned),
                                random(random, b, dims[1], dims[2], turned));
                    }
                }
            }
        }
    }

    private static void check(String backend, Tensor hidden, Tensor weight) {
        int tokens = (int) hidden.dim(0);
        int experts = (int) weight.dim(0);
        int d = (int) hidden.dim(1);
        float[] x = hidden.toFloatArray();
        float[] w = weight.toFloatArray();
        try (hidden; weight; Tensor out = Tensor.allocate(DType.F32, Shape.of(tokens, experts))) {
            Moe.on(backend).routerLogits(hidden, weight, out);
            float[] got = out.toFloatArray();
            for (int t = 0; t < tokens; t++) {
                for (int e = 0; e < experts; e++) {
                    double sum = 0;
                    double magnitude = 0;
                    for (int i = 0; i < d; i++) {
                        double product = (double) x[t * d + i] * w[e * d + i];
                        sum += product;
                        magnitude += Math.abs(product);
                    }
                    assertEquals(sum, got[t * experts + e], (d + 1) * 0x1p-24 * magnitude,
                            backend + " token " + t + " expert " + e + " of " + weight);
                }
            }
        }
    }

    /** Few tokens take another way than many, which must not change a bit; nor must threads, or the order of tokens. */
    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aTokenDoesNotDependOnTheBatch(String backend) {
        SplittableRandom random = new SplittableRandom(22);
        for (DType type : new DType[] {DType.F32, DType.BF16}) {
            try (Tensor hidden = random(random, type, 140, 1088, false);
                    Tensor weight = random(random, type, 70, 1088, false);
                    Tensor out = Tensor.allocate(DType.F32, Shape.of(140, 70));
                    Tensor few = Tensor.allocate(DType.F32, Shape.of(5, 70));
                    CpuPool pool = new CpuPool(3)) {
                Moe.on(backend).routerLogits(hidden, weight, out);
                float[] all = out.toFloatArray();
                for (int from : new int[] {0, 77, 135}) {
                    Moe.on(backend).with(pool).routerLogits(hidden.slice(0, from, from + 5), weight, few);
                    assertArrayEquals(Arrays.copyOfRange(all, from * 70, (from + 5) * 70), few.toFloatArray());
                }
                Moe.on(backend).with(pool).routerLogits(hidden, weight, out);
                assertArrayEquals(all, out.toFloatArray());
                Tensor tail = out.slice(0, 3, 140);
                Moe.on(backend).routerLogits(hidden.slice(0, 3, 140), weight, tail);
                assertArrayEquals(all, out.toFloatArray());
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void refusals(String backend) {
        Moe moe = Moe.on(backend);
        try (Tensor x = Tensor.allocate(DType.F32, Shape.of(2, 8));
                Tensor w = Tensor.allocate(DType.BF16, Shape.of(3, 8));
                Tensor wrong = Tensor.allocate(DType.BF16, Shape.of(3, 9));
                Tensor codes = Tensor.allocate(DType.F8_E4M3, Shape.of(3, 8));
                Tensor out = Tensor.allocate(DType.F32, Shape.of(2, 3));
                Tensor half = Tensor.allocate(DType.BF16, Shape.of(2, 3))) {
            refused("weight", () -> moe.routerLogits(x, wrong, out));
            refused("weight", () -> moe.routerLogits(x, codes, out));
            refused("out", () -> moe.routerLogits(x, w, half));
            refused("hidden", () -> moe.routerLogits(codes, w, out));
        }
    }

    private static void refused(String word, Runnable call) {
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(message.startsWith(word), message);
    }
}
