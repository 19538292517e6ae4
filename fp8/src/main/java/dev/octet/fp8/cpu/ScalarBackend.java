package dev.octet.fp8.cpu;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.CpuBackend;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.spi.Fp8Backend;

/** Backend {@code scalar}: plain Java, for where the Vector API is not there. */
public final class ScalarBackend extends CpuBackend implements Fp8Backend {
    /** For the service loader. */
    public ScalarBackend() {
        super(Way.SCALAR);
    }

    @Override
    public void cast(Tensor source, Tensor target, Overflow overflow, Execution execution) {
        ScalarQuantizer.cast(source, target, overflow, execution.pool());
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        ScalarQuantizer.quantize(source, target, execution.pool());
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        ScalarQuantizer.dequantize(source, target, execution.pool());
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        ScalarQuantizer.requantize(source, target, execution.pool());
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        ScalarGemm.gemm(a, b, d, epilogue, execution.pool());
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        ScalarGemm.gemm(a, b, d, epilogue, execution.pool());
    }
}
