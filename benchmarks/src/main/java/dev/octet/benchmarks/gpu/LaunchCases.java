package dev.octet.benchmarks.gpu;

import dev.octet.cuda.ComputeCapability;
import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.CudaKernel;
import dev.octet.cuda.CudaStream;
import dev.octet.cuda.DeviceBuffer;
import dev.octet.cuda.KernelLaunch;
import dev.octet.cuda.KernelSource;
import java.util.ArrayList;
import java.util.List;

/** What a launch costs: kernels that do next to nothing. */
final class LaunchCases {
    static final KernelSource SOURCE =
            KernelSource.read("empty.cu", LaunchCases.class.getResourceAsStream("empty.cu"));

    private LaunchCases() {}

    static List<GpuCase> all() {
        List<GpuCase> cases = new ArrayList<>();
        cases.add(new Launch("launch/one block, no parameter", "empty", 1, false, false));
        cases.add(new Launch("launch/one block, 12 parameters set anew", "parameters", 1, false, false));
        cases.add(new Launch("launch/132 blocks, 12 parameters set anew", "parameters", 132, false, false));
        cases.add(new Launch("launch/132 blocks, clusters of 2", "empty", 132, true, false));
        cases.add(new Launch("launch/132 blocks, programmatic dependent launch", "dependent", 132, false, true));
        return cases;
    }

    private record Launch(String name, String kernel, int blocks, boolean cluster, boolean programmatic)
            implements GpuCase {
        private static final int PARAMETERS = 12;

        @Override
        public Prepared prepare(CudaDevice gpu) {
            if ((cluster || programmatic) && gpu.capability().compareTo(ComputeCapability.HOPPER) < 0) {
                throw new UnsupportedOperationException("needs compute capability 9.0, this is " + gpu.capability());
            }
            CudaKernel k = gpu.kernel(SOURCE, kernel);
            KernelLaunch launch = k.prepare().grid(blocks).block(128).programmatic(programmatic);
            if (cluster) {
                launch.cluster(2, 1, 1);
            }
            DeviceBuffer out = gpu.allocate(4);
            boolean parameters = k.parameterCount() > 0;
            if (parameters) {
                launch.setPointer(0, out);
            }
            return new Prepared() {
                private int n;

                @Override
                public int sets() {
                    return 1;
                }

                @Override
                public void run(CudaStream stream, int set) {
                    if (parameters) {
                        for (int p = 1; p < PARAMETERS; p++) {
                            launch.setInt(p, n);
                        }
                        n = n + 1 & 0xFFFF;
                    }
                    launch.launch(stream);
                }

                @Override
                public List<Amount> amounts() {
                    return List.of();
                }

                @Override
                public void close() {
                    out.close();
                }
            };
        }
    }
}
