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
 * Native memory for what stands between the steps of one call. Each thread keeps what a decode step or a small batch
 * needs; more than that is allocated for the call and freed with it, also when the call fails. Contents are undefined.
 */
final class Workspace implements AutoCloseable {
    /** What a thread keeps at most. */
    private static final long KEPT = 64L << 20;
    private static final ThreadLocal<MemorySegment[]> MINE = ThreadLocal.withInitial(() -> new MemorySegment[1]);

    private final @Nullable Arena arena;
    private final MemorySegment memory;
    private long used;

    private Workspace(@Nullable Arena arena, MemorySegment memory) {
        this.arena = arena;
        this.memory = memory;
    }

    /** {@return memory for areas of so many bytes together, each counted by {@link #padded}} */
    static Workspace of(long bytes) {
        if (bytes > KEPT) {
            Arena arena = Arena.ofShared();
            try {
                return new Workspace(arena, arena.allocate(bytes, Tensor.ALIGNMENT));
            } catch (RuntimeException | Error e) {
                arena.close();
                throw e;
            }
        }
        MemorySegment[] mine = MINE.get();
        if (mine[0] == null || mine[0].byteSize() < bytes) {
            // An automatic arena: the memory goes when the thread, and with it the last reference, is gone.
            mine[0] = Arena.ofAuto().allocate(Math.min(KEPT, bytes + bytes / 4), Tensor.ALIGNMENT);
        }
        return new Workspace(null, mine[0]);
    }

    /** {@return bytes rounded up so that the next area is aligned} */
    static long padded(long bytes) {
        return Math.ceilDiv(bytes, Tensor.ALIGNMENT) * Tensor.ALIGNMENT;
    }

    /** {@return what {@link #quantized} takes} */
    static long quantizedBytes(long rows, long columns) {
        return padded(rows * columns) + padded(Float.BYTES * scaleRows(rows) * scaleColumns(columns));
    }

    private static long scaleRows(long rows) {
        return Math.ceilDiv(rows, 4L) * 4;
    }

    private static long scaleColumns(long columns) {
        return Math.ceilDiv(columns, (long) Granularity.BLOCK);
    }

    /** {@return the next area} */
    MemorySegment take(long bytes) {
        MemorySegment area = memory.asSlice(used, bytes);
        used += padded(bytes);
        return area;
    }

    /** {@return a matrix at the beginning of an area} */
    static Tensor floats(MemorySegment area, long rows, long columns) {
        return Tensor.wrap(area, DType.F32, Shape.of(rows, columns));
    }

    /** {@return an E4M3 matrix with scales 1x128 at the beginning of an area, laid out as by {@link ScaledTensor}} */
    static ScaledTensor quantized(MemorySegment area, long rows, long columns, Scaling scaling) {
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
