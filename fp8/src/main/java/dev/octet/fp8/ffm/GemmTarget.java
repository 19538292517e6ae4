package dev.octet.fp8.ffm;

import static dev.octet.core.cpu.NativeMemory.ALL;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.fp8.Activation;
import dev.octet.fp8.Epilogue;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/** Where a GEMM's sums go: D and the epilogue, as the native kernels take them. */
final class GemmTarget implements AutoCloseable {
    private static final ValueLayout.OfLong I64 = ValueLayout.JAVA_LONG_UNALIGNED;

    private final Tensor d;
    private final @Nullable Tensor addend;
    private final @Nullable Arena arena;
    private final long bias;
    private final boolean silu;

    GemmTarget(Tensor d, Epilogue epilogue) {
        this.d = d;
        addend = epilogue.addend();
        silu = epilogue.activation() == Activation.SILU;
        Tensor b = epilogue.bias();
        if (b == null) {
            arena = null;
            bias = 0;
        } else { // widened once: it may be BF16, or strided
            arena = Arena.ofShared();
            float[] values = b.toFloatArray();
            MemorySegment copy = arena.allocate(Math.max(4, 4L * values.length), 64);
            MemorySegment.copy(values, 0, copy, ValueLayout.JAVA_FLOAT, 0, values.length);
            bias = copy.address();
        }
    }

    /** Writes D, the addend, the bias and the activation of a {@code struct fp8_gemm}, from a row on. */
    void put(long struct, long firstRow) {
        putFloats(struct, d, firstRow);
        if (addend == null) {
            ALL.asSlice(struct + 32, 32).fill((byte) 0);
        } else {
            putFloats(struct + 32, addend, firstRow);
        }
        ALL.set(I64, struct + 64, bias);
        ALL.set(I64, struct + 72, silu ? 1 : 0);
    }

    private static void putFloats(long struct, Tensor x, long firstRow) {
        ALL.set(I64, struct, x.address() + firstRow * x.stride(0) * x.dtype().byteSize());
        ALL.set(I64, struct + 8, x.stride(0));
        ALL.set(I64, struct + 16, x.stride(1));
        ALL.set(I64, struct + 24, x.dtype() == DType.BF16 ? 1 : 0);
    }

    /** Keeps the memory reachable until here. */
    @Override
    public void close() {
        Reference.reachabilityFence(d);
        Reference.reachabilityFence(addend);
        if (arena != null) {
            arena.close();
        }
    }
}
