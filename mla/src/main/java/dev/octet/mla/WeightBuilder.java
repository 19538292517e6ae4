package dev.octet.mla;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.fp8.Checkpoint;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Puts the weights of a layer together from matrices that are quantised or not. Everything is checked before anything
 * is quantised; what was allocated is freed on {@link #close()} unless {@link #build} has handed it over.
 */
final class WeightBuilder implements AutoCloseable {
    private static final int BLOCK = Granularity.BLOCK;

    private final MlaConfig config;
    private final Scaling scaling;
    private final Fp8 fp8 = Fp8.auto();
    private final List<AutoCloseable> made = new ArrayList<>();

    /** A named matrix or vector, quantised or not. */
    record Matrix(String name, @Nullable Tensor floats, @Nullable ScaledTensor quantized) {
        /** Finds a tensor of a checkpoint; its scales are looked for if it is FP8. */
        static Matrix of(Checkpoint checkpoint, String name) {
            if (!checkpoint.source().contains(name)) {
                throw new IllegalArgumentException("there is no tensor '" + name + "'");
            }
            Tensor t = checkpoint.source().tensor(name);
            return t.dtype().isFp8() ? new Matrix(name, null, checkpoint.weight(name)) : new Matrix(name, t, null);
        }

        static Matrix of(String name, MlaFloatWeights w) {
            Tensor t = switch (name) {
                case "q_a_proj", "q_proj" -> w.qA();
                case "q_a_layernorm" -> w.qNorm();
                case "q_b_proj" -> w.qB();
                case "kv_a_proj_with_mqa" -> w.kvA();
                case "kv_a_layernorm" -> w.kvNorm();
                case "kv_b_proj" -> w.kvB();
                default -> w.o();
            };
            if (t == null) {
                throw new IllegalArgumentException("there is no " + name + ", and the config has compressed queries");
            }
            return new Matrix(name, t, null);
        }

        Shape shape() {
            return quantized != null ? quantized.codes().shape() : floats.shape();
        }

        Matrix require(long... dims) {
            if (!shape().equals(Shape.of(dims))) {
                throw new IllegalArgumentException(
                        "'" + name + "' has shape " + shape() + ", the config takes " + Shape.of(dims));
            }
            boolean vector = dims.length == 1;
            if (floats != null && (vector ? floats.dtype() != DType.F32 && floats.dtype() != DType.BF16
                    : !floats.dtype().isFloat())) {
                throw new IllegalArgumentException("'" + name + "' is " + floats.dtype() + ", it must be "
                        + (vector ? "F32 or BF16" : "F8_E4M3 with scales, F32, BF16 or F16"));
            }
            return this;
        }
    }

    WeightBuilder(MlaConfig config, ScaleFormat format) {
        this.config = config;
        scaling = new Scaling(Granularity.BLOCK_128X128, format);
    }

    MlaWeights build(Function<String, Matrix> find) {
        long heads = config.heads();
        boolean compressed = config.compressesQueries();
        Matrix qA = find.apply(compressed ? "q_a_proj" : "q_proj")
                .require(config.queryRows(), config.hiddenSize());
        Matrix qNorm = compressed ? find.apply("q_a_layernorm").require(config.qLoraRank()) : null;
        Matrix qB = compressed
                ? find.apply("q_b_proj").require(heads * config.qkHeadDim(), config.qLoraRank()) : null;
        Matrix kvA = find.apply("kv_a_proj_with_mqa").require(config.latentDim(), config.hiddenSize());
        Matrix kvNorm = find.apply("kv_a_layernorm").require(config.kvLoraRank());
        Matrix kvB = find.apply("kv_b_proj")
                .require(heads * (config.qkNopeHeadDim() + config.vHeadDim()), config.kvLoraRank());
        Matrix o = find.apply("o_proj").require(config.hiddenSize(), heads * config.vHeadDim());
        MlaWeights weights = new MlaWeights(config, fuse(qA, kvA), qNorm == null ? null : norm(qNorm),
                qB == null ? null : quantize(qB), norm(kvNorm), quantize(kvB), quantize(o));
        made.clear();
        return weights;
    }

    private <T extends AutoCloseable> T own(T made) {
        this.made.add(made);
        return made;
    }

    /** A norm of a few thousand values is copied, so that whoever closes the weights closes nobody else's tensor. */
    private Tensor norm(Matrix w) {
        return own(w.floats().copy());
    }

    private ScaledTensor quantize(Matrix w) {
        return w.quantized() != null ? w.quantized() : own(fp8.quantize(w.floats(), DType.F8_E4M3, scaling));
    }

    private ScaledTensor fuse(Matrix upper, Matrix lower) {
        long rows = upper.shape().dim(0);
        long all = rows + lower.shape().dim(0);
        long columns = upper.shape().dim(1);
        ScaledTensor fused = own(ScaledTensor.allocate(DType.F8_E4M3, all, columns, scaling));
        if (rows % BLOCK == 0) {
            put(upper, part(fused, 0, rows));
            put(lower, part(fused, rows, all));
        } else {
            try (Tensor both = Tensor.allocate(DType.F32, Shape.of(all, columns))) {
                widen(upper, both.slice(0, 0, rows));
                widen(lower, both.slice(0, rows, all));
                fp8.quantize(both, fused);
            }
        }
        return fused;
    }

    /** Rows from the begin of a block. */
    private static ScaledTensor part(ScaledTensor w, long from, long to) {
        return new ScaledTensor(w.codes().slice(0, from, to),
                w.scales().slice(0, from / BLOCK, Math.ceilDiv(to, (long) BLOCK)), w.scaling());
    }

    private void put(Matrix from, ScaledTensor to) {
        ScaledTensor quantized = from.quantized();
        if (quantized == null) {
            fp8.quantize(from.floats(), to);
        } else if (quantized.scaling().equals(to.scaling())) {
            to.codes().copyFrom(quantized.codes());
            to.scales().copyFrom(quantized.scales());
        } else {
            fp8.requantize(quantized, to);
        }
    }

    private void widen(Matrix from, Tensor to) {
        if (from.quantized() != null) {
            fp8.dequantize(from.quantized(), to);
        } else if (from.floats().dtype() == DType.F32) {
            to.copyFrom(from.floats());
        } else {
            to.copyFrom(from.floats().toFloatArray());
        }
    }

    @Override
    public void close() {
        for (AutoCloseable c : made) {
            try {
                c.close();
            } catch (Exception e) {
                throw new AssertionError(e); // tensors close without exceptions
            }
        }
    }
}
