package dev.octet.moe.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.NativeMemory;
import dev.octet.moe.GateConfig;
import dev.octet.moe.Routing;
import dev.octet.moe.ScoreFunction;
import dev.octet.moe.spi.GateErrors;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/** Weights of given experts, a token at a time: but for softmax there are few scores to compute. */
final class Replay {
    private static final MemorySegment ALL = NativeMemory.ALL;
    private static final int TASK = 64;

    private Replay() {}

    static void run(Tensor logits, Tensor experts, GateConfig config, Routing out, CpuPool pool) {
        long tokens = logits.dim(0);
        for (long t = 0; t < tokens; t++) {
            check(logits, experts, config, t);
        }
        pool.run(Math.toIntExact((tokens + TASK - 1) / TASK), task -> {
            float[] scores = new float[config.experts()];
            int[] chosen = new int[config.topK()];
            for (long t = (long) task * TASK; t < Math.min(tokens, (task + 1L) * TASK); t++) {
                token(logits, experts, config, out, t, scores, chosen);
            }
        });
        Reference.reachabilityFence(logits);
        Reference.reachabilityFence(experts);
        Reference.reachabilityFence(out);
    }

    private static void check(Tensor logits, Tensor experts, GateConfig config, long token) {
        boolean any = false;
        for (int i = 0; i < config.topK(); i++) {
            int e = ALL.get(Gate.I32, at(experts, token, i));
            if (e < -1 || e >= config.experts()) {
                throw GateErrors.expert(token, i, e, config.experts());
            }
            any |= e >= 0;
        }
        if (any) {
            int refused = Gate.refusedExpert(at(logits, token, 0), Float.BYTES * logits.stride(1), config.experts());
            if (refused >= 0) {
                throw GateErrors.logit(token, refused, ALL.get(Gate.F32, at(logits, token, refused)));
            }
        }
    }

    private static void token(Tensor logits, Tensor experts, GateConfig config, Routing out, long token,
            float[] scores, int[] chosen) {
        boolean any = false;
        for (int i = 0; i < chosen.length; i++) {
            chosen[i] = ALL.get(Gate.I32, at(experts, token, i));
            any |= chosen[i] >= 0;
        }
        if (any) {
            for (int e = 0; e < scores.length; e++) {
                scores[e] = ALL.get(Gate.F32, at(logits, token, e));
            }
            if (config.scores() == ScoreFunction.SOFTMAX) {
                ScoreMath.scores(ScoreFunction.SOFTMAX, scores, scores.length);
            }
        }
        float[] weights = new float[chosen.length]; // 0 where there is no expert
        float sum = 0;
        for (int i = 0; i < chosen.length; i++) {
            if (chosen[i] >= 0) {
                float x = scores[chosen[i]];
                weights[i] = switch (config.scores()) {
                    case SOFTMAX -> x;
                    case SIGMOID -> ScoreMath.sigmoid(x);
                    case SQRT_SOFTPLUS -> ScoreMath.sqrtSoftplus(x);
                };
                sum += weights[i];
            }
        }
        float divisor = config.normalize() ? sum + ScoreMath.TINY : 1;
        for (int i = 0; i < chosen.length; i++) {
            ALL.set(Gate.I32, at(out.experts(), token, i), chosen[i]);
            ALL.set(Gate.F32, at(out.weights(), token, i), weights[i] / divisor * config.scale());
        }
    }

    private static long at(Tensor t, long row, long column) {
        return t.address() + 4 * (row * t.stride(0) + column * t.stride(1));
    }
}
