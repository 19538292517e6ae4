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
public class HostBackend implements Fp8Backend {
    private final String name;
    private final Launcher launcher;

    /** For the service loader. */
    public HostBackend() {
        this("cuda-host", new HostLauncher());
    }

    HostBackend(String name, Launcher launcher) {
        this.name = name;
        this.launcher = launcher;
    }

    /**
     * Backend {@code cuda-emulated}: what is launched on a Hopper GPU, its GEMM on emulated instructions. A library is
     * built for each variant, which takes minutes: suites run on it only where {@code octet.test.require} names it.
     */
    public static final class Emulated extends HostBackend {
        /** For the service loader. */
        public Emulated() {
            super("cuda-emulated", new EmulatedLauncher(HopperEmulation.Timing.RANDOM));
        }

        @Override
        public Optional<String> unavailable() {
            return System.getProperty("octet.test.require", "").contains("cuda-emulated") ? HostBuild.unavailable()
                    : Optional.of("octet.test.require does not name it");
        }
    }

    @Override
    public String name() {
        return name;
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
        CudaCast.cast(launcher, source, target, overflow);
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        CudaQuantizer.quantize(launcher, source, target);
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        CudaQuantizer.dequantize(launcher, source, target);
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        CudaQuantizer.requantize(launcher, source, target);
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        CudaGemm.gemm(launcher, a, b, d, epilogue);
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        CudaGemm.gemm(launcher, a, b, d, epilogue);
    }

    @Override
    public void groupedGemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d,
            Execution execution) {
        CudaGemm.grouped(launcher, a, begins, ends, b, d);
    }

    @Override
    public void kGroupedGemm(ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d, @Nullable Tensor addend,
            Execution execution) {
        CudaGemm.kGrouped(launcher, a, b, offsets, d, addend);
    }
}
