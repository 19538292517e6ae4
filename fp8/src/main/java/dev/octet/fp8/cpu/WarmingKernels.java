package dev.octet.fp8.cpu;

import dev.octet.core.DType;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/**
 * Kernels that begin in plain Java and end on the Vector API. Until C2 has compiled it, code on the Vector API boxes each
 * vector and is a hundred times slower than a plain loop: a first quantisation of 15 million values took 1.5 s that way.
 * So each operation does a tile with the plain loops, but for a part that the vector kernel does as long as it has not
 * taken more time than they in all, which is what gets it compiled; once it is the faster one it does everything. Both give the same bits, so nobody sees which one ran.
 *
 * <p>The switch is made for each operation, source type and format, since each is compiled alone. The property
 * {@code octet.fp8.warmup=false} leaves out the plain loops, as tests of the vector kernels must.
 *
 * <p>Safe for use by several threads: counters may lose an update, which changes nothing but the time of the switch.
 */
final class WarmingKernels implements TileKernels {
    /** What those operations share that run on the Vector API. */
    static final TileKernels SHARED = Boolean.parseBoolean(System.getProperty("octet.fp8.warmup", "true"))
            ? new WarmingKernels(new ScalarKernels(), new VectorHalfKernels(), System::nanoTime)
            : new VectorHalfKernels();

    /** Elements of a trial, about: 3 ms of interpreted vector code. */
    private static final long TRIAL = 2048;
    /** So many trials must have been faster before the vector kernel takes over: one may be luck. */
    private static final int FASTER = 3;

    private static final int MAX_OF_BLOCKS = 0;
    private static final int MAX_OF_COLUMNS = 1;
    private static final int CAST = 2;
    private static final int ENCODE_BLOCKS = 3;
    private static final int ENCODE_COLUMNS = 4;
    private static final int DECODE_BLOCKS = 5;
    private static final int DECODE_COLUMNS = 6;
    private static final int WIDEN = 7;
    private static final int NARROW = 8;
    private static final int OPERATIONS = 9;

    private final TileKernels plain;
    private final TileKernels vector;
    private final LongSupplier clock;
    private final Warmth[] warmth = new Warmth[OPERATIONS * 4];

    /**
     * Makes kernels that begin with the one and may end with the other.
     *
     * @param clock the time in nanoseconds
     */
    WarmingKernels(TileKernels plain, TileKernels vector, LongSupplier clock) {
        this.plain = plain;
        this.vector = vector;
        this.clock = clock;
        for (int i = 0; i < warmth.length; i++) {
            warmth[i] = new Warmth();
        }
    }

    /** What is known of one kernel. */
    private static final class Warmth {
        private volatile boolean warm;
        private final AtomicLong plainNanos = new AtomicLong();
        private final AtomicLong trialNanos = new AtomicLong();
        /** The best rate of the plain loops so far, which they have once C2 has compiled them. */
        private volatile double plainNanosPerElement = Double.POSITIVE_INFINITY;
        private volatile int faster;

        boolean mayTry() {
            return plainNanos.get() > trialNanos.get();
        }

        void ranPlain(long nanos, long elements) {
            plainNanos.addAndGet(nanos);
            plainNanosPerElement = Math.min(plainNanosPerElement, (double) nanos / elements);
        }

        void tried(long nanos, long elements) {
            trialNanos.addAndGet(nanos);
            if (nanos < plainNanosPerElement * elements) {
                faster = faster + 1;
                warm = faster >= FASTER;
            }
        }
    }

    /** A kernel over some units of a tile, rows or columns. */
    @FunctionalInterface
    private interface Part {
        void run(TileKernels kernels, long from, long to);
    }

    private Warmth of(int operation, boolean bf16, boolean e5m2) {
        return warmth[4 * operation + (bf16 ? 2 : 0) + (e5m2 ? 1 : 0)];
    }

    private void run(Warmth w, long units, long elementsOfUnit, Part part) {
        if (units == 0 || elementsOfUnit == 0) {
            return;
        }
        long tried = 0;
        long start = clock.getAsLong();
        if (w.mayTry()) {
            tried = Math.min(units, Math.max(1, TRIAL / elementsOfUnit));
            part.run(vector, 0, tried);
            long end = clock.getAsLong();
            w.tried(end - start, tried * elementsOfUnit);
            start = end;
        }
        if (tried < units) {
            part.run(plain, tried, units);
            w.ranPlain(clock.getAsLong() - start, (units - tried) * elementsOfUnit);
        }
    }

    @Override
    public void maxBitsOfBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        Warmth w = of(MAX_OF_BLOCKS, bf16, false);
        if (w.warm) {
            vector.maxBitsOfBlocks(x, bf16, at, rowBytes, rows, columns, max);
            return;
        }
        long maxBytes = 4 * TileKernels.blocks(columns);
        run(w, rows, columns, (k, from, to) -> k.maxBitsOfBlocks(x, bf16, at + from * rowBytes, rowBytes, to - from,
                columns, max.asSlice(from * maxBytes)));
    }

    @Override
    public void maxBitsOfColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment max) {
        Warmth w = of(MAX_OF_COLUMNS, bf16, false);
        if (w.warm) {
            vector.maxBitsOfColumns(x, bf16, at, rowBytes, rows, columns, max);
            return;
        }
        run(w, TileKernels.blocks(columns), rows * BLOCK, (k, from, to) -> k.maxBitsOfColumns(x, bf16,
                at + from * bytesOfBlock(bf16), rowBytes, rows, columns(from, to, columns), max.asSlice(4 * BLOCK * from)));
    }

    @Override
    public void cast(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns, FloatFormat format,
            MemorySegment codes, long codesAt, long codesRowBytes) {
        Warmth w = of(CAST, bf16, isE5M2(format));
        if (w.warm) {
            vector.cast(x, bf16, at, rowBytes, rows, columns, format, codes, codesAt, codesRowBytes);
            return;
        }
        run(w, TileKernels.blocks(columns), rows * BLOCK, (k, from, to) -> k.cast(x, bf16,
                at + from * bytesOfBlock(bf16), rowBytes, rows, columns(from, to, columns), format, codes,
                codesAt + from * BLOCK, codesRowBytes));
    }

    @Override
    public void encodeBlocks(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, long factorsRowBytes, FloatFormat format, MemorySegment codes, long codesAt,
            long codesRowBytes) {
        Warmth w = of(ENCODE_BLOCKS, bf16, isE5M2(format));
        if (w.warm) {
            vector.encodeBlocks(x, bf16, at, rowBytes, rows, columns, factors, factorsRowBytes, format, codes, codesAt,
                    codesRowBytes);
            return;
        }
        run(w, rows, columns, (k, from, to) -> k.encodeBlocks(x, bf16, at + from * rowBytes, rowBytes, to - from,
                columns, factors.asSlice(from * factorsRowBytes), factorsRowBytes, format, codes,
                codesAt + from * codesRowBytes, codesRowBytes));
    }

    @Override
    public void encodeColumns(MemorySegment x, boolean bf16, long at, long rowBytes, long rows, long columns,
            MemorySegment factors, FloatFormat format, MemorySegment codes, long codesAt, long codesRowBytes) {
        Warmth w = of(ENCODE_COLUMNS, bf16, isE5M2(format));
        if (w.warm) {
            vector.encodeColumns(x, bf16, at, rowBytes, rows, columns, factors, format, codes, codesAt, codesRowBytes);
            return;
        }
        run(w, rows, columns, (k, from, to) -> k.encodeColumns(x, bf16, at + from * rowBytes, rowBytes, to - from,
                columns, factors, format, codes, codesAt + from * codesRowBytes, codesRowBytes));
    }

    @Override
    public void decodeBlocks(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, long scalesRowBytes, MemorySegment y, boolean bf16, long at,
            long rowBytes) {
        Warmth w = of(DECODE_BLOCKS, bf16, isE5M2(format));
        if (w.warm) {
            vector.decodeBlocks(codes, codesAt, codesRowBytes, rows, columns, format, scales, scalesRowBytes, y, bf16,
                    at, rowBytes);
            return;
        }
        run(w, TileKernels.blocks(columns), rows * BLOCK, (k, from, to) -> k.decodeBlocks(codes,
                codesAt + from * BLOCK, codesRowBytes, rows, columns(from, to, columns), format,
                scales.asSlice(4 * from), scalesRowBytes, y, bf16, at + from * bytesOfBlock(bf16), rowBytes));
    }

    @Override
    public void decodeColumns(MemorySegment codes, long codesAt, long codesRowBytes, long rows, long columns,
            FloatFormat format, MemorySegment scales, MemorySegment y, boolean bf16, long at, long rowBytes) {
        Warmth w = of(DECODE_COLUMNS, bf16, isE5M2(format));
        if (w.warm) {
            vector.decodeColumns(codes, codesAt, codesRowBytes, rows, columns, format, scales, y, bf16, at, rowBytes);
            return;
        }
        run(w, rows, columns, (k, from, to) -> k.decodeColumns(codes, codesAt + from * codesRowBytes, codesRowBytes,
                to - from, columns, format, scales, y, bf16, at + from * rowBytes, rowBytes));
    }

    @Override
    public void widen(MemorySegment halves, long halvesAt, long n, MemorySegment y, long at) {
        Warmth w = of(WIDEN, false, false);
        if (w.warm) {
            vector.widen(halves, halvesAt, n, y, at);
            return;
        }
        run(w, n, 1, (k, from, to) -> k.widen(halves, halvesAt + 2 * from, to - from, y, at + 4 * from));
    }

    @Override
    public void narrow(MemorySegment x, long at, long n, MemorySegment halves, long halvesAt) {
        Warmth w = of(NARROW, false, false);
        if (w.warm) {
            vector.narrow(x, at, n, halves, halvesAt);
            return;
        }
        run(w, n, 1, (k, from, to) -> k.narrow(x, at + 4 * from, to - from, halves, halvesAt + 2 * from));
    }

    private static long bytesOfBlock(boolean bf16) {
        return (bf16 ? 2 : 4) * BLOCK;
    }

    /** {@return the columns of blocks {@code from} to {@code to}, of which the last may be cut off} */
    private static long columns(long from, long to, long columns) {
        return Math.min(to * BLOCK, columns) - from * BLOCK;
    }

    /** {@return whether values of a type are encoded in a format by the vector kernel alone} */
    boolean isWarm(boolean bf16, FloatFormat format) {
        return of(ENCODE_BLOCKS, bf16, isE5M2(format)).warm;
    }

    private static boolean isE5M2(FloatFormat format) {
        return format.dtype() == DType.F8_E5M2;
    }
}
