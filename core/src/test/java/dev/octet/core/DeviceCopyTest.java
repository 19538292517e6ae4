package dev.octet.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.spi.Storage;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** Copies to, from and on a device whose memory the host can't address, contiguous and not. */
class DeviceCopyTest {
    private static final float POISON = -77;
    private static final Shape SHAPE = Shape.of(3, 5);

    /** Memory that only copies reach. */
    private record Remote(MemorySegment memory) implements Storage {
        Remote(int floats) {
            this(Arena.ofAuto().allocate(4L * floats, 16));
            Tensor.wrap(memory, DType.F32, Shape.of(floats)).copyFrom(filled(floats));
        }

        private static float[] filled(int n) {
            float[] values = new float[n];
            Arrays.fill(values, POISON);
            return values;
        }

        @Override
        public Device device() {
            return Device.cuda(0);
        }

        @Override
        public long byteSize() {
            return memory.byteSize();
        }

        @Override
        public boolean isAlive() {
            return true;
        }

        @Override
        public void close() {}

        @Override
        public long address() {
            return memory.address();
        }

        @Override
        public MemorySegment segment() {
            throw new UnsupportedOperationException();
        }

        @Override
        public void read(long offset, MemorySegment target) {
            MemorySegment.copy(memory, offset, target, 0, target.byteSize());
        }

        @Override
        public void write(long offset, MemorySegment source) {
            MemorySegment.copy(source, 0, memory, offset, source.byteSize());
        }
    }

    private static Tensor[] remotes() {
        return new Tensor[] {Tensor.view(new Remote(20), DType.F32, SHAPE, new long[] {5, 1}, 3),
            Tensor.view(new Remote(40), DType.F32, SHAPE, new long[] {11, 2}, 4),
            Tensor.view(new Remote(40), DType.F32, SHAPE, new long[] {1, 4}, 7)};
    }

    private static Tensor[] hosts() {
        return new Tensor[] {Tensor.allocate(DType.F32, SHAPE), Tensor.allocateStrided(DType.F32, SHAPE, 1, 4),
            Tensor.allocateStrided(DType.F32, SHAPE, 9, 1)};
    }

    private static float[] numbers() {
        float[] x = new float[15];
        for (int i = 0; i < x.length; i++) {
            x[i] = i + 1;
        }
        return x;
    }

    @Test
    void everyLayoutToEveryLayout() {
        for (Tensor from : hosts()) {
            from.copyFrom(Tensor.of(numbers(), 3, 5));
            for (Tensor there : remotes()) {
                there.copyFrom(from);
                assertArrayEquals(numbers(), there.toFloatArray(), there.toString());
                for (Tensor elsewhere : remotes()) {
                    elsewhere.copyFrom(there);
                    for (Tensor back : hosts()) {
                        back.copyFrom(elsewhere);
                        assertArrayEquals(numbers(), back.toFloatArray(), there + " to " + elsewhere + " to " + back);
                    }
                }
            }
        }
    }

    @Test
    void whatLiesBetweenStaysAsItIs() {
        Remote memory = new Remote(40);
        Tensor strided = Tensor.view(memory, DType.F32, SHAPE, new long[] {11, 2}, 4);
        strided.copyFrom(Tensor.of(numbers(), 3, 5));
        float[] all = Tensor.wrap(memory.memory, DType.F32, Shape.of(40)).toFloatArray();
        int poisoned = 0;
        for (float x : all) {
            poisoned += x == POISON ? 1 : 0;
        }
        assertEquals(40 - 15, poisoned);
    }
}
