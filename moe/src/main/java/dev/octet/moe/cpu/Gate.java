package dev.octet.moe.cpu;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.core.cpu.NativeMemory;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.GroupScore;
import dev.octet.moe.Routing;
import dev.octet.moe.spi.GateErrors;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.BitSet;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * A gate over tokens in blocks. First all logits are looked at, so that nothing is written if one is refused; then each
 * block of {@link GateKernels#lanes()} tokens is turned, so that a lane is a token, scored, its groups compared, and
 * the best experts inserted in sorted slots: no branch depends on a score.
 *
 * <p>Scores plus bias become ints that are ordered in the same way, since vectors have a minimum and maximum of ints
 * in one instruction, and of floats with Java's rules for NaN and zeros in five.
 */
final class Gate {
    private static final MemorySegment ALL = NativeMemory.ALL;
    static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfInt I32 = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final int INFINITY_BITS = 0x7F80_0000;
    /** Tokens of a task: enough that handing it out does not count. */
    private static final int TASK = 64;

    /** Arrays of one thread, from one call to the next. */
    private static final ThreadLocal<Block> MINE = ThreadLocal.withInitial(Block::new);
    /** The calling thread's, which all threads read. */
    private static final ThreadLocal<float[]> BIAS = ThreadLocal.withInitial(() -> new float[0]);

    /** A block of tokens on its way through the gate. */
    private static final class Block {
        float[] scores = new float[0];
        int[] keys = new int[0];
        int[] group = new int[0];
        int[] caps = new int[0];
        int[] slots = new int[0];
        int[] index = new int[0];

        void reserve(int experts, int groups, int slotCount, int lanes) {
            if (scores.length < experts * lanes) {
                scores = new float[experts * lanes];
                keys = new int[experts * lanes];
            }
            if (group.length < groups * lanes) {
                group = new int[groups * lanes];
                caps = new int[groups * lanes];
            }
            if (slots.length < slotCount * lanes) {
                slots = new int[slotCount * lanes];
                index = new int[slotCount * lanes];
            }
        }
    }

    private final GateKernels kernels;
    private final Tensor logits;
    private final GateConfig config;
    private final Routing out;
    private final BitSet padding;
    private final float[] bias;
    private final int[] available;
    private final long rowStep;
    private final long step;
    private final long tokens;

    private Gate(GateKernels kernels, Tensor logits, float[] bias, int[] available, GateConfig config,
            GateOptions options, Routing out) {
        this.kernels = kernels;
        this.logits = logits;
        this.config = config;
        this.out = out;
        this.bias = bias;
        this.available = available;
        padding = options.padding();
        rowStep = Float.BYTES * logits.stride(0);
        step = Float.BYTES * logits.stride(1);
        tokens = logits.dim(0);
    }

    static void run(GateKernels kernels, Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options,
            Routing out, CpuPool pool) {
        int experts = config.experts();
        float[] biases = BIAS.get();
        if (biases.length < experts) {
            biases = new float[experts];
            BIAS.set(biases);
        }
        Arrays.fill(biases, 0, experts, 0);
        if (bias != null) {
            long at = bias.address();
            for (int e = 0; e < experts; e++) {
                biases[e] = ALL.get(F32, at + Float.BYTES * e * bias.stride(0));
                if (!Float.isFinite(biases[e])) {
                    throw GateErrors.bias(e, biases[e]);
                }
            }
            Reference.reachabilityFence(bias);
        }
        int[] available = new int[config.groups()];
        Arrays.fill(available, config.groupSize());
        BitSet unavailable = options.unavailable();
        for (int e = unavailable.nextSetBit(0); e >= 0; e = unavailable.nextSetBit(e + 1)) {
            biases[e] = Float.NEGATIVE_INFINITY; // below all choices, which are finite
            available[e / config.groupSize()]--;
        }
        Gate gate = new Gate(kernels, logits, biases, available, config, options, out);
        int tasks = Math.toIntExact((gate.tokens + TASK - 1) / TASK);
        AtomicLong refused = new AtomicLong(Long.MAX_VALUE);
        pool.run(tasks, task -> gate.check((long) task * TASK, refused));
        if (refused.get() != Long.MAX_VALUE) {
            throw gate.refusal(refused.get());
        }
        pool.run(tasks, task -> gate.choose((long) task * TASK));
        Reference.reachabilityFence(logits);
        Reference.reachabilityFence(out);
    }

    // ---------------------------------------------------------------------------------------------- checks

    private void check(long from, AtomicLong refused) {
        long to = Math.min(tokens, from + TASK);
        for (long t = from; t < to; t++) {
            if (!isPadding(t) && maybeRefused(t) && refusedExpert(t) >= 0) {
                refused.accumulateAndGet(t, Math::min);
                return;
            }
        }
    }

    private boolean isPadding(long token) {
        return token < Integer.MAX_VALUE && padding.get((int) token);
    }

    /** Negative infinity is no reason, but rare. */
    private boolean maybeRefused(long token) {
        return step != Float.BYTES || kernels.largest(address(token), config.experts()) >= INFINITY_BITS;
    }

    private int refusedExpert(long token) {
        return refusedExpert(address(token), step, config.experts());
    }

    /** {@return the first expert whose logit is no number or positive infinity, or -1} */
    static int refusedExpert(long address, long step, int experts) {
        for (int e = 0; e < experts; e++) {
            float x = ALL.get(F32, address + e * step);
            if (!(x < Float.POSITIVE_INFINITY)) {
                return e;
            }
        }
        return -1;
    }

    private IllegalArgumentException refusal(long token) {
        int expert = refusedExpert(token);
        return GateErrors.logit(token, expert, ALL.get(F32, address(token) + expert * step));
    }

    private long address(long token) {
        return logits.address() + token * rowStep;
    }

    // ---------------------------------------------------------------------------------------------- a block

    private void choose(long from) {
        int lanes = kernels.lanes();
        Block block = MINE.get();
        block.reserve(config.experts(), config.groups(), Math.max(config.topK(), GateKernels.FEW), lanes);
        long to = Math.min(tokens, from + TASK);
        for (long t = from; t < to; t += lanes) {
            int count = (int) Math.min(lanes, to - t);
            load(t, count, block);
            kernels.scores(config.scores(), block.scores, config.experts());
            select(block);
            for (int lane = 0; lane < count; lane++) {
                write(t + lane, lane, block);
            }
        }
    }

    private void load(long token, int count, Block block) {
        int lanes = kernels.lanes();
        int experts = config.experts();
        if (count == lanes && step == Float.BYTES && !anyPadding(token, count)) {
            kernels.load(address(token), rowStep, experts, block.scores);
            return;
        }
        for (int lane = 0; lane < lanes; lane++) {
            boolean real = lane < count && !isPadding(token + lane);
            for (int e = 0; e < experts; e++) {
                block.scores[e * lanes + lane] = real ? ALL.get(F32, address(token + lane) + e * step) : 0;
            }
        }
    }

    private boolean anyPadding(long token, int count) {
        if (padding.isEmpty()) {
            return false;
        }
        for (int lane = 0; lane < count; lane++) {
            if (isPadding(token + lane)) {
                return true;
            }
        }
        return false;
    }

    private void select(Block b) {
        int lanes = kernels.lanes();
        int groups = config.groups();
        int size = config.groupSize();
        for (int g = 0; g < groups; g++) {
            boolean sum = config.groupScore() == GroupScore.TOP2_SUM && available[g] > 1;
            kernels.keys(b.scores, bias, g * size, (g + 1) * size, b.keys, sum, b.group, g * lanes);
            if (available[g] == 0) {
                Arrays.fill(b.group, g * lanes, (g + 1) * lanes, ScoreMath.NEVER);
            }
        }
        if (config.keptGroups() < groups) {
            kernels.keep(b.group, groups, config.keptGroups(), b.caps);
        } else {
            Arrays.fill(b.caps, 0, groups * lanes, Integer.MAX_VALUE);
        }
        int slots = Math.max(config.topK(), GateKernels.FEW);
        Arrays.fill(b.slots, 0, slots * lanes, ScoreMath.NEVER);
        for (int g = 0; g < groups; g++) {
            if (slots == GateKernels.FEW) {
                kernels.insertFew(b.keys, g * size, (g + 1) * size, b.caps, g * lanes, b.slots, b.index);
            } else {
                kernels.insertMany(b.keys, g * size, (g + 1) * size, b.caps, g * lanes, b.slots, b.index, slots);
            }
        }
    }

    private void write(long token, int lane, Block b) {
        Tensor experts = out.experts();
        Tensor weights = out.weights();
        long expertAt = experts.address() + Integer.BYTES * token * experts.stride(0);
        long weightAt = weights.address() + Float.BYTES * token * weights.stride(0);
        long expertStep = Integer.BYTES * experts.stride(1);
        long weightStep = Float.BYTES * weights.stride(1);
        int k = config.topK();
        if (isPadding(token)) {
            for (int i = 0; i < k; i++) {
                ALL.set(I32, expertAt + i * expertStep, -1);
                ALL.set(F32, weightAt + i * weightStep, 0);
            }
            return;
        }
        int lanes = kernels.lanes();
        float sum = 0;
        for (int i = 0; i < k; i++) {
            int e = b.index[i * lanes + lane];
            ALL.set(I32, expertAt + i * expertStep, e);
            sum += b.scores[e * lanes + lane];
        }
        float divisor = config.normalize() ? sum + ScoreMath.TINY : 1;
        float scale = config.scale();
        for (int i = 0; i < k; i++) {
            float score = b.scores[b.index[i * lanes + lane] * lanes + lane];
            ALL.set(F32, weightAt + i * weightStep, score / divisor * scale);
        }
    }
}
