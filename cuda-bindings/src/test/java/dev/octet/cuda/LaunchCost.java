package dev.octet.cuda;

import java.util.Arrays;

/**
 * What Java adds to a launch: nanoseconds from the setting of four parameters to the return of a driver that returns at
 * once. A program, for nobody should trust a time that a test took beside other work; run it from {@code cuda-bindings}
 * with {@code -Doctet.cuda.libcuda=target/standin/libcuda.so}.
 */
final class LaunchCost {
    private static final int LAUNCHES = 1_000_000;
    private static final int ROUNDS = 15;

    private LaunchCost() {}

    public static void main(String[] args) throws Exception {
        StandIn library = StandIn.build();
        CudaDevice gpu = Cuda.device(0);
        CudaStream stream = gpu.currentStream();
        try (CudaModule module = gpu.load("a.cu", new byte[1]); DeviceBuffer buffer = gpu.allocate(4)) {
            KernelLaunch launch = module.kernel("kernel").prepare().setPointer(0, buffer).setInt(1, 1).setFloat(2, 2)
                    .setLong(3, 3).setTensorMap(4, new TensorMap());
            library.quiet(true);
            double[] nanos = new double[ROUNDS];
            for (int r = 0; r < ROUNDS; r++) {
                long start = System.nanoTime();
                for (int i = 0; i < LAUNCHES; i++) {
                    launch.setPointer(0, buffer).setInt(1, i).setFloat(2, i).setLong(3, i).launch(stream);
                }
                nanos[r] = (System.nanoTime() - start) / (double) LAUNCHES;
            }
            Arrays.sort(nanos);
            System.out.printf("a launch without the driver: %.1f ns, median of %d rounds of %d%n", nanos[ROUNDS / 2],
                    ROUNDS, LAUNCHES);
        }
    }
}
