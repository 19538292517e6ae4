package dev.octet.fp8.cuda;

import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.spi.Fp8Backend;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** Backend {@code cuda-host} of the tests: what backend {@code cuda} launches, on tensors of the CPU. */
public final class HostBackend implements Fp8Backend {
    private static final Launcher LAUNCHER = new HostLauncher();

    /** For the service loader. */
    public HostBackend() {}

    @Override
    public String name() {
        return "cuda-host";
    }

    @Override
    public Device.Kind deviceKind() {
        return Device.Kind.CPU;
    }

    @Override
    public int priority() {
        return -1;
    }

    @Override
    public Optional<String> unavailable() {
        return HostBuild.unavailable();
    }

    @Override
    public String description() {
        return "CUDA kernels built by the host's compiler";
    }

    @Override
    public void cast(Tensor source, Tensor target, Overflow overflow, Execution execution) {
        CudaCast.cast(LAUNCHER, source, target, overflow);
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        CudaQuantizer.quantize(LAUNCHER, source, target);
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        CudaQuantizer.dequantize(LAUNCHER, source, target);
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        CudaQuantizer.requantize(LAUNCHER, source, target);
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        CudaGemm.gemm(LAUNCHER, a, b, d, epilogue);
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        CudaGemm.gemm(LAUNCHER, a, b, d, epilogue);
    }

    @Override
    public void groupedGemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d,
            Execution execution) {
        CudaGemm.grouped(LAUNCHER, a, begins, ends, b, d);
    }

    @Override
    public void kGroupedGemm(ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d, @Nullable Tensor addend,
            Execution execution) {
        CudaGemm.kGrouped(LAUNCHER, a, b, offsets, d, addend);
    }
}
