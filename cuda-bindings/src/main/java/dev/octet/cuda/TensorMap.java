package dev.octet.cuda;

import dev.octet.cuda.driver.Driver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;

/**
 * The 128 bytes by which Hopper's tensor memory accelerator knows a tensor in device memory and the box of it that one
 * instruction copies to or from shared memory ({@code CUtensorMap}). A kernel takes it as
 * {@code const __grid_constant__} parameter of 128 bytes: {@link KernelLaunch#setTensorMap}.
 *
 * <p>One object can be encoded again and again. Not safe for use by several threads at a time. Nothing has to be
 * closed.
 */
public final class TensorMap {
    /** The size of a map in bytes. */
    public static final int BYTES = 128;

    private static final int MAX_RANK = 5;
    private static final int MAX_BOX = 256;
    private static final long MAX_DIM = 1L << 32;
    private static final long MAX_STRIDE = 1L << 40;

    /** What an element is, as far as the copy engine cares. FP8 codes are {@link #U8}. */
    public enum Element {
        /** One byte. */
        U8(0, 1),
        /** Two bytes. */
        U16(1, 2),
        /** Four bytes. */
        U32(2, 4),
        /** FP16; differs from two bytes where elements outside are filled with NaN, and in sums. */
        F16(6, 2),
        /** FP32. */
        F32(7, 4),
        /** BF16. */
        BF16(9, 2);

        private final int code;
        private final int bytes;

        Element(int code, int bytes) {
            this.code = code;
            this.bytes = bytes;
        }

        /** {@return the size in bytes} */
        public int bytes() {
            return bytes;
        }
    }

    /** How 16-byte pieces are exchanged in shared memory, so that a column of them lies in different banks. */
    public enum Swizzle {
        /** As they come. */
        NONE(0, 0),
        /** Within 32 bytes. */
        B32(1, 32),
        /** Within 64 bytes. */
        B64(2, 64),
        /** Within 128 bytes. */
        B128(3, 128);

        private final int code;
        private final int bytes;

        Swizzle(int code, int bytes) {
            this.code = code;
            this.bytes = bytes;
        }
    }

    /** How much a miss brings into the second-level cache. */
    public enum Promotion {
        /** What was asked for. */
        NONE,
        /** 64 bytes. */
        B64,
        /** 128 bytes. */
        B128,
        /** 256 bytes. */
        B256
    }

    /**
     * A tensor and a box, innermost dimension first.
     *
     * @param element the element type
     * @param dims extents of the tensor, 1 to 5 of them, each 1 to 2^32
     * @param strides bytes between neighbours in all dimensions but the innermost, multiples of 16 below 2^40
     * @param box extents of the box, each 1 to 256; innermost a multiple of 16 bytes, and not more than the swizzle
     * @param swizzle the order of the box in shared memory
     * @param promotion what a miss brings into the second-level cache
     * @param nanOutside whether elements of the box outside the tensor read as NaN instead of 0; float types only
     */
    public record Layout(Element element, long[] dims, long[] strides, int[] box, Swizzle swizzle,
            Promotion promotion, boolean nanOutside) {
        /**
         * Checks what the copy engine asks for, and copies the arrays.
         *
         * @throws IllegalArgumentException if something does not fit
         */
        public Layout {
            dims = dims.clone();
            strides = strides.clone();
            box = box.clone();
            int rank = dims.length;
            if (rank < 1 || rank > MAX_RANK) {
                throw new IllegalArgumentException("dims has " + rank + " extents, takes 1 to " + MAX_RANK);
            }
            if (strides.length != rank - 1) {
                throw new IllegalArgumentException("strides has " + strides.length + " values for " + rank
                        + " dims, takes one fewer: the innermost has none");
            }
            if (box.length != rank) {
                throw new IllegalArgumentException("box has " + box.length + " extents for " + rank + " dims");
            }
            for (long d : dims) {
                check(d >= 1 && d <= MAX_DIM, "dims", dims, "each 1 to 2^32");
            }
            for (long s : strides) {
                check(s >= 0 && s % 16 == 0 && s < MAX_STRIDE, "strides", strides,
                        "bytes, multiples of 16 below 2^40");
            }
            for (int b : box) {
                check(b >= 1 && b <= MAX_BOX, "box", longs(box), "each 1 to " + MAX_BOX);
            }
            int inner = box[0] * element.bytes;
            check(inner % 16 == 0, "box", longs(box), "an innermost extent of a multiple of 16 bytes, here " + inner);
            check(swizzle == Swizzle.NONE || inner <= swizzle.bytes, "box", longs(box),
                    "an innermost extent of at most the swizzle's " + swizzle.bytes + " bytes, here " + inner);
            boolean isFloat = element == Element.F16 || element == Element.BF16 || element == Element.F32;
            if (nanOutside && !isFloat) {
                throw new IllegalArgumentException("nanOutside is true for " + element + ", takes a float type");
            }
        }

        /**
         * {@return the map of a matrix whose rows lie one after the other, and a box of it; 0 outside, 256 bytes
         * brought into the second-level cache}
         *
         * @param element the element type
         * @param rows rows of the matrix
         * @param columns elements of a row
         * @param rowBytes bytes from one row to the next, a multiple of 16
         * @param boxRows rows of the box
         * @param boxColumns columns of the box
         * @param swizzle the order of the box in shared memory
         */
        public static Layout matrix(Element element, long rows, long columns, long rowBytes, int boxRows,
                int boxColumns, Swizzle swizzle) {
            return new Layout(element, new long[] {columns, rows}, new long[] {rowBytes},
                    new int[] {boxColumns, boxRows}, swizzle, Promotion.B256, false);
        }

        /** {@return bytes of shared memory that the box takes} */
        public int boxBytes() {
            int bytes = element.bytes;
            for (int b : box) {
                bytes *= b;
            }
            return bytes;
        }

        private static void check(boolean ok, String name, long[] value, String takes) {
            if (!ok) {
                throw new IllegalArgumentException(name + " is " + Arrays.toString(value) + ", takes " + takes);
            }
        }

        private static long[] longs(int[] ints) {
            return Arrays.stream(ints).asLongStream().toArray();
        }

        /** {@return the extents, the box and the swizzle} */
        @Override
        public String toString() {
            return element + " " + Arrays.toString(dims) + " strides " + Arrays.toString(strides) + " box "
                    + Arrays.toString(box) + " swizzle " + swizzle;
        }
    }

    private final MemorySegment map;
    private final MemorySegment arrays;
    private final Driver.Geometry geometry;

    /** Makes room for a map. */
    public TensorMap() {
        Arena arena = Arena.ofAuto(); // lives as long as this object
        map = arena.allocate(BYTES, BYTES);
        arrays = arena.allocate(MAX_RANK * 24L, 8);
        long a = arrays.address();
        geometry = new Driver.Geometry(a, a + MAX_RANK * 8, a + MAX_RANK * 16, a + MAX_RANK * 20);
        for (int d = 0; d < MAX_RANK; d++) {
            arrays.set(ValueLayout.JAVA_INT, MAX_RANK * 20L + 4 * d, 1);
        }
    }

    /**
     * Encodes a tensor, in about half a microsecond and without allocation.
     *
     * @param gpu the GPU whose memory it is in
     * @param layout the tensor and the box
     * @param address the device address of the first element, a multiple of 16
     * @return this
     * @throws IllegalArgumentException if the address is not aligned
     * @throws CudaException if the driver refuses it
     */
    public TensorMap encode(CudaDevice gpu, Layout layout, long address) {
        if (address == 0 || address % 16 != 0) {
            throw new IllegalArgumentException("address is 0x" + Long.toHexString(address)
                    + ", takes a multiple of 16");
        }
        int rank = layout.dims.length;
        for (int d = 0; d < rank; d++) {
            arrays.set(ValueLayout.JAVA_LONG, 8L * d, layout.dims[d]);
            arrays.set(ValueLayout.JAVA_INT, MAX_RANK * 16L + 4 * d, layout.box[d]);
            if (d > 0) {
                arrays.set(ValueLayout.JAVA_LONG, MAX_RANK * 8L + 8 * (d - 1), layout.strides[d - 1]);
            }
        }
        gpu.enter().encodeTiled(map.address(), layout.element.code, rank, address, geometry, 0, layout.swizzle.code,
                layout.promotion.ordinal(), layout.nanOutside ? 1 : 0);
        Reference.reachabilityFence(this);
        return this;
    }

    /** {@return the 128 bytes} */
    MemorySegment segment() {
        return map;
    }
}
