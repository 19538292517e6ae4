package dev.octet.benchmarks.peer;

import dev.octet.core.DType;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * {@code D[m, n] = A[m, k] * B[n, k]^T} into memory that is there, each time with the next of several copies of B.
 */
public final class TorchMatmul implements AutoCloseable {
    private final Tensor a;
    private final Tensor d;
    private final Tensor[] b;
    private final Tensor[] transposed;
    private int next;

    /**
     * Makes random operands.
     *
     * @param dtype the type of operands and result: F32 or BF16
     * @param m rows of A
     * @param n rows of B
     * @param k columns of both
     * @param copies how many copies of B to walk through
     */
    public TorchMatmul(DType dtype, long m, long n, long k, int copies) {
        a = torch.rand(new long[] {m, k}, LibTorch.options(dtype));
        d = torch.rand(new long[] {m, n}, LibTorch.options(dtype));
        b = new Tensor[copies];
        transposed = new Tensor[copies];
        for (int i = 0; i < copies; i++) {
            b[i] = i == 0 ? torch.rand(new long[] {n, k}, LibTorch.options(dtype)) : b[0].clone();
            transposed[i] = b[i].t();
        }
    }

    /** Multiplies. */
    public void run() {
        int i = next;
        next = i + 1 < b.length ? i + 1 : 0;
        torch.matmul_out(d, a, transposed[i]);
    }

    /** Frees the operands. */
    @Override
    public void close() {
        for (int i = 0; i < b.length; i++) {
            transposed[i].close();
            b[i].close();
        }
        a.close();
        d.close();
    }
}
