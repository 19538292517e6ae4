package dev.octet.fp8.reference;

import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.spi.CpuBackend;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.spi.Fp8Backend;

/** Backend {@code reference}: the plain loops that define the results, exact wherever that is possible. */
public final class ReferenceBackend extends CpuBackend implements Fp8Backend {
    /** For the service loader. */
    public ReferenceBackend() {
        super(Way.REFERENCE);
    }

    @Override
    public void cast(Tensor source, Tensor target, Overflow overflow, Execution execution) {
        ReferenceQuantizer.cast(source, target, overflow, execution.pool());
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        ReferenceQuantizer.quantize(source, target, execution.pool());
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        ReferenceQuantizer.dequantize(source, target, execution.pool());
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        ReferenceQuantizer.requantize(source, target, execution.pool());
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        ReferenceGemm.gemm(a, b, d, epilogue, execution.pool());
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        ReferenceGemm.gemm(a, b, d, epilogue, execution.pool());
    }
}
