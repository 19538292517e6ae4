package dev.octet.benchmarks.demo;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Epilogue;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.util.List;

/**
 * A linear layer as DeepSeek-V3 section 3.3.2 runs one: weights quantised once in blocks of 128x128, activations as
 * they come in groups of 1x128, one FP8 GEMM with the bias in its epilogue.
 */
final class Fp8Linear implements Linear {
    private final Fp8 fp8;
    private final ScaledTensor weight;
    private final Tensor bias;
    private final Epilogue epilogue;
    private final ScaledTensor activations;

    /**
     * Quantises the weights.
     *
     * @param fp8 the operations to use
     * @param parts see {@link Linear.Factory}
     * @param maxRows the most rows that {@link #apply} will be given
     */
    Fp8Linear(Fp8 fp8, List<MiniLm.Dense> parts, int maxRows) {
        this.fp8 = fp8;
        long in = parts.getFirst().weight().dim(0);
        long out = parts.stream().mapToLong(p -> p.weight().dim(1)).sum();
        bias = Tensor.allocate(DType.F32, Shape.of(out));
        try (Tensor rows = Tensor.allocate(DType.F32, Shape.of(out, in))) { // the GEMM reads [out, in]
            long from = 0;
            for (MiniLm.Dense part : parts) {
                long to = from + part.weight().dim(1);
                rows.slice(0, from, to).copyFrom(part.weight().transpose());
                bias.slice(0, from, to).copyFrom(part.bias());
                from = to;
            }
            weight = fp8.quantize(rows, DType.F8_E4M3, Scaling.WEIGHT);
        }
        epilogue = Epilogue.NONE.withBias(bias);
        activations = ScaledTensor.allocate(DType.F8_E4M3, maxRows, in, Scaling.ACTIVATION);
    }

    @Override
    public void apply(Tensor x, Tensor y) {
        long rows = x.dim(0);
        ScaledTensor codes = new ScaledTensor(activations.codes().slice(0, 0, rows),
                activations.scales().slice(0, 0, rows), Scaling.ACTIVATION);
        fp8.quantize(x, codes);
        fp8.gemm(codes, weight, y, epilogue);
    }

    @Override
    public long weightBytes() {
        return weight.byteSize();
    }

    @Override
    public void close() {
        weight.close();
        bias.close();
        activations.close();
    }
}
