package dev.octet.moe;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * What stands between the steps of one call, in native memory. Each thread keeps that of its last call, if a decode step
 * or a small batch needs no more, and a call of the same sizes finds the matrices ready; more is allocated for the call
 * and freed with it, also when the call fails. Contents are undefined.
 */
final class Workspace implements AutoCloseable {
    /** What a thread keeps at most. */
    private static final long KEPT = 64L << 20;
    private static final ThreadLocal<Kept> MINE = ThreadLocal.withInitial(Kept::new);

    /** A thread's. */
    private static final class Kept {
        @Nullable MemorySegment memory;
        @Nullable Workspace last;
    }

    /**
     * What all sizes follow from.
     *
     * @param rows of all experts together
     * @param projected columns of an expert's gate and up projections together
     * @param sharedInter 0 without shared experts
     * @param sharedProjected columns of the shared experts' gate and up projections together
     */
    record Sizes(long tokens, long rows, long hidden, long inter, long projected, long sharedInter,
            long sharedProjected, Scaling scaling) {
        static Sizes of(ExpertWeights w, long tokens, long rows, Scaling scaling) {
            ExpertWeights.Expert shared = w.shared();
            return new Sizes(tokens, rows, w.hidden(), w.inter(), w.projected(), shared == null ? 0 : shared.inter(),
                    shared == null ? 0 : shared.gateUp().rows(), scaling);
        }

        /** Gate and up projections, and in their place, when they are used up, what the down projections give. */
        private long wideBytes() {
            return Float.BYTES * Math.max(rows * Math.max(projected, hidden), tokens * sharedProjected);
        }

        private long narrowBytes() {
            return Math.max(quantizedBytes(rows, inter), quantizedBytes(tokens, sharedInter));
        }

        private long sumBytes() {
            return sharedInter == 0 ? 0 : Float.BYTES * tokens * hidden;
        }

        private long bytes() {
            return quantizedBytes(tokens, hidden) + quantizedBytes(rows, hidden) + padded(wideBytes())
                    + padded(narrowBytes()) + padded(sumBytes()) + padded(Float.BYTES * rows);
        }
    }

    private final Sizes sizes;
    private final @Nullable Arena arena;
    private final MemorySegment memory;
    private long used;

    /** Tokens, and the same sorted by expert. */
    final ScaledTensor tokens;
    final ScaledTensor sorted;
    final Tensor gateUp;
    /** Over {@link #gateUp}. */
    final Tensor down;
    final ScaledTensor activated;
    /** The experts' sum, to which shared experts are added. */
    final Tensor sum;
    /** Over those of the routed experts. */
    final Tensor sharedGateUp;
    final ScaledTensor sharedActivated;
    /** The routing weight of each row of {@link #sorted}. */
    final Tensor rowWeights;

    private Workspace(Sizes s, @Nullable Arena arena, MemorySegment memory) {
        sizes = s;
        this.arena = arena;
        this.memory = memory;
        tokens = quantized(take(quantizedBytes(s.tokens, s.hidden)), s.tokens, s.hidden, s.scaling);
        sorted = quantized(take(quantizedBytes(s.rows, s.hidden)), s.rows, s.hidden, s.scaling);
        MemorySegment wide = take(s.wideBytes());
        gateUp = floats(wide, s.rows, s.projected);
        down = floats(wide, s.rows, s.hidden);
        sharedGateUp = floats(wide, s.tokens, s.sharedProjected);
        MemorySegment narrow = take(s.narrowBytes());
        activated = quantized(narrow, s.rows, s.inter, s.scaling);
        sharedActivated = quantized(narrow, s.tokens, s.sharedInter, s.scaling);
        sum = floats(take(s.sumBytes()), s.sharedInter == 0 ? 0 : s.tokens, s.hidden);
        rowWeights = Tensor.wrap(take(Float.BYTES * s.rows), DType.F32, Shape.of(s.rows));
    }

    /** {@return matrices of these sizes} */
    static Workspace of(Sizes sizes) {
        Kept mine = MINE.get();
        Workspace last = mine.last;
        if (last != null && last.sizes.equals(sizes)) {
            return last;
        }
        long bytes = sizes.bytes();
        if (bytes > KEPT) {
            Arena arena = Arena.ofShared();
            try {
                return new Workspace(sizes, arena, arena.allocate(bytes, Tensor.ALIGNMENT));
            } catch (RuntimeException | Error e) {
                arena.close();
                throw e;
            }
        }
        MemorySegment memory = mine.memory;
        if (memory == null || memory.byteSize() < bytes) {
            // An automatic arena: the memory goes when the thread, and with it the last reference, is gone.
            memory = Arena.ofAuto().allocate(Math.min(KEPT, bytes + bytes / 4), Tensor.ALIGNMENT);
            mine.memory = memory;
        }
        Workspace made = new Workspace(sizes, null, memory);
        mine.last = made;
        return made;
    }

    /** Bytes rounded up so that the next area is aligned. */
    private static long padded(long bytes) {
        return Math.ceilDiv(bytes, Tensor.ALIGNMENT) * Tensor.ALIGNMENT;
    }

    private static long quantizedBytes(long rows, long columns) {
        return padded(rows * columns) + padded(Float.BYTES * scaleRows(rows) * scaleColumns(columns));
    }

    private static long scaleRows(long rows) {
        return Math.ceilDiv(rows, 4L) * 4;
    }

    private static long scaleColumns(long columns) {
        return Math.ceilDiv(columns, (long) Granularity.BLOCK);
    }

    private MemorySegment take(long bytes) {
        MemorySegment area = memory.asSlice(used, bytes);
        used += padded(bytes);
        return area;
    }

    private static Tensor floats(MemorySegment area, long rows, long columns) {
        return Tensor.wrap(area, DType.F32, Shape.of(rows, columns));
    }

    /** An E4M3 matrix with scales 1x128 at the beginning of an area, laid out as by {@link ScaledTensor}. */
    private static ScaledTensor quantized(MemorySegment area, long rows, long columns, Scaling scaling) {
        Tensor codes = Tensor.wrap(area, DType.F8_E4M3, Shape.of(rows, columns));
        MemorySegment rest = area.asSlice(padded(rows * columns));
        Tensor scales = Tensor.wrap(rest, scaling.format().dtype(), Shape.of(scaleColumns(columns), scaleRows(rows)))
                .transpose().slice(0, 0, rows);
        return new ScaledTensor(codes, scales, scaling);
    }

    @Override
    public void close() {
        if (arena != null) {
            arena.close();
        }
    }
}
