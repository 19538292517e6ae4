package dev.octet.fp8.reference;

import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.ScaledTensor;

final class ReferenceGemm {
    private ReferenceGemm() {}

    static void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, CpuPool pool) {
        throw new UnsupportedOperationException();
    }

    static void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, CpuPool pool) {
        throw new UnsupportedOperationException();
    }
}
