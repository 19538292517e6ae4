package dev.octet.fp8.cuda;

import static dev.octet.fp8.cuda.ParameterBlock.setInt;
import static dev.octet.fp8.cuda.ParameterBlock.setLong;

import dev.octet.core.Tensor;
import dev.octet.fp8.Overflow;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/** Launches the kernel of {@code fp8_cast.cu}, which explains it. */
final class CudaCast {
    private static final int DIMS = 4;
    private static final int ELEMENTS_OF_A_BLOCK = Fp8Kernel.THREADS * 16;

    private CudaCast() {}

    static void cast(Launcher launcher, Tensor source, Tensor target, Overflow overflow) {
        if (source.shape().elements() == 0) {
            return;
        }
        // Neighbouring dimensions that lie one after the other on both sides are one.
        int rank = source.shape().rank();
        long[] dims = new long[rank];
        long[] from = new long[rank];
        long[] to = new long[rank];
        int n = 0;
        for (int d = 0; d < rank; d++) {
            long dim = source.dim(d);
            if (dim == 1) {
                continue;
            }
            if (n > 0 && from[n - 1] == source.stride(d) * dim && to[n - 1] == target.stride(d) * dim) {
                dims[n - 1] *= dim;
                n--;
            } else {
                dims[n] = dim;
            }
            from[n] = source.stride(d);
            to[n] = target.stride(d);
            n++;
        }
        cast(launcher, source, target, overflow, dims, from, to, 0, n, 0, 0);
        Reference.reachabilityFence(source);
        Reference.reachabilityFence(target);
    }

    /** Dimensions that the kernel has no room for are loops here. */
    private static void cast(Launcher launcher, Tensor source, Tensor target, Overflow overflow, long[] dims,
            long[] from, long[] to, int first, int last, long sourceAt, long targetAt) {
        if (last - first > DIMS) {
            for (long i = 0; i < dims[first]; i++) {
                cast(launcher, source, target, overflow, dims, from, to, first + 1, last, sourceAt + i * from[first],
                        targetAt + i * to[first]);
            }
            return;
        }
        MemorySegment p = ParameterBlock.mine().cast;
        long sourceAddress = source.address() + sourceAt * source.dtype().byteSize();
        long targetAddress = target.address() + targetAt * target.dtype().byteSize();
        long count = 1;
        for (int d = 0; d < DIMS; d++) {
            int of = last - DIMS + d;
            boolean there = of >= first;
            setLong(p, 24 + 8 * d, there ? dims[of] : 1);
            setLong(p, 56 + 8 * d, there ? from[of] : 0);
            setLong(p, 88 + 8 * d, there ? to[of] : 0);
            count *= there ? dims[of] : 1;
        }
        boolean line = last == first || last - first == 1 && from[first] == 1 && to[first] == 1;
        setLong(p, 0, sourceAddress);
        setLong(p, 8, targetAddress);
        setLong(p, 16, count);
        setInt(p, 120, source.dtype().ordinal());
        setInt(p, 124, target.dtype().ordinal());
        setInt(p, 128, overflow == Overflow.SATURATE);
        setInt(p, 132, line && sourceAddress % 16 == 0 && targetAddress % 16 == 0);
        launcher.launch(Fp8Kernel.CAST, Math.ceilDiv(count, (long) ELEMENTS_OF_A_BLOCK), p);
    }
}
