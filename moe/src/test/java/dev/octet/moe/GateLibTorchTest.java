package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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

/** LibTorch's sigmoid, softmax, topk and gather as an oracle that shares no code with ours, where no two scores tie. */
class GateLibTorchTest {
    private static final int TOKENS = 200;

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
        float[] logits = GateRun.gaussian(random, TOKENS * config.experts(), 1);
        float[] bias = biased ? GateRun.gaussian(random, config.experts(), 0.1) : new float[config.experts()];
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

    private static void compare(GateRun ours, GateConfig config, LongPointer experts, FloatPointer weights) {
        int same = 0;
        for (int t = 0; t < TOKENS; t++) {
            int[] theirs = new int[config.topK()];
            for (int i = 0; i < theirs.length; i++) {
                theirs[i] = (int) experts.get((long) t * theirs.length + i);
            }
            if (Arrays.equals(theirs, ours.experts(t))) {
                same++;
                for (int i = 0; i < theirs.length; i++) {
                    float w = weights.get((long) t * theirs.length + i);
                    assertEquals(w, ours.weights(t)[i], w * 1e-5);
                }
            }
        }
        assertTrue(same >= TOKENS - 2, same + " of " + TOKENS + " tokens as in LibTorch: " + config);
    }
}
