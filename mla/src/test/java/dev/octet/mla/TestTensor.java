package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/** A tensor in memory full of NaN, seen through one of several layouts: what lies around it must stay as it is. */
record TestTensor(Tensor memory, Tensor view) implements AutoCloseable {
    /** How the elements lie. */
    enum Layout {
        /** In row-major order, aligned. */
        DENSE,
        /** Inside a tensor that is larger on every side, so that nothing is aligned. */
        WINDOW,
        /** The last two dimensions the other way round. */
        TRANSPOSED,
        /** No stride is 1. */
        SPARSE
    }

    private static final byte POISON = (byte) 0xFF;

    static TestTensor of(DType dtype, Layout layout, long... dims) {
        long[] outer = dims.clone();
        int last = dims.length - 1;
        if (layout == Layout.WINDOW) {
            Arrays.setAll(outer, i -> dims[i] + 2);
        } else if (layout == Layout.TRANSPOSED && last > 0) {
            outer[last] = dims[last - 1];
            outer[last - 1] = dims[last];
        } else if (layout == Layout.SPARSE) {
            outer[last] = 3 * dims[last];
        }
        Tensor memory = Tensor.allocate(dtype, Shape.of(outer));
        memory.segment().fill(POISON);
        Tensor view = memory;
        if (layout == Layout.WINDOW) {
            for (int i = 0; i < dims.length; i++) {
                view = view.slice(i, 1, dims[i] + 1);
            }
        } else if (layout == Layout.TRANSPOSED && last > 0) {
            view = view.transpose(last - 1, last);
        } else if (layout == Layout.SPARSE) {
            long[] split = Arrays.copyOf(dims, dims.length + 1);
            split[dims.length] = 3;
            view = view.reshape(split).slice(dims.length, 1, 2).reshape(dims);
        }
        return new TestTensor(memory, view);
    }

    /** Fills with normal variates times a deviation. */
    TestTensor gaussian(RandomGenerator random, double deviation) {
        float[] values = new float[Math.toIntExact(view.shape().elements())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * deviation);
        }
        view.copyFrom(values);
        return this;
    }

    float[] values() {
        return view.toFloatArray();
    }

    /** Writes poison over the tensor itself: then all of the memory must hold nothing else. */
    void assertSurroundingsUntouched(String what) {
        float[] poison = new float[Math.toIntExact(view.shape().elements())];
        Arrays.fill(poison, Float.intBitsToFloat(-1));
        MemorySegment all = memory.segment();
        try (Tensor source = Tensor.allocate(view.dtype(), view.shape())) {
            source.segment().fill(POISON);
            view.copyFrom(source);
        }
        for (long i = 0; i < all.byteSize(); i++) {
            if (all.get(ValueLayout.JAVA_BYTE, i) != POISON) {
                assertEquals(POISON, all.get(ValueLayout.JAVA_BYTE, i), what + ": byte " + i + " was written");
            }
        }
    }

    /** Half the distance between neighbours of a type near a value, which rounding once may be off. */
    static double halfUlp(DType dtype, double value) {
        float f = (float) Math.abs(value);
        return dtype == DType.F32 ? Math.ulp(f) / 2.0
                : Math.max(0x1p-134, Math.ulp(BFloat16.toFloat((short) (Float.floatToIntBits(f) >>> 16))) * 0x1p15);
    }

    @Override
    public void close() {
        memory.close();
    }
}
