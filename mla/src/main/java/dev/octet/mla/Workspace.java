package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.Scaling;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Native memory for what lives within one call of a layer. A call takes a workspace for itself and gives it back at the
 * end, whatever happens; the next call of any layer, in any thread, finds memory that is there already. So the steps of
 * decoding, a few megabytes, neither allocate nor clear anything. Tensors that come from here hold left-over values.
 */
final class Workspace implements AutoCloseable {
    /** A workspace that was larger is freed after its call: it served a long prompt. */
    private static final long KEPT_BYTES = 64 << 20;
    private static final int KEPT = 16;
    private static final long SLAB = 1 << 20;

    private static final Deque<Workspace> POOL = new ArrayDeque<>(); // guarded by itself

    private record Slab(Arena arena, MemorySegment memory) {}

    private final List<Slab> slabs = new ArrayList<>();
    private int current;
    private long used; // of the current slab

    private Workspace() {}

    /** {@return a workspace that nobody else uses until it is closed} */
    static Workspace take() {
        synchronized (POOL) {
            Workspace kept = POOL.pollLast();
            return kept != null ? kept : new Workspace();
        }
    }

    /** {@return a contiguous tensor} */
    Tensor tensor(DType dtype, long... dims) {
        Shape shape = Shape.of(dims);
        return Tensor.wrap(allocate(Math.multiplyExact(shape.elements(), (long) dtype.byteSize())), dtype, shape);
    }

    /** {@return codes and scales of 1x128 groups, in the layout that a GEMM reads} */
    ScaledTensor activations(long rows, long columns, ScaleFormat format) {
        long blocks = Math.ceilDiv(columns, (long) Granularity.BLOCK);
        Tensor scales = tensor(format.dtype(), blocks, Math.ceilDiv(rows, 4L) * 4).slice(1, 0, rows).transpose();
        return new ScaledTensor(tensor(DType.F8_E4M3, rows, columns), scales,
                new Scaling(Granularity.BLOCK_1X128, format));
    }

    private MemorySegment allocate(long bytes) {
        while (current < slabs.size()) {
            MemorySegment memory = slabs.get(current).memory();
            if (bytes <= memory.byteSize() - used) {
                MemorySegment s = memory.asSlice(used, bytes);
                used += Math.ceilDiv(bytes, Tensor.ALIGNMENT) * Tensor.ALIGNMENT;
                used = Math.min(used, memory.byteSize());
                return s;
            }
            current++;
            used = 0;
        }
        add(Math.max(bytes, SLAB));
        return allocate(bytes);
    }

    private void add(long bytes) {
        Arena arena = Arena.ofShared();
        try {
            slabs.add(new Slab(arena, arena.allocate(bytes, Tensor.ALIGNMENT)));
        } catch (RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /** {@return a state to go back to} */
    Mark mark() {
        return new Mark(current, used);
    }

    /** A state to go back to. */
    record Mark(int slab, long used) {}

    /** Makes room again: all tensors since the mark are no longer used. */
    void release(Mark mark) {
        current = mark.slab();
        used = mark.used();
    }

    /** Gives the memory to the next call. What took several slabs gets one next time. */
    @Override
    public void close() {
        current = 0;
        used = 0;
        long bytes = slabs.stream().mapToLong(s -> s.memory().byteSize()).sum();
        if (slabs.size() > 1 || bytes > KEPT_BYTES) {
            slabs.forEach(s -> s.arena().close());
            slabs.clear();
            if (bytes <= KEPT_BYTES) {
                add(bytes);
            }
        }
        synchronized (POOL) {
            if (POOL.size() < KEPT) {
                POOL.addLast(this);
                return;
            }
        }
        slabs.forEach(s -> s.arena().close());
    }
}
