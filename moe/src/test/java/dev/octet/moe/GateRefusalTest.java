package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.util.Arrays;
import java.util.BitSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What a gate does not take, and that it leaves its output as it was then. */
@Tag("backend")
class GateRefusalTest {
    private static final String BACKENDS = "dev.octet.moe.TestedBackends#names";
    private static final GateConfig CONFIG =
            new GateConfig(40, 3, 4, 2, ScoreFunction.SIGMOID, GroupScore.TOP2_SUM, true, 1);

    private static void refused(Runnable call, Routing out, String... words) {
        float[] before = new float[(int) out.weights().shape().elements()];
        Arrays.fill(before, 7);
        out.weights().copyFrom(before);
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        for (String word : words) {
            assertTrue(message.contains(word), message);
        }
        assertArrayEquals(before, out.weights().toFloatArray(), message);
        assertArrayEquals(new int[before.length], GateRun.of(out).experts(), message);
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aLogitThatIsNoNumber(String backend) {
        for (boolean dense : new boolean[] {true, false}) {
            try (Tensor memory = dense ? Tensor.allocate(DType.F32, Shape.of(500, 40))
                    : Tensor.allocate(DType.F32, Shape.of(40, 500)); Routing out = Routing.allocate(500, 3)) {
                Tensor x = dense ? memory : memory.transpose();
                for (float wrong : new float[] {Float.NaN, Float.intBitsToFloat(0xFF800001), Float.POSITIVE_INFINITY}) {
                    for (int expert : new int[] {0, 17, 39}) {
                        float[] values = new float[500 * 40];
                        values[499 * 40 + 1] = wrong;
                        values[(211 + expert) * 40 + expert] = wrong;
                        values[20] = Float.NEGATIVE_INFINITY;
                        x.copyFrom(values);
                        refused(() -> Moe.on(backend).gate(x, null, CONFIG, GateOptions.NONE, out), out,
                                "token " + (211 + expert) + " ", wrong + " for expert " + expert);
                    }
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void aBiasThatIsNotFinite(String backend) {
        try (Tensor x = Tensor.allocate(DType.F32, Shape.of(2, 40)); Routing out = Routing.allocate(2, 3)) {
            for (float wrong : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
                float[] values = new float[40];
                values[9] = wrong;
                try (Tensor bias = Tensor.of(values, 40)) {
                    refused(() -> Moe.on(backend).gate(x, bias, CONFIG, GateOptions.NONE, out), out,
                            "bias of expert 9 is " + wrong);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void masksThatLeaveTooFewOrDoNotFit(String backend) {
        Moe moe = Moe.on(backend);
        try (Tensor x = Tensor.allocate(DType.F32, Shape.of(2, 40)); Routing out = Routing.allocate(2, 3)) {
            // Groups with 1, 10, 1 and 10: a token may keep both that have one.
            int[] lost = {1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 22, 23, 24, 25, 26, 27, 28};
            refused(() -> moe.gate(x, null, CONFIG, GateOptions.NONE.withUnavailable(lost), out), out, "unavailable",
                    "2 groups with the fewest experts 2 of them, it needs 3");
            int[] all = IntStream.range(0, 40).toArray();
            refused(() -> moe.gate(x, null, CONFIG, GateOptions.NONE.withUnavailable(all), out), out, "unavailable");
            refused(() -> moe.gate(x, null, CONFIG, GateOptions.NONE.withUnavailable(40), out), out, "expert 40");
            refused(() -> GateOptions.NONE.withUnavailable(3, -1), out, "experts has -1");
            BitSet padding = new BitSet();
            padding.set(2);
            refused(() -> moe.gate(x, null, CONFIG, GateOptions.NONE.withPadding(padding), out), out, "token 2");
        }
    }

    @ParameterizedTest
    @MethodSource(BACKENDS)
    void tensorsThatDoNotFit(String backend) {
        Moe moe = Moe.on(backend);
        try (Tensor x = Tensor.allocate(DType.F32, Shape.of(2, 40)); Routing out = Routing.allocate(2, 3);
                Tensor half = Tensor.allocate(DType.BF16, Shape.of(2, 40));
                Tensor narrow = Tensor.allocate(DType.F32, Shape.of(2, 39));
                Tensor bias = Tensor.allocate(DType.F32, Shape.of(39));
                Tensor experts = Tensor.allocate(DType.I32, Shape.of(2, 4));
                Routing wide = Routing.allocate(2, 4)) {
            refused(() -> moe.gate(half, null, CONFIG, GateOptions.NONE, out), out, "logits is BF16", "F32");
            refused(() -> moe.gate(narrow, null, CONFIG, GateOptions.NONE, out), out, "logits", "39", "40");
            refused(() -> moe.gate(x, bias, CONFIG, GateOptions.NONE, out), out, "bias", "39", "40");
            refused(() -> moe.gate(x, null, CONFIG, GateOptions.NONE, wide), wide, "out.experts", "[2, 3]");
            refused(() -> moe.replay(x, experts, CONFIG, out), out, "experts", "[2, 4]", "[2, 3]");
            Tensor closed = Tensor.allocate(DType.F32, Shape.of(2, 40));
            closed.close();
            assertThrows(IllegalStateException.class, () -> moe.gate(closed, null, CONFIG, GateOptions.NONE, out));
        }
    }
}
