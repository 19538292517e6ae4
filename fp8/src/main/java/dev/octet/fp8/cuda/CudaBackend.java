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

/**
 * Backend {@code cuda}: NVIDIA GPUs from compute capability 8.0 on. An operation gives its kernels to the calling
 * thread's current stream and returns; who reads a result through the tensor waits for it.
 *
 * <p>Nothing of module {@code dev.octet.cuda} is loaded before somebody asks whether there is a GPU, and nothing fails
 * where that module is absent.
 */
public final class CudaBackend implements Fp8Backend {
    /** For the service loader. */
    public CudaBackend() {}

    @Override
    public String name() {
        return "cuda";
    }

    @Override
    public Device.Kind deviceKind() {
        return Device.Kind.CUDA;
    }

    @Override
    public int priority() {
        return 100;
    }

    @Override
    public Optional<String> unavailable() {
        try {
            return GpuLauncher.unavailable();
        } catch (LinkageError e) {
            return Optional.of("module dev.octet.cuda is not on the class or module path; add the artifact octet-cuda");
        }
    }

    @Override
    public String description() {
        return unavailable().isEmpty() ? GpuLauncher.describe() : "NVIDIA GPUs";
    }

    @Override
    public void warmUp(Device device) {
        GpuLauncher.warmUp(device);
    }

    @Override
    public void cast(Tensor source, Tensor target, Overflow overflow, Execution execution) {
        CudaCast.cast(GpuLauncher.of(source.device()), source, target, overflow);
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        CudaQuantizer.quantize(GpuLauncher.of(source.device()), source, target);
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        CudaQuantizer.dequantize(GpuLauncher.of(source.device()), source, target);
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        CudaQuantizer.requantize(GpuLauncher.of(source.device()), source, target);
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        CudaGemm.gemm(GpuLauncher.of(a.device()), a, b, d, epilogue);
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        CudaGemm.gemm(GpuLauncher.of(a.device()), a, b, d, epilogue);
    }

    @Override
    public void groupedGemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d,
            Execution execution) {
        CudaGemm.grouped(GpuLauncher.of(a.device()), a, begins, ends, b, d);
    }

    @Override
    public void kGroupedGemm(ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d, @Nullable Tensor addend,
            Execution execution) {
        CudaGemm.kGrouped(GpuLauncher.of(a.device()), a, b, offsets, d, addend);
    }
}
