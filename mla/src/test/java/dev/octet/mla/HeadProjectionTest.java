package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@link Mla#projectHeads} against sums in FP64. Any order of k products and additions in FP32 is within
 * {@code gamma_k * SUM |w| |x|} of the exact sum, {@code gamma_k = k u / (1 - k u)}, {@code u = 2^-24} (Higham,
 * Accuracy and Stability of Numerical Algorithms, 3.1); a result in BF16 is then rounded by at most {@code 2^-8} of itself, or
 * half of the smallest subnormal.
 */
@Tag("backend")
class HeadProjectionTest {
    /** How the matrix of a head lies. */
    private enum Layout { ROWS, COLUMNS, GAPS }

    private record Case(int tokens, int heads, int n, int k, Layout layout, DType weights, DType values, DType result) {
        /** The elements in a view of a larger tensor, so that a kernel that goes too far would meet NaN. */
        Tensor weight(Random random) {
            return switch (layout) {
                case ROWS -> apart(random, weights, heads, n, k, 1, 0);
                case COLUMNS -> apart(random, weights, heads, k, n, 1, 0).transpose(1, 2);
                case GAPS -> apart(random, weights, heads, n, k, 3, 5);
            };
        }
    }

    /** A view into memory of NaN, {@code step} elements from one to the next, whose rows go on for some more. */
    private static Tensor apart(Random random, DType dtype, int a, int b, int c, int step, int more) {
        Tensor memory = Tensor.allocate(Arena.ofAuto(), dtype, Shape.of(a + 1, b + 2, c + more, step));
        float[] nan = new float[(int) memory.shape().elements()];
        Arrays.fill(nan, Float.NaN);
        memory.copyFrom(nan);
        Tensor view = memory.slice(0, 0, a).slice(1, 0, b).slice(2, 0, c).slice(3, 0, 1).reshape(a, b, c);
        float[] values = new float[a * b * c];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        view.copyFrom(values);
        return view;
    }

    static List<Case> cases() {
        List<Case> cases = new ArrayList<>();
        for (Layout layout : Layout.values()) {
            for (int tokens : new int[] {1, 2, 3, 4, 5, 7, 8, 9, 13, 33}) {
                cases.add(new Case(tokens, 3, 64, 96, layout, DType.BF16, DType.F32, DType.F32));
            }
            for (DType weights : new DType[] {DType.BF16, DType.F32}) {
                cases.add(new Case(2, 1, 1, 1, layout, weights, DType.F32, DType.F32));
                cases.add(new Case(3, 2, 129, 63, layout, weights, DType.BF16, DType.BF16));
                cases.add(new Case(5, 2, 13, 576, layout, weights, DType.F32, DType.BF16));
                cases.add(new Case(17, 2, 130, 31, layout, weights, DType.BF16, DType.F32));
                cases.add(new Case(260, 1, 65, 300, layout, weights, DType.F32, DType.F32));
                cases.add(new Case(2, 2, 7, 0, layout, weights, DType.F32, DType.F32));
                cases.add(new Case(2, 2, 0, 7, layout, weights, DType.F32, DType.F32));
                cases.add(new Case(0, 2, 7, 7, layout, weights, DType.F32, DType.F32));
            }
            cases.add(new Case(6, 5, 512, 128, layout, DType.BF16, DType.BF16, DType.F32));
            cases.add(new Case(1, 5, 128, 512, layout, DType.BF16, DType.BF16, DType.BF16));
            cases.add(new Case(1, 2, 2080, 66, layout, DType.BF16, DType.F32, DType.F32));
            cases.add(new Case(1, 2, 301, 1024, layout, DType.BF16, DType.F32, DType.F32));
        }
        return cases;
    }

    private static Tensor result(Case c) {
        Tensor out = Tensor.allocate(c.result, Shape.of(c.tokens, c.heads, c.n));
        out.segment().fill((byte) 0xFF);
        return out;
    }

    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void withinTheBound(String backend) {
        for (Case c : cases()) {
            Random random = new Random(c.hashCode());
            Tensor weight = c.weight(random);
            Tensor x = apart(random, c.values, c.tokens, c.heads, c.k, 1 + c.tokens % 2, 3);
            try (Tensor out = result(c)) {
                Mla.on(backend).projectHeads(x, weight, out);
                check(c, x.copy().toFloatArray(), weight.copy().toFloatArray(), out.toFloatArray());
            }
        }
    }

    private static void check(Case c, float[] x, float[] w, float[] out) {
        double gamma = c.k * 0x1p-24 / (1 - c.k * 0x1p-24);
        for (int t = 0; t < c.tokens; t++) {
            for (int h = 0; h < c.heads; h++) {
                for (int n = 0; n < c.n; n++) {
                    double sum = 0;
                    double magnitude = 0;
                    for (int k = 0; k < c.k; k++) {
                        double product = (double) w[(h * c.n + n) * c.k + k] * x[(t * c.heads + h) * c.k + k];
                        sum += product;
                        magnitude += Math.abs(product);
                    }
                    double bound = gamma * magnitude;
                    if (c.result == DType.BF16) {
                        bound += 0x1p-8 * (Math.abs(sum) + bound) + 0x1p-134;
                    }
                    double actual = out[(t * c.heads + h) * c.n + n];
                    if (!(Math.abs(actual - sum) <= bound)) {
                        fail(c + " at [" + t + ", " + h + ", " + n + "]: " + actual + ", exactly " + sum + ", bound "
                                + bound);
                    }
                }
            }
        }
    }

    /** Sums of small integers are exact in any order. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void integersAreExact(String backend) {
        for (int tokens : new int[] {1, 4, 8, 30}) {
            try (Tensor x = Tensor.allocate(DType.BF16, Shape.of(tokens, 2, 512));
                    Tensor w = Tensor.allocate(DType.BF16, Shape.of(2, 128, 512));
                    Tensor out = Tensor.allocate(DType.F32, Shape.of(tokens, 2, 128))) {
                x.copyFrom(integers(tokens * 1024));
                w.copyFrom(integers(2 * 128 * 512));
                Mla.on(backend).projectHeads(x, w, out);
                float[] exact = new float[tokens * 256];
                float[] xs = x.toFloatArray();
                float[] ws = w.toFloatArray();
                for (int i = 0; i < exact.length; i++) {
                    int row = i % 256;
                    long sum = 0;
                    for (int k = 0; k < 512; k++) {
                        sum += (long) xs[(i / 128) * 512 + k] * (long) ws[row * 512 + k];
                    }
                    exact[i] = sum;
                }
                assertArrayEquals(exact, out.toFloatArray(), tokens + " tokens");
            }
        }
    }

    private static float[] integers(int count) {
        Random random = new Random(count);
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = random.nextInt(-20, 21);
        }
        return values;
    }

    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void everyPoolGivesTheSameBits(String backend) {
        for (int threads : new int[] {1, 3}) {
            try (CpuPool pool = new CpuPool(threads)) {
                for (Case c : cases()) {
                    Random random = new Random(1);
                    Tensor weight = c.weight(random);
                    Tensor x = apart(random, c.values, c.tokens, c.heads, c.k, 1, 0);
                    try (Tensor shared = result(c); Tensor own = result(c)) {
                        Mla.on(backend).projectHeads(x, weight, shared);
                        Mla.on(backend).with(pool).projectHeads(x, weight, own);
                        assertArrayEquals(shared.segment().toArray(ValueLayout.JAVA_BYTE),
                                own.segment().toArray(ValueLayout.JAVA_BYTE), c + ", " + threads + " threads");
                    }
                }
            }
        }
    }

    /** NaN and infinity go where IEEE arithmetic takes them, and nowhere else. */
    @ParameterizedTest
    @MethodSource("dev.octet.mla.TestedBackends#names")
    void nanStaysInItsTokenAndRow(String backend) {
        for (Layout layout : Layout.values()) {
            Case c = new Case(3, 2, 64, 64, layout, DType.BF16, DType.F32, DType.F32);
            Tensor weight = c.weight(new Random(2));
            Tensor x = apart(new Random(3), DType.F32, 3, 2, 64, 1, 0);
            try (Tensor nan = Tensor.of(new float[] {Float.NaN}, 1, 1, 1);
                    Tensor infinity = Tensor.allocate(DType.BF16, Shape.of(1, 1, 1)); Tensor out = result(c)) {
                infinity.copyFrom(new float[] {Float.POSITIVE_INFINITY});
                x.slice(0, 1, 2).slice(1, 0, 1).slice(2, 7, 8).copyFrom(nan);
                weight.slice(0, 1, 2).slice(1, 5, 6).slice(2, 9, 10).copyFrom(infinity);
                Mla.on(backend).projectHeads(x, weight, out);
                float[] y = out.toFloatArray();
                for (int i = 0; i < y.length; i++) {
                    boolean first = i / 64 == 2;
                    boolean second = i / 64 % 2 == 1 && i % 64 == 5;
                    assertEquals(first, Float.isNaN(y[i]), layout + " " + i);
                    assertEquals(second, Float.isInfinite(y[i]), layout + " " + i);
                }
            }
        }
    }

    @Test
    void refusals() {
        Tensor x = Tensor.allocate(DType.F32, Shape.of(2, 3, 4));
        Tensor w = Tensor.allocate(DType.BF16, Shape.of(3, 5, 4));
        Tensor out = Tensor.allocate(DType.F32, Shape.of(2, 3, 5));
        out.segment().fill((byte) 1);
        refused("weight", x, Tensor.allocate(DType.BF16, Shape.of(2, 5, 4)), out);
        refused("weight", x, Tensor.allocate(DType.BF16, Shape.of(3, 5, 6)), out);
        refused("weight", x, Tensor.allocate(DType.F16, Shape.of(3, 5, 4)), out);
        refused("x", Tensor.allocate(DType.F32, Shape.of(6, 4)), w, out);
        refused("out", x, w, Tensor.allocate(DType.F32, Shape.of(2, 3, 4)));
        for (byte b : out.segment().toArray(ValueLayout.JAVA_BYTE)) {
            assertEquals(1, b);
        }
        w.close();
        assertThrows(IllegalStateException.class, () -> Mla.auto().projectHeads(x, w, out));
    }

    private static void refused(String name, Tensor x, Tensor w, Tensor out) {
        String message = assertThrows(IllegalArgumentException.class, () -> Mla.auto().projectHeads(x, w, out))
                .getMessage();
        assertTrue(message.startsWith(name + " "), message);
    }
}
