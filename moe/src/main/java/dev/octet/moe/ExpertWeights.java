package dev.octet.moe;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.TensorInfo;
import dev.octet.core.safetensors.TensorSource;
import dev.octet.fp8.Checkpoint;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Fp8Codec;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.BitSet;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * The weights of one layer's experts in E4M3 with a scale for each block of 128x128, in memory of their own: of all
 * experts, or of those that live here. Gate and up projection of an expert lie below each other, so that one product
 * makes both.
 *
 * <p>Immutable until closed; safe for use by several threads.
 */
public final class ExpertWeights implements AutoCloseable {
    private static final int BLOCK = Granularity.BLOCK;

    private final Arena arena;
    private final Scaling scaling;
    private final int hidden;
    private final int inter;
    private final @Nullable Expert[] experts;
    private @Nullable Expert shared;

    /**
     * One expert: {@code down * (silu(gate * x) * (up * x))}.
     *
     * @param gateUp {@code [2 * P, hidden]}, P being {@code inter} rounded up to whole blocks: rows of the gate
     *     projection, zeros up to row P, rows of the up projection, zeros
     * @param down {@code [hidden, inter]}
     */
    public record Expert(ScaledTensor gateUp, ScaledTensor down) {
        /** {@return columns of the down projection} */
        public int inter() {
            return Math.toIntExact(down.columns());
        }

        /** {@return bytes of codes and scales} */
        public long byteSize() {
            return gateUp.byteSize() + down.byteSize();
        }
    }

    private ExpertWeights(Arena arena, Scaling scaling, int hidden, int inter, int experts) {
        this.arena = arena;
        this.scaling = scaling;
        this.hidden = hidden;
        this.inter = inter;
        this.experts = new Expert[experts];
    }

    /**
     * Reads a layer's weights under the names of DeepSeek's published checkpoints,
     * {@code model.layers.N.mlp.experts.E.{gate_proj,up_proj,down_proj}.weight}, and where they are there
     * {@code model.layers.N.mlp.shared_experts.*}. E4M3 with its scales is copied as it is; F32, BF16 and F16 are
     * quantised with scales of the checkpoint's format.
     *
     * @param checkpoint where from; may be closed afterwards
     * @param layer the layer's number N
     * @param experts how many experts the layer has
     * @param held which of them are read; at least one
     * @return the weights; close them to free the memory
     * @throws IllegalArgumentException if an expert is out of range or a tensor is missing or does not fit; the message
     *     names it
     */
    public static ExpertWeights read(Checkpoint checkpoint, int layer, int experts, BitSet held) {
        requireCount("experts", experts);
        if (held.isEmpty() || held.length() > experts) {
            throw new IllegalArgumentException("held is " + held + ", it must name at least one of the " + experts
                    + " experts, 0 to " + (experts - 1));
        }
        String mlp = "model.layers." + layer + ".mlp.";
        String first = mlp + "experts." + held.nextSetBit(0);
        Shape down = matrix(checkpoint.source(), first + ".down_proj.weight");
        Arena arena = Arena.ofShared();
        try {
            ExpertWeights all = new ExpertWeights(arena, new Scaling(Granularity.BLOCK_128X128,
                    checkpoint.scaleFormat()), Math.toIntExact(down.dim(0)), Math.toIntExact(down.dim(1)), experts);
            for (int e = held.nextSetBit(0); e >= 0; e = held.nextSetBit(e + 1)) {
                all.experts[e] = all.read(checkpoint, mlp + "experts." + e, all.inter);
            }
            String shared = mlp + "shared_experts";
            if (checkpoint.source().contains(shared + ".down_proj.weight")) {
                long width = matrix(checkpoint.source(), shared + ".down_proj.weight").dim(1);
                all.shared = all.read(checkpoint, shared, Math.toIntExact(width));
            }
            return all;
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /**
     * Reads the weights of all experts of a layer; see {@link #read(Checkpoint, int, int, BitSet)}.
     *
     * @param checkpoint where from; may be closed afterwards
     * @param layer the layer's number
     * @param experts how many experts the layer has
     * @return the weights; close them to free the memory
     * @throws IllegalArgumentException if a tensor is missing or does not fit; the message names it
     */
    public static ExpertWeights read(Checkpoint checkpoint, int layer, int experts) {
        requireCount("experts", experts);
        BitSet all = new BitSet();
        all.set(0, experts);
        return read(checkpoint, layer, experts, all);
    }

    /**
     * Makes weights for tests and benchmarks: codes of normally distributed values, scaled so that each product keeps
     * about the size of its input. A few megabytes of codes repeat, each expert beginning elsewhere among them.
     *
     * @param hidden columns of what goes in and comes out
     * @param inter rows of an expert's gate projection
     * @param experts how many experts
     * @param sharedInter rows of the shared experts' gate projection, 0 for no shared experts
     * @param seed of the generator
     * @return the weights; close them to free the memory
     * @throws IllegalArgumentException if a number is out of range
     */
    public static ExpertWeights random(int hidden, int inter, int experts, int sharedInter, long seed) {
        requireCount("hidden", hidden);
        requireCount("inter", inter);
        requireCount("experts", experts);
        if (sharedInter < 0) {
            throw new IllegalArgumentException("sharedInter is " + sharedInter + ", it can't be negative");
        }
        SplittableRandom random = new SplittableRandom(seed);
        long largest = 2L * Math.max(inter, sharedInter) * hidden;
        byte[] codes = new byte[(int) Math.min(largest, (1 << 22) + 77)];
        for (int i = 0; i < codes.length; i++) {
            codes[i] = Fp8Codec.encodeE4M3((float) (random.nextGaussian() * (Fp8Codec.E4M3_MAX / 4)),
                    Overflow.SATURATE);
        }
        Arena arena = Arena.ofShared();
        try {
            ExpertWeights all = new ExpertWeights(arena, Scaling.WEIGHT, hidden, inter, experts);
            for (int e = 0; e < experts; e++) {
                all.experts[e] = all.random(inter, codes, random);
            }
            if (sharedInter > 0) {
                all.shared = all.random(sharedInter, codes, random);
            }
            return all;
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    private static void requireCount(String name, int count) {
        if (count < 1) {
            throw new IllegalArgumentException(name + " is " + count + ", it must be at least 1");
        }
    }

    // ---------------------------------------------------------------------------------------------- making

    private Expert allocate(int width) {
        return new Expert(allocate(2 * Math.ceilDiv(width, (long) BLOCK) * BLOCK, hidden), allocate(hidden, width));
    }

    private ScaledTensor allocate(long rows, long columns) {
        Tensor codes = Tensor.allocate(arena, DType.F8_E4M3, Shape.of(rows, columns));
        return new ScaledTensor(codes, Tensor.allocate(arena, DType.F32,
                scaling.granularity().scaleShape(rows, columns)), scaling);
    }

    private Expert read(Checkpoint checkpoint, String name, int width) {
        Expert e = allocate(width);
        long padded = e.gateUp.rows() / 2;
        copy(checkpoint, name + ".gate_proj.weight", rows(e.gateUp, 0, width));
        copy(checkpoint, name + ".up_proj.weight", rows(e.gateUp, padded, width));
        copy(checkpoint, name + ".down_proj.weight", e.down);
        return e;
    }

    /** A range of rows that begins with a block and may end inside of one, whose other rows are zeros. */
    private static ScaledTensor rows(ScaledTensor t, long from, long count) {
        return new ScaledTensor(t.codes().slice(0, from, from + count),
                t.scales().slice(0, from / BLOCK, from / BLOCK + Math.ceilDiv(count, (long) BLOCK)), t.scaling());
    }

    private static void copy(Checkpoint checkpoint, String name, ScaledTensor to) {
        Shape shape = matrix(checkpoint.source(), name);
        if (!shape.equals(to.codes().shape())) {
            throw new IllegalArgumentException("'" + name + "' has shape " + shape + ", it must be "
                    + to.codes().shape() + " like the first expert's");
        }
        Tensor stored = checkpoint.source().tensor(name);
        if (stored.dtype().isFloat()) {
            Fp8.auto().quantize(stored, to);
        } else {
            ScaledTensor weight = checkpoint.weight(name);
            to.codes().copyFrom(weight.codes());
            to.scales().copyFrom(weight.scales());
        }
    }

    private static Shape matrix(TensorSource source, String name) {
        TensorInfo info = source.info(name);
        if (info.shape().rank() != 2) {
            throw new IllegalArgumentException("'" + name + "' has shape " + info.shape() + ", it must be a matrix");
        }
        return info.shape();
    }

    private Expert random(int width, byte[] codes, SplittableRandom random) {
        Expert e = allocate(width);
        long padded = e.gateUp.rows() / 2;
        random(rows(e.gateUp, 0, width), codes, random);
        random(rows(e.gateUp, padded, width), codes, random);
        random(e.down, codes, random);
        return e;
    }

    private static void random(ScaledTensor t, byte[] codes, SplittableRandom random) {
        MemorySegment to = t.codes().segment();
        MemorySegment from = MemorySegment.ofArray(codes);
        long size = t.codes().shape().elements();
        int begin = random.nextInt(codes.length);
        for (long at = 0; at < size;) {
            long n = Math.min(codes.length - begin, size - at);
            MemorySegment.copy(from, begin, to, at, n);
            at += n;
            begin = 0;
        }
        MemorySegment scales = t.scales().segment();
        double unit = 4 / (Fp8Codec.E4M3_MAX * Math.sqrt(t.columns()));
        for (long i = 0; i < t.scales().shape().elements(); i++) {
            scales.set(ValueLayout.JAVA_FLOAT_UNALIGNED, Float.BYTES * i,
                    (float) (unit * (0.75 + 0.5 * random.nextDouble())));
        }
    }

    // ---------------------------------------------------------------------------------------------- what is there

    /** {@return columns of what goes in and comes out} */
    public int hidden() {
        return hidden;
    }

    /** {@return rows of an expert's gate projection} */
    public int inter() {
        return inter;
    }

    /** {@return rows of an expert's gate and up projections together, as {@link Expert#gateUp} has them} */
    long projected() {
        return 2 * Math.ceilDiv((long) inter, (long) BLOCK) * BLOCK;
    }

    /** {@return how many experts the layer has, here or elsewhere} */
    public int experts() {
        return experts.length;
    }

    /** {@return how the scales of all weights are rounded} */
    public ScaleFormat scaleFormat() {
        return scaling.format();
    }

    /**
     * {@return whether an expert's weights are here}
     *
     * @param expert 0 to {@link #experts()} - 1
     */
    public boolean holds(int expert) {
        return experts[expert] != null;
    }

    /**
     * {@return an expert's weights}
     *
     * @param expert 0 to {@link #experts()} - 1
     * @throws IllegalArgumentException if they are not here
     */
    public Expert expert(int expert) {
        Expert e = experts[expert];
        if (e == null) {
            throw new IllegalArgumentException("expert " + expert + " is not held here");
        }
        return e;
    }

    /** {@return the shared experts as one, or null if the layer has none} */
    public @Nullable Expert shared() {
        return shared;
    }

    /** {@return whether this was not closed yet} */
    public boolean isOpen() {
        return arena.scope().isAlive();
    }

    /** Frees the memory. Closing again does nothing. */
    @Override
    public void close() {
        if (isOpen()) {
            arena.close();
        }
    }
}
