package dev.octet.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Memory of tensors: where it comes from, how long it lives, what is copied. Views have a test of their own. */
class TensorTest {
    @TempDir
    Path folder;

    @Test
    void wrappedSegmentIsNotCopied() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(40, 64);
            Tensor t = Tensor.wrap(memory, DType.F32, Shape.of(2, 4));
            assertEquals(memory.address(), t.address());
            assertEquals(32, t.segment().byteSize());
            memory.set(ValueLayout.JAVA_FLOAT, 4 * 5, 3f);
            assertEquals(3f, t.getFloat(1, 1));
            t.copyFrom(new float[] {1, 2, 3, 4, 5, 6, 7, 8});
            assertEquals(8f, memory.get(ValueLayout.JAVA_FLOAT, 4 * 7));
            t.close();
            assertEquals(8f, memory.get(ValueLayout.JAVA_FLOAT, 4 * 7), "a wrapping tensor does not own the memory");
        }
    }

    @Test
    void wrappedBufferIsNotCopiedAndCountsFromItsPosition() {
        ByteBuffer buffer = ByteBuffer.allocateDirect(16).order(ByteOrder.LITTLE_ENDIAN);
        buffer.position(4);
        Tensor t = Tensor.wrap(buffer, DType.F32, Shape.of(1, 3));
        buffer.putFloat(8, 2.5f);
        assertEquals(2.5f, t.getFloat(0, 1));
        buffer.order(ByteOrder.BIG_ENDIAN);
        assertEquals(2.5f, t.getFloat(0, 1));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> Tensor.wrap(buffer, DType.F32, Shape.of(4)))
                .getMessage().contains("12 bytes"));
    }

    @Test
    void heapMemoryIsRefused() {
        assertTrue(assertThrows(IllegalArgumentException.class,
                () -> Tensor.wrap(MemorySegment.ofArray(new float[4]), DType.F32, Shape.of(4))).getMessage()
                .contains("heap"));
        assertTrue(assertThrows(IllegalArgumentException.class,
                () -> Tensor.wrap(ByteBuffer.allocate(4), DType.F32, Shape.of(1))).getMessage().contains("not direct"));
    }

    @Test
    void mappedFileIsNotCopied() throws IOException {
        Path file = Files.write(folder.resolve("m"), new byte[] {9, 0, 0, (byte) 0x80, 0x3F, 0, 0, 0, 0x40});
        Tensor t;
        try (Arena arena = Arena.ofConfined()) {
            t = Tensor.map(arena, file, 1, DType.F32, Shape.of(2));
            assertArrayEquals(new float[] {1, 2}, t.toFloatArray());
            assertTrue(t.segment().isMapped());
            try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
                f.seek(8);
                f.write(0xC0);
            }
            assertArrayEquals(new float[] {1, -2}, t.toFloatArray());
            assertThrows(IllegalArgumentException.class, () -> t.copyFrom(new float[2]));
            assertEquals(0, Tensor.map(arena, file, 9, DType.F32, Shape.of(0, 3)).toFloatArray().length);
            for (long offset : new long[] {-1, 2, Long.MAX_VALUE}) {
                assertThrows(IllegalArgumentException.class,
                        () -> Tensor.map(arena, file, offset, DType.F32, Shape.of(2)));
            }
            assertThrows(IllegalArgumentException.class,
                    () -> Tensor.map(arena, file, 0, DType.U8, Shape.of(Long.MAX_VALUE)));
            assertThrows(NoSuchFileException.class,
                    () -> Tensor.map(arena, folder.resolve("no"), 0, DType.U8, Shape.of(0)));
        }
        assertThrows(IllegalStateException.class, t::segment);
    }

    @Test
    void moreThanTwoToThe31Elements() throws IOException {
        long n = 3L << 30;
        Path file = folder.resolve("sparse");
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.setLength(n);
            f.seek(n - 2);
            f.write(new byte[] {17, 42});
        }
        try (Arena arena = Arena.ofConfined()) {
            Tensor t = Tensor.map(arena, file, 0, DType.U8, Shape.of(n));
            assertEquals(n, t.segment().byteSize());
            assertEquals(42, t.segment().get(ValueLayout.JAVA_BYTE, n - 1));
            Tensor matrix = t.reshape(3 << 10, 1 << 20);
            Tensor corner = matrix.slice(0, (3 << 10) - 1, 3 << 10).slice(1, (1 << 20) - 2, 1 << 20);
            assertEquals(t.address() + n - 2, corner.address());
            try (Tensor copy = corner.transpose().copy()) {
                assertArrayEquals(new byte[] {17, 42}, copy.segment().toArray(ValueLayout.JAVA_BYTE));
            }
            Tensor columns = matrix.transpose();
            assertEquals(1 << 20, columns.strides()[1]);
            try (Tensor copy = columns.slice(0, (1 << 20) - 1, 1 << 20).copy()) {
                assertEquals(42, copy.segment().get(ValueLayout.JAVA_BYTE, (3 << 10) - 1));
            }
            assertThrows(IllegalArgumentException.class, () -> Tensor.map(arena, file, 1, DType.U8, Shape.of(n)));
        }
    }

    @Test
    void zeroSizedTensorsWork() {
        try (Tensor t = Tensor.allocate(DType.F32, Shape.of(3, 0)); Tensor copy = t.copy();
                Tensor huge = Tensor.allocate(DType.F32, Shape.of(0, Long.MAX_VALUE, Long.MAX_VALUE))) {
            assertEquals(0, t.segment().byteSize());
            assertEquals(0, copy.toFloatArray().length);
            t.copyFrom(new float[0]);
            assertTrue(t.isContiguous());
            assertEquals(Shape.of(0, 3), t.transpose().shape());
            assertEquals(Shape.of(5, 0, 2), t.reshape(5, 0, 2).shape());
            assertEquals(Shape.of(1, 0), t.slice(0, 2, 3).shape());
            assertEquals(0, huge.slice(1, 5, 10).transpose(0, 2).toFloatArray().length);
            for (long stride : huge.strides()) {
                assertTrue(stride >= 0, huge.toString());
            }
        }
    }

    @Test
    void scalarsHaveOneElement() {
        try (Tensor scalar = Tensor.of(new float[] {7}); Tensor copy = scalar.copy()) {
            assertEquals(Shape.of(), scalar.shape());
            assertTrue(scalar.isContiguous());
            assertArrayEquals(new float[] {7}, copy.toFloatArray());
            assertArrayEquals(new float[] {7}, scalar.reshape(1, 1).toFloatArray());
            assertArrayEquals(new float[] {7}, scalar.reshape(1, 1).reshape().toFloatArray());
            assertThrows(IndexOutOfBoundsException.class, () -> scalar.slice(0, 0, 1));
        }
    }

    @Test
    void overflowIsRefused() {
        assertTrue(assertThrows(IllegalArgumentException.class,
                () -> Tensor.allocate(DType.I64, Shape.of(1L << 60))).getMessage().contains("2^63-1 bytes"));
        assertThrows(IllegalArgumentException.class,
                () -> Tensor.wrap(MemorySegment.NULL, DType.F32, Shape.of(1L << 62)));
        assertThrows(IllegalArgumentException.class,
                () -> Tensor.allocateStrided(DType.U8, Shape.of(3, 3), Long.MAX_VALUE, 1));
        assertThrows(IllegalArgumentException.class, () -> Tensor.allocateStrided(DType.U8, Shape.of(3), -1));
        assertThrows(IllegalArgumentException.class, () -> Tensor.allocateStrided(DType.U8, Shape.of(3), 1, 1));
        assertThrows(OutOfMemoryError.class, () -> Tensor.allocate(DType.U8, Shape.of(Long.MAX_VALUE)));
        assertThrows(OutOfMemoryError.class, () -> Tensor.allocate(DType.U8, Shape.of(1L << 50)));
    }

    @Test
    void allocatedMemoryIsZeroedAndAligned() {
        for (DType d : DType.values()) {
            try (Tensor t = Tensor.allocate(d, Shape.of(13, 7));
                    Tensor s = Tensor.allocateStrided(d, Shape.of(3, 2), 1, 4)) {
                assertEquals(0, t.address() % Tensor.ALIGNMENT);
                assertEquals(91L * d.byteSize(), t.segment().byteSize());
                assertEquals(-1, t.segment().mismatch(MemorySegment.ofArray(new byte[91 * d.byteSize()])));
                assertEquals(7L * d.byteSize(), s.segment().byteSize());
                assertFalse(s.isContiguous());
            }
        }
    }

    @Test
    void closedTensorRefusesEveryUse() {
        Tensor t = Tensor.allocate(DType.F32, Shape.of(2, 2));
        Tensor other = Tensor.allocate(DType.F32, Shape.of(2, 2));
        Tensor view = t.slice(0, 0, 1);
        t.close();
        t.close();
        assertFalse(t.isOpen());
        assertFalse(view.isOpen(), "the memory went with its owner");
        for (Tensor gone : new Tensor[] {t, view}) {
            assertThrows(IllegalStateException.class, gone::segment);
            assertThrows(IllegalStateException.class, gone::address);
            assertThrows(IllegalStateException.class, () -> gone.slice(0, 0, 1));
            assertThrows(IllegalStateException.class, gone::transpose);
            assertThrows(IllegalStateException.class, () -> gone.transpose(0, 1));
            assertThrows(IllegalStateException.class, () -> gone.reshape(gone.shape().elements()));
            assertThrows(IllegalStateException.class, gone::copy);
            assertThrows(IllegalStateException.class, () -> gone.to(Device.CPU));
            assertThrows(IllegalStateException.class, gone::toFloatArray);
            assertThrows(IllegalStateException.class, () -> gone.getFloat(0, 0));
            assertThrows(IllegalStateException.class, () -> gone.copyFrom(new float[(int) gone.shape().elements()]));
            assertThrows(IllegalStateException.class, () -> gone.copyFrom(other));
            assertThrows(IllegalStateException.class, () -> other.copyFrom(gone));
            assertTrue(gone.toString().endsWith("(closed)"), "what describes it still works: " + gone);
            assertEquals(DType.F32, gone.dtype());
        }
        view.close();
        other.close();
    }

    @Test
    void closingAViewLeavesTheOwner() {
        try (Tensor t = Tensor.allocate(DType.F32, Shape.of(2, 2))) {
            Tensor view = t.transpose();
            view.close();
            assertFalse(view.isOpen());
            assertThrows(IllegalStateException.class, view::segment);
            assertTrue(t.isOpen());
            assertEquals(0f, t.getFloat(1, 1));
        }
    }

    @Test
    void arenaEndsItsTensors() {
        Tensor t;
        try (Arena arena = Arena.ofConfined()) {
            t = Tensor.allocate(arena, DType.BF16, Shape.of(3));
            t.copyFrom(new float[] {1, 2, 3});
            assertTrue(t.isOpen());
        }
        assertFalse(t.isOpen());
        assertThrows(IllegalStateException.class, t::toFloatArray);
        t.close();
    }

    @Test
    void bf16AndF16AreRoundedToNearestEven() {
        float[] values = {0f, -0f, 1f, 1.00390625f, 1.01171875f, 3.3895314e38f, Float.MAX_VALUE, Float.MIN_VALUE,
            Float.NEGATIVE_INFINITY, Float.NaN, 65504f, 65520f, 5.9604645e-8f, 2.9802322e-8f};
        float[] bf16 = {0f, -0f, 1f, 1f, 1.015625f, 3.3895314e38f, Float.POSITIVE_INFINITY, 0f,
            Float.NEGATIVE_INFINITY, Float.NaN, 65536f, 65536f, 5.9604645e-8f, 2.9802322e-8f};
        float[] f16 = {0f, -0f, 1f, 1.00390625f, 1.01171875f, Float.POSITIVE_INFINITY, Float.POSITIVE_INFINITY, 0f,
            Float.NEGATIVE_INFINITY, Float.NaN, 65504f, Float.POSITIVE_INFINITY, 5.9604645e-8f, 0f};
        try (Tensor b = Tensor.allocate(DType.BF16, Shape.of(values.length));
                Tensor h = Tensor.allocate(DType.F16, Shape.of(values.length))) {
            b.copyFrom(values);
            h.copyFrom(values);
            assertArrayEquals(bf16, b.toFloatArray());
            assertArrayEquals(f16, h.toFloatArray());
        }
    }

    @Test
    void allBf16PatternsComeBack() {
        for (int i = 0; i < 1 << 16; i++) {
            float value = BFloat16.toFloat((short) i);
            boolean nan = (i & 0x7FFF) > 0x7F80;
            assertEquals(nan, Float.isNaN(value));
            assertEquals(nan ? (short) (i & 0x8000 | 0x7FC0) : (short) i, BFloat16.fromFloat(value));
        }
    }

    @Test
    void floatsAreCopiedInAndOut() {
        float[] values = {1, 2, 3, 4, 5, 6};
        try (Tensor t = Tensor.of(values, 2, 3)) {
            values[0] = 9;
            float[] out = t.toFloatArray();
            assertArrayEquals(new float[] {1, 2, 3, 4, 5, 6}, out);
            out[1] = 9;
            assertEquals(2f, t.getFloat(0, 1));
            assertThrows(IllegalArgumentException.class, () -> t.copyFrom(new float[5]));
            assertThrows(IndexOutOfBoundsException.class, () -> t.getFloat(2, 0));
            assertThrows(IndexOutOfBoundsException.class, () -> t.getFloat(0, -1));
            assertThrows(IllegalArgumentException.class, () -> t.reshape(6).getFloat(0, 0));
        }
        assertThrows(IllegalArgumentException.class, () -> Tensor.of(values, 7));
        for (DType d : DType.values()) {
            try (Tensor t = Tensor.allocate(d, Shape.of(1, 1))) {
                if (!d.isFloat()) {
                    assertThrows(IllegalArgumentException.class, t::toFloatArray);
                    assertThrows(IllegalArgumentException.class, () -> t.copyFrom(new float[1]));
                    assertThrows(IllegalArgumentException.class, () -> t.getFloat(0, 0));
                }
            }
        }
    }

    @Test
    void devicesThatAreNotThereAreRefused() {
        assertTrue(assertThrows(IllegalArgumentException.class,
                () -> Tensor.allocate(Device.cuda(0), DType.F32, Shape.of(1))).getMessage().contains("cuda:0"));
        assertThrows(IllegalArgumentException.class, () -> Device.cuda(-1));
        assertThrows(IllegalArgumentException.class, () -> new Device(Device.Kind.CPU, 1));
        assertEquals("cpu", Device.CPU.toString());
    }
}
