package dev.octet.fp8.cpu;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.CpuBackend;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.spi.Fp8Backend;
import java.util.List;

/** Backend {@code cpu}: kernels on the Vector API. This class itself loads without the Vector API. */
public final class VectorBackend extends CpuBackend implements Fp8Backend {
    /** For the service loader. */
    public VectorBackend() {
        super(Way.VECTOR);
    }

    @Override
    public void cast(Tensor source, Tensor target, Overflow overflow, Execution execution) {
        VectorCast.cast(source, target, overflow, execution.pool());
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        VectorQuantizer.quantize(source, target, execution.pool());
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        VectorQuantizer.dequantize(source, target, execution.pool());
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        VectorQuantizer.requantize(source, target, execution.pool());
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        VectorGemm.gemm(a, b, d, epilogue, execution.pool());
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        VectorGemm.gemm(a, b, d, epilogue, execution.pool());
    }

    @Override
    public void groupedGemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d,
            Execution execution) {
        GroupedGemm.gemm(a, begins, ends, b, d, execution.pool());
    }
}
