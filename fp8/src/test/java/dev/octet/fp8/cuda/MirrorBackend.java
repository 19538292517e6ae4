package dev.octet.fp8.cuda;

import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Tensor;
import dev.octet.cuda.Cuda;
import dev.octet.cuda.DeviceBuffer;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Overflow;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.spi.Fp8Backend;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Backends {@code cuda-portable} and {@code cuda-hopper} of the tests: take tensors of the CPU, do the work on the
 * first GPU and bring the results back, so that the suites run on a GPU as they are. Memory is copied with all that
 * lies between the elements and with the host's alignment: a kernel that writes beside its output, or can't bear an
 * odd address, is seen.
 */
public class MirrorBackend implements Fp8Backend {
    /** The first GPU, with kernels alone that keep the FP32 bound, which the suites ask for. */
    private static final class Portable implements Launcher {
        @Override
        public void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters) {
            GpuLauncher.of(GPU).launch(kernel, blocks, parameters);
        }

        @Override
        public long scratch() {
            return GpuLauncher.of(GPU).scratch();
        }
    }

    private static final Device GPU = Device.cuda(0);

    private final String name;
    private final Launcher launcher;

    /** For the service loader. */
    public MirrorBackend() {
        this("cuda-portable", new Portable());
    }

    MirrorBackend(String name, Launcher launcher) {
        this.name = name;
        this.launcher = launcher;
    }

    /** {@return the same with the kernels that callers of the first GPU get, K's split included} */
    public static MirrorBackend ofCallers() {
        return new MirrorBackend("cuda", GpuLauncher.of(GPU));
    }

    /** The first GPU with its Hopper GEMM, which gives groups the bits of plain products if those do not split K. */
    private static final class Hopper implements Launcher {
        @Override
        public void launch(Fp8Kernel kernel, long blocks, MemorySegment parameters) {
            GpuLauncher.of(GPU).launch(kernel, blocks, parameters);
        }

        @Override
        public HopperModel.@Nullable Gpu hopper() {
            return GpuLauncher.of(GPU).hopper();
        }

        @Override
        public boolean splitsK() {
            return false;
        }

        @Override
        public void launch(HopperLaunch launch) {
            GpuLauncher.of(GPU).launch(launch);
        }

        @Override
        public long scratch() {
            return GpuLauncher.of(GPU).scratch();
        }

        @Override
        public long workspace(long bytes) {
            return GpuLauncher.of(GPU).workspace(bytes);
        }

        @Override
        public Object order() {
            return GpuLauncher.of(GPU).order();
        }
    }

    /** Backend {@code cuda-hopper}. */
    public static final class OnHopper extends MirrorBackend {
        /** For the service loader. */
        public OnHopper() {
            super("cuda-hopper", new Hopper());
        }

        @Override
        public Optional<String> unavailable() {
            Optional<String> why = super.unavailable();
            return why.isPresent() || GpuLauncher.of(GPU).hopper() != null ? why
                    : Optional.of("the first GPU has not compute capability 9.0");
        }
    }

    /** What lies on the GPU during one operation. */
    private static final class Mirror implements AutoCloseable {
        private static final int LINE = 256;

        private record Copy(DeviceBuffer buffer, long at, Tensor view) {}

        private final Map<Tensor, Copy> copies = new LinkedHashMap<>();
        private final List<DeviceBuffer> buffers = new ArrayList<>();

        /** {@return the same tensor on the GPU; what the host sees as one place is one place there} */
        Tensor of(Tensor t) {
            for (Map.Entry<Tensor, Copy> known : copies.entrySet()) {
                Tensor k = known.getKey();
                if (k.address() == t.address() && k.dtype() == t.dtype() && k.shape().equals(t.shape())) {
                    return known.getValue().view;
                }
            }
            int size = t.dtype().byteSize();
            long at = t.shape().elements() == 0 ? 0 : t.address() % LINE / size * size;
            DeviceBuffer buffer = Cuda.device(GPU.index()).allocate(at + t.segment().byteSize() + LINE);
            buffers.add(buffer);
            if (t.segment().byteSize() > 0) {
                buffer.write(at, t.segment());
            }
            Tensor view = Tensor.view(buffer, t.dtype(), t.shape(), t.strides(), at / size);
            copies.put(t, new Copy(buffer, at, view));
            return view;
        }

        ScaledTensor of(ScaledTensor t) {
            return new ScaledTensor(of(t.codes()), of(t.scales()), t.scaling());
        }

        Epilogue of(Epilogue e) {
            Tensor addend = e.addend();
            Tensor bias = e.bias();
            return new Epilogue(addend == null ? null : of(addend), bias == null ? null : of(bias), e.activation());
        }

        void bringBack(Tensor t) {
            Copy copy = copies.get(t);
            if (copy != null && t.segment().byteSize() > 0) {
                copy.buffer.read(copy.at, t.segment());
            }
        }

        void bringBack(ScaledTensor t) {
            bringBack(t.codes());
            bringBack(t.scales());
        }

        @Override
        public void close() {
            buffers.forEach(DeviceBuffer::close);
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
        return -2;
    }

    @Override
    public Optional<String> unavailable() {
        return new CudaBackend().unavailable();
    }

    @Override
    public String description() {
        return "backend cuda's kernels on copies";
    }

    @Override
    public void cast(Tensor source, Tensor target, Overflow overflow, Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaCast.cast(launcher, m.of(source), m.of(target), overflow);
            m.bringBack(target);
        }
    }

    @Override
    public void quantize(Tensor source, ScaledTensor target, Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaQuantizer.quantize(launcher, m.of(source), m.of(target));
            m.bringBack(target);
        }
    }

    @Override
    public void dequantize(ScaledTensor source, Tensor target, Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaQuantizer.dequantize(launcher, m.of(source), m.of(target));
            m.bringBack(target);
        }
    }

    @Override
    public void requantize(ScaledTensor source, ScaledTensor target, Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaQuantizer.requantize(launcher, m.of(source), m.of(target));
            m.bringBack(target);
        }
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, Tensor d, Epilogue epilogue, Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaGemm.gemm(launcher, m.of(a), m.of(b), m.of(d), m.of(epilogue));
            m.bringBack(d);
        }
    }

    @Override
    public void gemm(ScaledTensor a, ScaledTensor b, ScaledTensor d, Epilogue epilogue, Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaGemm.gemm(launcher, m.of(a), m.of(b), m.of(d), m.of(epilogue));
            m.bringBack(d);
        }
    }

    @Override
    public void groupedGemm(ScaledTensor a, long[] begins, long[] ends, List<ScaledTensor> b, Tensor d,
            Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaGemm.grouped(launcher, m.of(a), begins, ends, b.stream().map(m::of).toList(), m.of(d));
            m.bringBack(d);
        }
    }

    @Override
    public void kGroupedGemm(ScaledTensor a, ScaledTensor b, long[] offsets, Tensor d, @Nullable Tensor addend,
            Execution execution) {
        try (Mirror m = new Mirror()) {
            CudaGemm.kGrouped(launcher, m.of(a), m.of(b), offsets, m.of(d), addend == null ? null : m.of(addend));
            m.bringBack(d);
        }
    }
}
