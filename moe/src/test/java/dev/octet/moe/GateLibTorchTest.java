package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.SplittableRandom;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * LibTorch's sigmoid, softmax, topk and gather as an oracle that shares no code with ours. Tokens are drawn until no two of
 * a token's experts, nor two of its groups, are so close that rounding to FP32 could change their order: all must agree.
 */
class GateLibTorchTest {
    private static final int TOKENS = 200;
    /** Of the larger term. Scores, sums with a bias and sums of two are off by at most some 6 ulp of it, 2^-24 each. */
    private static final double APART = 32 * 0x1p-24;

    /** Its own threads wait in loops, which costs more than they bring to tensors this small. */
    @BeforeAll
    static void oneThread() {
        torch.set_num_threads(1);
        openblas.blas_set_num_threads(1);
    }

    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void v3(String backend) {
        check(backend, GateConfig.V3, true);
    }

    @ParameterizedTest
    @MethodSource("dev.octet.moe.TestedBackends#names")
    void v2(String backend) {
        check(backend, GateConfig.V2, false);
        check(backend, GateConfig.V2_LITE, false);
        check(backend, GateConfig.plain(8, 2), false);
    }

    private static void check(String backend, GateConfig config, boolean biased) {
        SplittableRandom random = new SplittableRandom(31);
        float[] bias = biased ? GateRun.gaussian(random, config.experts(), 0.1) : new float[config.experts()];
        float[] logits = new float[TOKENS * config.experts()];
        for (int t = 0; t < TOKENS; t++) {
            float[] token;
            do {
                token = GateRun.gaussian(random, config.experts(), 1);
            } while (!isTieFree(token, bias, config));
            System.arraycopy(token, 0, logits, t * token.length, token.length);
        }
        GateRun ours = GateRun.of(backend, logits, bias, config);

        Tensor x = torch.from_blob(new FloatPointer(logits), new long[] {TOKENS, config.experts()},
                new TensorOptions(ScalarType.Float)).clone();
        Tensor b = torch.from_blob(new FloatPointer(bias), new long[] {config.experts()},
                new TensorOptions(ScalarType.Float)).clone();
        Tensor scores = config.scores() == ScoreFunction.SIGMOID ? torch.sigmoid(x)
                : torch.softmax(x, -1, new ScalarTypeOptional());
        Tensor choice = scores.add(b);
        Tensor inGroups = choice.view(new long[] {TOKENS, config.groups(), config.groupSize()});
        Tensor value = config.groupScore() == GroupScore.TOP2_SUM
                ? torch.topk(inGroups, 2, -1, true, true).get0().sum(-1) : inGroups.amax(new long[] {-1}, false);
        Tensor kept = torch.topk(value, config.keptGroups(), -1, true, true).get1();
        Tensor mask = torch.zeros_like(value).scatter(1, kept, new Scalar(1.0));
        Tensor allowed = inGroups.masked_fill(mask.unsqueeze(-1).eq(new Scalar(0.0)),
                new Scalar(Double.NEGATIVE_INFINITY)).view(new long[] {TOKENS, config.experts()});
        T_TensorTensor_T best = torch.topk(allowed, config.topK(), -1, true, true);
        Tensor weights = scores.gather(1, best.get1());
        if (config.normalize()) {
            weights = weights.div(weights.sum(new long[] {-1}, true, new ScalarTypeOptional()));
        }
        compare(ours, config, new LongPointer(best.get1().contiguous().data_ptr()),
                new FloatPointer(weights.mul(new Scalar((double) config.scale())).contiguous().data_ptr()));
    }

    /** In double. */
    private static boolean isTieFree(float[] logits, float[] bias, GateConfig config) {
        double[] choices = new double[logits.length];
        double sum = 0;
        for (int e = 0; e < choices.length; e++) {
            choices[e] = config.scores() == ScoreFunction.SIGMOID ? 1 / (1 + Math.exp(-logits[e])) : Math.exp(logits[e]);
            sum += choices[e];
        }
        boolean sigmoid = config.scores() == ScoreFunction.SIGMOID;
        for (int e = 0; e < choices.length; e++) {
            choices[e] = (sigmoid ? choices[e] : choices[e] / sum) + bias[e];
        }
        double[] groups = new double[config.groups()];
        for (int g = 0; g < groups.length; g++) {
            double[] group = Arrays.copyOfRange(choices, g * config.groupSize(), (g + 1) * config.groupSize());
            Arrays.sort(group);
            groups[g] = group[group.length - 1]
                    + (config.groupScore() == GroupScore.TOP2_SUM ? group[group.length - 2] : 0);
        }
        // With a bias a sum may be less than its terms; sigmoids are at most 1.
        double least = sigmoid ? 1 : 0;
        return areApart(choices, least) && areApart(groups, 2 * least);
    }

    private static boolean areApart(double[] values, double least) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        for (int i = 1; i < sorted.length; i++) {
            double larger = Math.max(least, Math.max(Math.abs(sorted[i]), Math.abs(sorted[i - 1])));
            if (sorted[i] - sorted[i - 1] < APART * larger) {
                return false;
            }
        }
        return true;
    }

    private static void compare(GateRun ours, GateConfig config, LongPointer experts, FloatPointer weights) {
        for (int t = 0; t < TOKENS; t++) {
            int[] theirs = new int[config.topK()];
            for (int i = 0; i < theirs.length; i++) {
                theirs[i] = (int) experts.get((long) t * theirs.length + i);
            }
            int token = t;
            assertArrayEquals(theirs, ours.experts(t), () -> "token " + token + ": " + config);
            for (int i = 0; i < theirs.length; i++) {
                float w = weights.get((long) t * theirs.length + i);
                assertEquals(w, ours.weights(t)[i], w * 1e-5);
            }
        }
    }
}
