package dev.octet.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.spi.Storage;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Slices, transposes, reshapes and strided copies, against the arithmetic of indices. */
class TensorViewTest {
    private static Tensor counting(long... dims) {
        int n = (int) Shape.of(dims).elements();
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = i;
        }
        return Tensor.of(values, dims);
    }

    @Test
    void sliceSharesMemory() {
        try (Tensor t = counting(4, 5)) {
            Tensor s = t.slice(0, 1, 3).slice(1, 2, 4);
            assertEquals(Shape.of(2, 2), s.shape());
            assertEquals(t.address() + 4 * 7, s.address());
            assertEquals(4L * 7, s.segment().byteSize(), "two rows of two, and the gap of three between them");
            assertArrayEquals(new float[] {7, 8, 12, 13}, s.toFloatArray());
            s.copyFrom(new float[] {-1, -2, -3, -4});
            assertEquals(-3f, t.getFloat(2, 2));
            assertEquals(14f, t.getFloat(2, 4), "the gap is untouched");
            assertEquals(0, t.slice(0, 4, 4).toFloatArray().length);
            assertThrows(IndexOutOfBoundsException.class, () -> t.slice(0, 3, 5));
            assertThrows(IndexOutOfBoundsException.class, () -> t.slice(0, 2, 1));
            assertThrows(IndexOutOfBoundsException.class, () -> t.slice(0, -1, 1));
            assertThrows(IndexOutOfBoundsException.class, () -> t.slice(2, 0, 0));
        }
    }

    @Test
    void transposeSharesMemory() {
        try (Tensor t = counting(2, 3)) {
            Tensor tt = t.transpose();
            assertArrayEquals(new long[] {1, 3}, tt.strides());
            assertArrayEquals(new float[] {0, 3, 1, 4, 2, 5}, tt.toFloatArray());
            assertFalse(tt.isContiguous());
            assertTrue(tt.transpose().isContiguous());
            tt.copyFrom(new float[] {5, 4, 3, 2, 1, 0});
            assertArrayEquals(new float[] {5, 3, 1, 4, 2, 0}, t.toFloatArray());
            assertTrue(t.slice(0, 0, 1).transpose().isContiguous(), "one row is one column");
            assertThrows(IndexOutOfBoundsException.class, () -> t.transpose(0, 2));
            assertThrows(IllegalArgumentException.class, () -> t.reshape(6).transpose());
        }
    }

    @Test
    void reshapeIsAViewOrRefused() {
        try (Tensor t = counting(4, 6)) {
            assertEquals(t.address(), t.reshape(2, 1, 12).address());
            assertArrayEquals(new long[] {12, 2, 1}, t.reshape(2, 6, 2).strides());
            Tensor half = t.slice(1, 0, 3); // rows with gaps: each row can be split, none can be joined
            assertArrayEquals(new float[] {0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20},
                    half.reshape(2, 2, 3, 1).toFloatArray());
            assertTrue(assertThrows(IllegalArgumentException.class, () -> half.reshape(12)).getMessage()
                    .contains("copy()"));
            assertThrows(IllegalArgumentException.class, () -> half.reshape(2, 6));
            assertThrows(IllegalArgumentException.class, () -> t.transpose().reshape(24));
            assertThrows(IllegalArgumentException.class, () -> t.reshape(5, 5));
            assertThrows(IllegalArgumentException.class, () -> t.reshape(0));
            assertThrows(IllegalArgumentException.class, () -> t.reshape(-4, -6));
            assertArrayEquals(new float[] {0, 6, 12, 18}, t.transpose().slice(0, 0, 1).reshape(2, 2).toFloatArray());
            try (Tensor copy = half.copy()) {
                assertEquals(Shape.of(12), copy.reshape(12).shape());
            }
        }
    }

    @Test
    void randomViewsAgreeWithIndexArithmetic() {
        for (long seed = 0; seed < 300; seed++) {
            Random random = new Random(seed);
            long[] dims = random.longs(1 + random.nextInt(4), 1, 7).toArray();
            try (Tensor t = counting(dims)) {
                Tensor view = t;
                List<Integer> expected = new ArrayList<>();
                for (int i = 0; i < t.shape().elements(); i++) {
                    expected.add(i);
                }
                for (int step = 0; step < 4; step++) {
                    long[] d = view.shape().toArray();
                    int a = random.nextInt(d.length);
                    if (random.nextBoolean()) {
                        int b = random.nextInt(d.length);
                        expected = permute(expected, d, a, b);
                        view = view.transpose(a, b);
                    } else {
                        long from = random.nextLong(d[a] + 1);
                        long to = from + random.nextLong(d[a] - from + 1);
                        expected = cut(expected, d, a, from, to);
                        view = view.slice(a, from, to);
                    }
                }
                assertValues(seed, expected, view);
                long[] flat = {view.shape().elements()};
                try (Tensor copy = view.copy()) {
                    assertValues(seed, expected, copy);
                    assertValues(seed, expected, copy.reshape(flat));
                    assertTrue(copy.isContiguous());
                }
                try {
                    Tensor reshaped = view.reshape(flat);
                    assertValues(seed, expected, reshaped);
                } catch (IllegalArgumentException e) {
                    assertFalse(view.isContiguous(), "seed " + seed + ": a contiguous view can always be reshaped");
                }
            }
        }
    }

    private static void assertValues(long seed, List<Integer> expected, Tensor actual) {
        float[] values = new float[expected.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = expected.get(i);
        }
        assertArrayEquals(values, actual.toFloatArray(), "seed " + seed);
    }

    private static List<Integer> permute(List<Integer> in, long[] dims, int a, int b) {
        long[] out = dims.clone();
        out[a] = dims[b];
        out[b] = dims[a];
        List<Integer> result = new ArrayList<>();
        for (long i = 0; i < in.size(); i++) {
            long[] index = split(i, out);
            long swapped = index[a];
            index[a] = index[b];
            index[b] = swapped;
            result.add(in.get((int) join(index, dims)));
        }
        return result;
    }

    private static List<Integer> cut(List<Integer> in, long[] dims, int dim, long from, long to) {
        List<Integer> result = new ArrayList<>();
        for (long i = 0; i < in.size(); i++) {
            long[] index = split(i, dims);
            if (index[dim] >= from && index[dim] < to) {
                result.add(in.get((int) i));
            }
        }
        return result;
    }

    private static long[] split(long flat, long[] dims) {
        long[] index = new long[dims.length];
        for (int i = dims.length - 1; i >= 0; i--) {
            index[i] = flat % dims[i];
            flat /= dims[i];
        }
        return index;
    }

    private static long join(long[] index, long[] dims) {
        long flat = 0;
        for (int i = 0; i < dims.length; i++) {
            flat = flat * dims[i] + index[i];
        }
        return flat;
    }

    @Test
    void copiesMindStridesOnBothSidesForEveryWidth() {
        for (DType d : DType.values()) {
            try (Tensor from = Tensor.allocate(d, Shape.of(7, 13)); Tensor to = Tensor.allocate(d, Shape.of(13, 9));
                    Tensor back = Tensor.allocate(d, Shape.of(7, 13))) {
                byte[] bytes = new byte[(int) from.segment().byteSize()];
                new Random(1).nextBytes(bytes);
                from.segment().asByteBuffer().put(bytes);
                Tensor target = to.slice(1, 1, 8); // [13, 7], rows 9 apart
                target.copyFrom(from.transpose());
                back.copyFrom(target.transpose());
                assertEquals(-1, from.segment().mismatch(back.segment()), d.name());
                for (int row = 0; row < 13; row++) {
                    assertEquals(0, to.slice(0, row, row + 1).segment().get(ValueLayout.JAVA_BYTE, 0));
                }
            }
        }
    }

    @Test
    void overlappingCopiesReadBeforeTheyWrite() {
        try (Tensor t = counting(3, 3)) {
            t.copyFrom(t.transpose());
            assertArrayEquals(new float[] {0, 3, 6, 1, 4, 7, 2, 5, 8}, t.toFloatArray());
            t.slice(1, 1, 3).copyFrom(t.slice(1, 0, 2));
            assertArrayEquals(new float[] {0, 0, 3, 1, 1, 4, 2, 2, 5}, t.toFloatArray());
            Tensor flat = t.reshape(9);
            flat.slice(0, 1, 9).copyFrom(flat.slice(0, 0, 8));
            assertArrayEquals(new float[] {0, 0, 0, 3, 1, 1, 4, 2, 2}, t.toFloatArray());
        }
    }

    @Test
    void copiesBetweenUnlikeTensorsAreRefused() {
        try (Tensor t = counting(2, 3); Tensor bf16 = Tensor.allocate(DType.BF16, Shape.of(2, 3))) {
            assertThrows(IllegalArgumentException.class, () -> t.copyFrom(bf16));
            assertThrows(IllegalArgumentException.class, () -> t.copyFrom(t.reshape(3, 2)));
            assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5}, t.toFloatArray());
        }
    }

    @Test
    void viewsOfStorageStayInside() {
        try (Tensor t = counting(2, 3)) {
            Storage storage = new HostStorage(t.segment(), null);
            Shape three = Shape.of(3);
            assertArrayEquals(new float[] {1, 1, 1},
                    Tensor.view(storage, DType.F32, three, new long[] {0}, 1).toFloatArray());
            assertArrayEquals(new float[] {1, 3, 5},
                    Tensor.view(storage, DType.F32, three, new long[] {2}, 1).toFloatArray());
            assertThrows(IllegalArgumentException.class,
                    () -> Tensor.view(storage, DType.F32, three, new long[] {2}, 2));
            assertThrows(IllegalArgumentException.class,
                    () -> Tensor.view(storage, DType.F32, Shape.of(1), new long[] {1}, -1));
            assertThrows(IllegalArgumentException.class,
                    () -> Tensor.view(storage, DType.F32, Shape.of(1), new long[] {1}, Long.MAX_VALUE));
        }
    }
}
