package dev.octet.fp8.ffm;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.core.spi.Backend;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.cpu.ScalarBackend;
import dev.octet.fp8.cpu.VectorBackend;
import dev.octet.fp8.spi.Fp8Backend;
import java.util.List;
import java.util.Optional;

/**
 * Backend {@code native}: kernels in C, for instruction sets that the Vector API does not reach. What it has no kernel
 * for is done by the backend that would run without it. This class itself loads without the library.
 */
public final class NativeBackend implements Fp8Backend {
    /** Beyond it one panel of packed A would take more than 128 MiB. */
    private static final long MAX_K = 1 << 20;

    private static final int ABOVE_CPU = 200;
    private static final int BELOW_CPU = 90;

    private final Fp8Backend other = CpuConfig.vectorBits() == 0 ? new ScalarBackend() : new VectorBackend();

    /** For the service loader. */
    public NativeBackend() {}

    @Override
    public String name() {
        return "native";
    }

    @Override
    public Device.Kind deviceKind() {
        return Device.Kind.CPU;
    }

    /** Above the Vector API's where it is faster; on Arm it was never measured. */
    @Override
    public int priority() {
        return Fp8Library.isFaster() ? ABOVE_CPU : BELOW_CPU;
    }

    @Override
    public Optional<String> unavailable() {
        return Fp8Library.unavailable();
    }

    @Override
    public String description() {
        return Fp8Library.level().id() + ", " + CpuConfig.threads() + " threads";
    }

    @Override
    public Backend doing(String operation) {
        return switch (operation) {
            case "fp8.cast", "fp8.quantize", "fp8.dequantize", "fp8.requantize" ->
                    Fp8Library.hasConverters() ? this : other;
            default -> this;
        };
    }

    @Override
    public void cast(Tensor source, Tensor target, Overflow overflow, Execution execution) {
        if (Fp8Library.hasConverters() && FfmConverter.takes(source, target)) {
            FfmConverter.cast(source, target, overflow, execution.pool());
        } else {
            other.cast(source, target, overflow, execution);
        }
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        if (Fp8Library.hasConverters() && FfmQuantizer.takes(source, target)) {
            FfmQuantizer.quantize(source, target, execution.pool());
        } else {
            other.quantize(source, target, execution);
        }
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        if (Fp8Library.hasConverters() && FfmConverter.takes(source, target)) {
            FfmConverter.dequantize(source, target, execution.pool());
        } else {
            other.dequantize(source, target, execution);
        }
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        if (Fp8Library.hasConverters() && FfmRequantizer.takes(source, target)) {
            FfmRequantizer.requantize(source, target, execution.pool());
        } else {
            other.requantize(source, target, execution);
        }
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        if (a.columns() > MAX_K) {
            other.gemm(a, b, d, epilogue, execution);
            return;
        }
        try (FfmGemm gemm = new FfmGemm()) {
            gemm.add(a, b, d, epilogue);
            gemm.run(execution.pool());
        }
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        try (Tensor sums = Tensor.allocate(DType.F32, d.codes().shape())) {
            gemm(a, b, sums, epilogue, execution);
            quantize(sums, d, execution);
        }
    }

    @Override
    public void groupedGemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d,
            Execution execution) {
        if (a.columns() > MAX_K) {
            other.groupedGemm(a, begins, ends, b, d, execution);
            return;
        }
        try (FfmGemm gemm = new FfmGemm()) {
            gemm.addGroups(a, begins, ends, b, d);
            gemm.run(execution.pool());
        }
    }
}
