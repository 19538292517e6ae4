package dev.octet.fp8.cpu;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.ScaledTensor;
import java.lang.ref.Reference;

/**
 * The GEMM on the Vector API: {@code D[M,N] = epilogue(A[M,K] * B[N,K]^T)}. Few rows of A are limited by the bytes of B
 * and go to {@link SkinnyGemm}, all others by the FMA units and go to {@link TiledGemm}.
 *
 * <p>Both scale A's decoded values so that B's need no multiplication: a code decoded by shift and mask alone is
 * 2<sup>-120</sup> (E4M3) or 2<sup>-112</sup> (E5M2) too small.
 */
final class VectorGemm {
    private VectorGemm() {}

    static void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, CpuPool pool) {
        if (d.shape().elements() == 0) {
            return;
        }
        Product product = Product.mine();
        try {
            product.set(a, 0, a.rows(), b, d, epilogue);
            product.multiply(pool);
        } finally {
            product.clear();
            Reference.reachabilityFence(a);
            Reference.reachabilityFence(b);
            Reference.reachabilityFence(d);
            Reference.reachabilityFence(epilogue);
        }
    }

    static void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, CpuPool pool) {
        try (Tensor sums = Tensor.allocate(DType.F32, d.codes().shape())) {
            gemm(a, b, sums, epilogue, pool);
            VectorQuantizer.quantize(sums, d, pool);
        }
    }
}
