package dev.octet.benchmarks.gpu;

import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.CudaStream;
import dev.octet.cuda.DeviceBuffer;
import dev.octet.cuda.PinnedBuffer;
import dev.octet.core.DType;
import java.util.List;

/** The limits that other figures stand beside: copies on the device, to it and from it. */
final class MemoryCases {
    private static final long ON_DEVICE = 1L << 30;
    private static final long OVER_THE_BUS = 64L << 20;

    private MemoryCases() {}

    static List<GpuCase> all() {
        return List.of(new OnDevice(), new OverTheBus(true), new OverTheBus(false));
    }

    private record OnDevice() implements GpuCase {
        @Override
        public String name() {
            return "copy/on the device, 1 GiB";
        }

        @Override
        public Prepared prepare(CudaDevice gpu) {
            DeviceBuffer from = gpu.allocate(ON_DEVICE);
            DeviceBuffer to = gpu.allocate(ON_DEVICE);
            return new Copy(List.of(new Amount("GB/s", 2.0 * ON_DEVICE)), from, to) {
                @Override
                public void run(CudaStream stream, int set) {
                    stream.copy(from.tensor(DType.F32, ON_DEVICE / 4), to.tensor(DType.F32, ON_DEVICE / 4));
                }
            };
        }
    }

    private record OverTheBus(boolean toDevice) implements GpuCase {
        @Override
        public String name() {
            return toDevice ? "copy/to the device, page-locked, 64 MiB" : "copy/from the device, page-locked, 64 MiB";
        }

        @Override
        public Prepared prepare(CudaDevice gpu) {
            DeviceBuffer device = gpu.allocate(OVER_THE_BUS);
            PinnedBuffer host = gpu.allocatePinned(OVER_THE_BUS);
            return new Copy(List.of(new Amount("GB/s", OVER_THE_BUS)), device, host) {
                @Override
                public void run(CudaStream stream, int set) {
                    if (toDevice) {
                        stream.copyToDevice(host.segment(), device, 0);
                    } else {
                        stream.copyToHost(device, 0, host.segment());
                    }
                }
            };
        }
    }

    private abstract static class Copy implements GpuCase.Prepared {
        private final List<GpuCase.Amount> amounts;
        private final List<AutoCloseable> buffers;

        Copy(List<GpuCase.Amount> amounts, AutoCloseable... buffers) {
            this.amounts = amounts;
            this.buffers = List.of(buffers);
        }

        @Override
        public int sets() {
            return 1;
        }

        @Override
        public List<GpuCase.Amount> amounts() {
            return amounts;
        }

        @Override
        public void close() {
            for (AutoCloseable b : buffers) {
                switch (b) {
                    case DeviceBuffer d -> d.close();
                    case PinnedBuffer p -> p.close();
                    default -> throw new IllegalStateException(b.toString());
                }
            }
        }
    }
}
