package dev.octet.moe.reference;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.GroupScore;
import dev.octet.moe.Routing;
import dev.octet.moe.ScoreFunction;
import dev.octet.moe.spi.GateErrors;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.BitSet;
import java.util.Comparator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/** The gate in plain loops and FP64; one rounding at the end. */
final class ReferenceGate {
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort I16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private ReferenceGate() {}

    static void routerLogits(Tensor hidden, Tensor weight, Tensor out) {
        for (long t = 0; t < hidden.dim(0); t++) {
            for (long e = 0; e < weight.dim(0); e++) {
                double sum = 0;
                for (long i = 0; i < hidden.dim(1); i++) {
                    sum += value(hidden, t, i) * value(weight, e, i);
                }
                out.segment().set(F32, 4 * at(out, t, e), (float) sum);
            }
        }
    }

    static void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out) {
        double[] biases = new double[config.experts()];
        for (int e = 0; bias != null && e < biases.length; e++) {
            float b = bias.segment().get(F32, 4 * e * bias.stride(0));
            if (!Float.isFinite(b)) {
                throw GateErrors.bias(e, b);
            }
            biases[e] = b;
        }
        BitSet unavailable = options.unavailable();
        BitSet padding = options.padding();
        for (int t = padding.nextClearBit(0); t < logits.dim(0); t = padding.nextClearBit(t + 1)) {
            checkedRow(logits, t);
        }
        for (int t = 0; t < logits.dim(0); t++) {
            if (padding.get(t)) {
                for (int i = 0; i < config.topK(); i++) {
                    write(out, t, i, -1, 0);
                }
                continue;
            }
            double[] scores = scores(checkedRow(logits, t), config.scores());
            double[] choices = new double[scores.length];
            for (int e = 0; e < choices.length; e++) {
                choices[e] = scores[e] + biases[e];
            }
            int[] chosen = choose(choices, config, unavailable);
            writeWeights(scores, chosen, config, out, t);
        }
    }

    static void replay(Tensor logits, Tensor experts, GateConfig config, Routing out) {
        for (int pass = 0; pass < 2; pass++) { // the first one checks
            for (long t = 0; t < logits.dim(0); t++) {
                int[] chosen = new int[config.topK()];
                boolean any = false;
                for (int i = 0; i < chosen.length; i++) {
                    chosen[i] = experts.segment().get(I32, 4 * at(experts, t, i));
                    if (chosen[i] < -1 || chosen[i] >= config.experts()) {
                        throw GateErrors.expert(t, i, chosen[i], config.experts());
                    }
                    any |= chosen[i] >= 0;
                }
                double[] scores = any ? scores(checkedRow(logits, t), config.scores()) : new double[config.experts()];
                if (pass == 1) {
                    writeWeights(scores, chosen, config, out, t);
                }
            }
        }
    }

    // ---------------------------------------------------------------------------------------------- one token

    /** What each expert's logit is worth. */
    static double[] scores(double[] logits, ScoreFunction function) {
        double[] scores = new double[logits.length];
        double max = -Double.MAX_VALUE;
        double sum = 0;
        for (double x : logits) {
            max = Math.max(max, x);
        }
        for (int e = 0; e < scores.length; e++) {
            double x = logits[e];
            scores[e] = switch (function) {
                case SOFTMAX -> Math.exp(x - max);
                case SIGMOID -> x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
                case SQRT_SOFTPLUS -> Math.sqrt(Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))));
            };
            sum += scores[e];
        }
        for (int e = 0; function == ScoreFunction.SOFTMAX && sum > 0 && e < scores.length; e++) {
            scores[e] /= sum;
        }
        return scores;
    }

    /** The chosen experts, the best first. */
    private static int[] choose(double[] choices, GateConfig config, BitSet unavailable) {
        int size = config.groupSize();
        double[] values = new double[config.groups()];
        for (int g = 0; g < values.length; g++) {
            double[] best = IntStream.range(g * size, (g + 1) * size).filter(e -> !unavailable.get(e))
                    .mapToDouble(e -> choices[e]).sorted().toArray();
            int n = best.length;
            values[g] = n == 0 ? Double.NEGATIVE_INFINITY
                    : config.groupScore() == GroupScore.MAX || n == 1 ? best[n - 1] : best[n - 1] + best[n - 2];
        }
        boolean[] kept = new boolean[values.length];
        IntStream.range(0, values.length).boxed().sorted(descending(values)).limit(config.keptGroups())
                .forEach(g -> kept[g] = true);
        return IntStream.range(0, choices.length).filter(e -> kept[e / size] && !unavailable.get(e)).boxed()
                .sorted(descending(choices)).limit(config.topK()).mapToInt(e -> e).toArray();
    }

    /** The largest value first; the sort is stable, so that of equals the lower number is. */
    private static Comparator<Integer> descending(double[] values) {
        return Comparator.<Integer>comparingDouble(i -> values[i]).reversed();
    }

    private static void writeWeights(double[] scores, int[] chosen, GateConfig config, Routing out, long t) {
        double sum = 0;
        for (int e : chosen) {
            sum += e < 0 ? 0 : scores[e];
        }
        double factor = config.normalize() ? config.scale() / (sum + 1e-20) : config.scale();
        for (int i = 0; i < chosen.length; i++) {
            write(out, t, i, chosen[i], chosen[i] < 0 ? 0 : scores[chosen[i]] * factor);
        }
    }

    // ---------------------------------------------------------------------------------------------- memory

    private static void write(Routing out, long t, int place, int expert, double weight) {
        out.experts().segment().set(I32, 4 * at(out.experts(), t, place), expert);
        out.weights().segment().set(F32, 4 * at(out.weights(), t, place), (float) weight);
    }

    private static double[] checkedRow(Tensor logits, long t) {
        double[] row = new double[Math.toIntExact(logits.dim(1))];
        for (int e = 0; e < row.length; e++) {
            float x = logits.segment().get(F32, 4 * at(logits, t, e));
            if (Float.isNaN(x) || x == Float.POSITIVE_INFINITY) {
                throw GateErrors.logit(t, e, x);
            }
            row[e] = x;
        }
        return row;
    }

    private static long at(Tensor matrix, long row, long column) {
        return row * matrix.stride(0) + column * matrix.stride(1);
    }

    private static double value(Tensor t, long row, long column) {
        long i = at(t, row, column);
        return t.dtype() == DType.F32 ? t.segment().get(F32, 4 * i) : BFloat16.toFloat(t.segment().get(I16, 2 * i));
    }
}
