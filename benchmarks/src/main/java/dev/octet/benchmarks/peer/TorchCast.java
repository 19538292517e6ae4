package dev.octet.benchmarks.peer;

import dev.octet.core.DType;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** A cast to float8_e4m3fn, into memory that is there. */
public final class TorchCast implements AutoCloseable {
    private final Tensor source;
    private final Tensor target;

    /**
     * Makes a random matrix.
     *
     * @param dtype the type that is read: F32 or BF16
     * @param rows its rows
     * @param columns its columns
     */
    public TorchCast(DType dtype, long rows, long columns) {
        source = torch.rand(new long[] {rows, columns}, LibTorch.options(dtype));
        target = torch.empty(new long[] {rows, columns}, LibTorch.options(DType.F8_E4M3),
                new MemoryFormatOptional());
    }

    /** Casts. */
    public void run() {
        target.copy_(source);
    }

    /** Frees both matrices. */
    @Override
    public void close() {
        source.close();
        target.close();
    }
}
