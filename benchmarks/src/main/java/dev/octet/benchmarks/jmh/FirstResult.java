package dev.octet.benchmarks.jmh;

import dev.octet.core.DType;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;

/**
 * A program that does one thing: quantises activations and weights and multiplies them. How long a fresh JVM takes for
 * it is what a user waits for the first time.
 */
public final class FirstResult {
    private static final long M = 128;
    private static final long N = 2112;
    private static final long K = 7168;

    private FirstResult() {}

    /**
     * Prints a line when the result is there.
     *
     * @param args the backend and the number of threads; without them only the line is printed
     */
    public static void main(String[] args) {
        if (args.length == 2) {
            try (CpuPool pool = new CpuPool(Integer.parseInt(args[1]));
                    Tensor x = RandomCodes.normal(DType.BF16, M, K, 1);
                    Tensor w = RandomCodes.normal(DType.BF16, N, K, 2)) {
                Fp8 fp8 = Fp8.on(args[0]).with(pool);
                try (ScaledTensor a = fp8.quantize(x, DType.F8_E4M3, Scaling.ACTIVATION);
                        ScaledTensor b = fp8.quantize(w, DType.F8_E4M3, Scaling.WEIGHT);
                        Tensor d = fp8.gemm(a, b, DType.F32)) {
                    System.out.println(d.getFloat(M - 1, N - 1));
                }
            }
        } else {
            System.out.println("nothing");
        }
    }
}
