package dev.octet.fp8.cuda;

import dev.octet.cuda.TensorMap.Element;
import dev.octet.cuda.TensorMap.Layout;
import dev.octet.cuda.TensorMap.Promotion;
import dev.octet.cuda.TensorMap.Swizzle;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A launch of {@code fp8_gemm_hopper.cu} but for the GPU: what {@link TensorCoreGemm} prepares, and a GPU or an
 * emulation runs. Each thread has one and prepares it anew for every launch.
 */
final class HopperLaunch {
    /** Groups that a launch passes by value. */
    static final int MOST_GROUPS = 256;
    /** Where the table of groups begins in {@code GemmArguments}: as many first tokens, then as many ends. */
    static final int TABLE = 224;
    /** Bytes of {@code GemmArguments}. */
    static final int ARGUMENT_BYTES = TABLE + 2 * 4 * MOST_GROUPS;
    /** Parameters of the kernel that are maps: left, right, the scales of left's and of right's rows, and D. */
    static final int MAPS = 5;

    /** Layouts are kept, where their hash says: a model has a few hundred, and making one allocates. */
    private static final int KEPT = 1024;
    private static final @Nullable Layout[] LAYOUTS = new Layout[KEPT];

    final MemorySegment arguments = Arena.ofAuto().allocate(ARGUMENT_BYTES, 8);
    private final @Nullable Layout[] layouts = new Layout[MAPS];
    private final long[] addresses = new long[MAPS];
    private @Nullable HopperVariant variant;
    private int grid;
    private int cluster;

    /** Begins anew: no maps. */
    void begin(HopperVariant v, int gridBlocks, int clusterBlocks) {
        variant = v;
        grid = gridBlocks;
        cluster = clusterBlocks;
        Arrays.fill(layouts, null);
    }

    HopperVariant variant() {
        HopperVariant v = variant;
        if (v == null) {
            throw new IllegalStateException("nothing was prepared");
        }
        return v;
    }

    /** {@return blocks} */
    int grid() {
        return grid;
    }

    /** {@return blocks of a cluster} */
    int cluster() {
        return cluster;
    }

    /** {@return what a map describes, always the same object for the same; null where the variant has no use for it} */
    @Nullable Layout layout(int map) {
        return layouts[map];
    }

    /** {@return the address of a map's first element} */
    long address(int map) {
        return addresses[map];
    }

    /** A map of three dimensions, innermost first: bytes, rows, groups. */
    void codes(int map, long address, long columns, long rows, long groups, long pitch, long apart, int box) {
        set(map, address, Element.U8, 3, columns, rows, groups, pitch, apart, HopperVariant.DEPTH, box, Swizzle.B128);
    }

    /** A map of two dimensions, innermost first. */
    void matrix(int map, long address, Element element, long columns, long rows, long pitch, int boxColumns,
            int boxRows, Swizzle swizzle) {
        set(map, address, element, 2, columns, rows, 1, pitch, 0, boxColumns, boxRows, swizzle);
    }

    private void set(int map, long address, Element element, int rank, long d0, long d1, long d2, long s0, long s1,
            int b0, int b1, Swizzle swizzle) {
        long hash = (d0 * 31 + d1) * 31 + d2;
        hash = ((hash * 31 + s0) * 31 + s1) * 31 + b0 + 7L * b1;
        hash *= 0x9E3779B97F4A7C15L;
        int at = (int) (hash >>> 54);
        Layout l = LAYOUTS[at];
        if (l == null || l.element() != element || l.swizzle() != swizzle || l.dims().length != rank
                || l.dims()[0] != d0 || l.dims()[1] != d1 || l.strides()[0] != s0 || l.box()[0] != b0
                || l.box()[1] != b1 || rank == 3 && (l.dims()[2] != d2 || l.strides()[1] != s1)) {
            l = rank == 3
                    ? new Layout(element, new long[] {d0, d1, d2}, new long[] {s0, s1}, new int[] {b0, b1, 1}, swizzle,
                            Promotion.B256, false)
                    : new Layout(element, new long[] {d0, d1}, new long[] {s0}, new int[] {b0, b1}, swizzle,
                            Promotion.B256, false);
            LAYOUTS[at] = l; // immutable: a thread that sees the one before makes its own
        }
        layouts[map] = l;
        addresses[map] = address;
    }
}
