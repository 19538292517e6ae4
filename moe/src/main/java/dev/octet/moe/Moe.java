package dev.octet.moe;

import dev.octet.core.DType;
import dev.octet.core.Device;
import dev.octet.core.Execution;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.TensorAccess;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Granularity;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.spi.MoeBackend;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The operations of a mixture of experts (DeepSeek-V2 &sect;2.2, DeepSeek-V3 &sect;2.1.2). {@link #auto()} takes the
 * implementation from the tensors' device, which is what callers want; {@link #on(String)} names one, to compare.
 *
 * <p>Arguments are checked before anything is written: an operation that throws {@link IllegalArgumentException} or
 * {@link IllegalStateException} has left its outputs as they were. The latter comes of closed tensors or pools.
 * Instances are immutable and safe for use by several threads; so are the operations, on different outputs. Results do
 * not depend on the number of threads, nor those of a token on where in the batch it stands, to the bit.
 *
 * <p>Tensors may have any strides, and no output may overlap an input, unless an operation says otherwise.
 */
public final class Moe {
    private static final Moe AUTO = new Moe(null, null);

    private final @Nullable MoeBackend backend;
    private final @Nullable Execution execution;

    private Moe(@Nullable MoeBackend backend, @Nullable Execution execution) {
        this.backend = backend;
        this.execution = execution;
    }

    /** {@return the operations on the best backend for the device of the tensors they are called with} */
    public static Moe auto() {
        return AUTO;
    }

    /**
     * {@return the operations on one backend}
     *
     * @param backend its name: {@code cpu}, {@code scalar} or {@code reference}, or what another module provides
     * @throws IllegalArgumentException if there is no such backend or it can't run here; the message has the reason
     */
    public static Moe on(String backend) {
        return new Moe(MoeBackends.FOUND.named(backend), null);
    }

    /** {@return the names of all backends found, whether they can run here or not} */
    public static Set<String> backends() {
        return MoeBackends.FOUND.names();
    }

    /**
     * {@return the same operations on another pool of CPU threads}
     *
     * @param pool the threads; must stay open while operations run
     */
    public Moe with(CpuPool pool) {
        return new Moe(backend, new Execution(pool));
    }

    private MoeBackend on(Device device) {
        return MoeBackends.FOUND.on(device, backend);
    }

    private Execution execution() {
        Execution e = execution;
        return e != null ? e : Execution.shared();
    }

    /** {@return how to get these operations, pool aside} */
    @Override
    public String toString() {
        return backend == null ? "Moe.auto()" : "Moe.on(\"" + backend.name() + "\")";
    }

    // ---------------------------------------------------------------------------------------------- the gate

    /**
     * The router: {@code out = hidden * weight^T}. Products are added in FP32 or better, in an order that depends on
     * nothing but {@code d} and the width of vectors, and rounded once to FP32.
     *
     * @param hidden {@code [tokens, d]} of F32 or BF16
     * @param weight {@code [experts, d]} of F32 or BF16: the experts' centroids
     * @param out {@code [tokens, experts]} of F32
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void routerLogits(Tensor hidden, Tensor weight, Tensor out) {
        requireFloat("hidden", hidden, 2);
        requireFloat("weight", weight, 2);
        if (weight.dim(1) != hidden.dim(1)) {
            throw new IllegalArgumentException("weight has shape " + weight.shape() + ", hidden " + hidden.shape()
                    + " takes [experts, " + hidden.dim(1) + "]");
        }
        requireType("out", out, DType.F32, hidden.dim(0), weight.dim(0));
        TensorAccess.writable("out", out);
        requireDevice(hidden.device(), "weight", weight);
        requireDevice(hidden.device(), "out", out);
        on(hidden.device()).routerLogits(hidden, weight, out, execution());
    }

    /**
     * Chooses experts for each token (DeepSeek-V3 &sect;2.1.2, equations 12 to 16, and node-limited routing in
     * &sect;2.1.2 and DeepSeek-V2 &sect;2.2.2):
     * {@snippet lang=text :
     * score[e]   = softmax, sigmoid or sqrt-softplus of the logits, in FP32
     * choice[e]  = score[e] + bias[e]
     * group[g]   = the largest choice in the group, or the sum of the two largest
     * experts    = the topK largest choices in the keptGroups groups with the largest values
     * weight[i]  = score[experts[i]]                              without the bias
     * weight[i]  = weight[i] / (SUM weight + 1e-20)               if config.normalize
     * weight[i]  = weight[i] * config.scale
     * }
     * Of equals the one with the lower number is better: group and expert. A token's experts stand in the order of
     * their choices, the best first. Choices in groups that are not kept count as negative infinity, so that a kept
     * expert with a negative choice comes before them.
     *
     * <p>A logit of negative infinity has the score 0; softmax has 0 everywhere if all are. NaN and positive infinity
     * are refused.
     *
     * <p>Unavailable experts are never chosen, and do not count in the value of their group: of a group with one expert
     * left, the sum of the two largest is that one's choice; a group with none is never kept. All experts count in
     * softmax's denominator. What the kept groups hold depends on the token, so the mask is refused if there are so
     * many kept groups with experts left which together hold fewer than {@code topK}.
     *
     * <p>Backends {@code cpu} and {@code scalar} give the same bits, at every vector width. Their scores lie,
     * relative to the exact ones, within 4 * 2^-24 (sigmoid), 5 * 2^-24 (square root of softplus) and
     * {@code (2 * experts + max - logit + 8) * 2^-24} (softmax, {@code max} being the token's largest logit), as long
     * as {@code exp(-|logit|)}, or {@code exp(logit - max)}, is no subnormal number; beyond that they have the few bits
     * that such numbers have.
     *
     * @param logits F32 {@code [tokens, experts]}
     * @param bias F32 {@code [experts]}, finite; null for zeros
     * @param config the rule
     * @param options which experts and tokens are left out
     * @param out the tokens' experts and weights; all of it is written
     * @throws IllegalArgumentException if a shape, dtype, device, mask or value does not fit; the message names it, and
     *     of a logit the first such token
     */
    public void gate(Tensor logits, @Nullable Tensor bias, GateConfig config, GateOptions options, Routing out) {
        requireLogits(logits, config);
        if (bias != null) {
            requireType("bias", bias, DType.F32, config.experts());
            requireDevice(logits.device(), "bias", bias);
        }
        options.check(config, logits.dim(0));
        requireRouting(logits, config, out);
        on(logits.device()).gate(logits, bias, config, options, out, execution());
    }

    /**
     * The weights of experts that were chosen before, as when a training step must repeat the routing of an inference
     * step: as in {@link #gate}, with the given experts in the place of the best. Groups and bias have no part in it.
     * A place that holds -1 has the weight 0 and adds nothing to the sum; the logits of a token with no other are not
     * looked at. Nothing keeps an expert from standing in two places.
     *
     * @param logits F32 {@code [tokens, experts]}
     * @param experts I32 {@code [tokens, topK]}: numbers of experts, or -1
     * @param config the rule
     * @param out the same experts and their weights; {@code out.experts()} may be {@code experts}
     * @throws IllegalArgumentException if a shape, dtype, device or value does not fit; the message names it
     */
    public void replay(Tensor logits, Tensor experts, GateConfig config, Routing out) {
        requireLogits(logits, config);
        requireType("experts", experts, DType.I32, logits.dim(0), config.topK());
        requireDevice(logits.device(), "experts", experts);
        requireRouting(logits, config, out);
        on(logits.device()).replay(logits, experts, config, out, execution());
    }

    private static void requireLogits(Tensor logits, GateConfig config) {
        Objects.requireNonNull(config, "config");
        if (logits.dtype() != DType.F32 || logits.shape().rank() != 2 || logits.dim(1) != config.experts()) {
            throw new IllegalArgumentException("logits is " + logits.dtype() + " " + logits.shape()
                    + ", it must be F32 [tokens, " + config.experts() + "]");
        }
        TensorAccess.readable("logits", logits);
    }

    private static void requireRouting(Tensor logits, GateConfig config, Routing out) {
        requireType("out.experts", out.experts(), DType.I32, logits.dim(0), config.topK());
        TensorAccess.writable("out.experts", out.experts());
        requireType("out.weights", out.weights(), DType.F32, logits.dim(0), config.topK());
        TensorAccess.writable("out.weights", out.weights());
        requireDevice(logits.device(), "out", out.experts());
    }

    // ---------------------------------------------------------------------------------------------- permutation

    /**
     * Copies each token to its positions, one for each of its experts; rows of padding become zeros. Its gradient is
     * {@link #reduce} without weights.
     *
     * @param permutation where tokens go
     * @param tokens {@code [tokens, H]} of F32 or BF16
     * @param out {@code [positions, H]} of the same type; all of it is written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void expand(TokenPermutation permutation, Tensor tokens, Tensor out) {
        expand(permutation, tokens, null, out);
    }

    /**
     * Copies each token to its positions, multiplied by its weight there, in FP32, rounded once: the gradient of
     * {@link #reduce} with respect to its rows, where {@code tokens} is the gradient of its result.
     *
     * @param permutation where tokens go
     * @param tokens {@code [tokens, H]} of F32 or BF16
     * @param weights F32 {@code [tokens, topK]}, or null for ones
     * @param out {@code [positions, H]} of the same type; all of it is written, padding with zeros
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void expand(TokenPermutation permutation, Tensor tokens, @Nullable Tensor weights, Tensor out) {
        requireFloat("tokens", tokens, 2);
        requireType("tokens", tokens, tokens.dtype(), permutation.tokens(), tokens.dim(1));
        requireType("out", out, tokens.dtype(), permutation.positions(), tokens.dim(1));
        TensorAccess.writable("out", out);
        requireDevice(tokens.device(), "out", out);
        requireWeights(permutation, tokens.device(), weights);
        on(tokens.device()).expand(permutation, tokens, weights, out, execution());
    }

    /**
     * Copies each quantised token to its positions, codes and scales; rows of padding become zeros under scales of 1.
     *
     * @param permutation where tokens go
     * @param tokens {@code [tokens, H]}, with scales 1x128 or by row
     * @param out {@code [positions, H]} of the same format and scaling; all of it is written
     * @throws IllegalArgumentException if a shape, dtype, scaling or device does not fit; the message names it
     */
    public void expand(TokenPermutation permutation, ScaledTensor tokens, ScaledTensor out) {
        if (tokens.scaling().granularity().blockRows() != 1
                || tokens.scaling().granularity() == Granularity.BLOCK_128X1) {
            throw new IllegalArgumentException("tokens have granularity " + tokens.scaling().granularity()
                    + ", it must be BLOCK_1X128 or ROW");
        }
        if (!out.scaling().equals(tokens.scaling())) {
            throw new IllegalArgumentException(
                    "out has " + out.scaling() + ", it must have that of tokens, " + tokens.scaling());
        }
        requireType("tokens.codes", tokens.codes(), tokens.format(), permutation.tokens(), tokens.columns());
        requireType("out.codes", out.codes(), tokens.format(), permutation.positions(), tokens.columns());
        TensorAccess.writable("out.codes", out.codes());
        TensorAccess.readable("tokens.scales", tokens.scales());
        TensorAccess.writable("out.scales", out.scales());
        requireDevice(tokens.device(), "out", out.codes());
        on(tokens.device()).expand(permutation, tokens, out, execution());
    }

    /**
     * Brings rows back to their tokens: {@code out[t] = SUM weights[t, j] * rows[position of (t, j)]}, starting from +0
     * in FP32, with a fused multiply-add for each slot j in increasing order; slots without an expert add nothing. The
     * sum is rounded once.
     *
     * @param permutation where tokens went
     * @param rows {@code [positions, H]} of F32 or BF16; padding is not read
     * @param weights F32 {@code [tokens, topK]}, or null for ones
     * @param out {@code [tokens, H]} of F32 or BF16; all of it is written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void reduce(TokenPermutation permutation, Tensor rows, @Nullable Tensor weights, Tensor out) {
        requireFloat("rows", rows, 2);
        requireFloat("out", out, 2);
        requireType("rows", rows, rows.dtype(), permutation.positions(), rows.dim(1));
        requireType("out", out, out.dtype(), permutation.tokens(), rows.dim(1));
        TensorAccess.writable("out", out);
        requireDevice(rows.device(), "out", out);
        requireWeights(permutation, rows.device(), weights);
        on(rows.device()).reduce(permutation, rows, weights, out, execution());
    }

    /**
     * The gradient of {@link #reduce} with respect to its weights:
     * {@code out[t, j] = SUM over h of rows[position of (t, j), h] * gradient[t, h]}, in double, rounded once; 0 for a
     * slot without an expert.
     *
     * @param permutation where tokens went
     * @param rows {@code [positions, H]} of F32 or BF16: what was reduced; padding is not read
     * @param gradient {@code [tokens, H]} of F32 or BF16: the gradient of the result
     * @param out F32 {@code [tokens, topK]}; all of it is written
     * @throws IllegalArgumentException if a shape, dtype or device does not fit; the message names it
     */
    public void weightGradients(TokenPermutation permutation, Tensor rows, Tensor gradient, Tensor out) {
        requireFloat("rows", rows, 2);
        requireFloat("gradient", gradient, 2);
        requireType("rows", rows, rows.dtype(), permutation.positions(), rows.dim(1));
        requireType("gradient", gradient, gradient.dtype(), permutation.tokens(), rows.dim(1));
        requireType("out", out, DType.F32, permutation.tokens(), permutation.topK());
        TensorAccess.writable("out", out);
        requireDevice(rows.device(), "gradient", gradient);
        requireDevice(rows.device(), "out", out);
        on(rows.device()).weightGradients(permutation, rows, gradient, out, execution());
    }

    // ---------------------------------------------------------------------------------------------- activation

    /**
     * SwiGLU between an expert's projections, quantised for the second one in the same pass:
     * {@code out[r, c] = quantize(g / (1 + exp(-g)) * u * weights[r])} with {@code g = gateUp[r, c]} and
     * {@code u = gateUp[r, P + c]}. The arithmetic is FP32, the exponential within 2 * 2^-24 of the exact one,
     * relative. Nothing is rounded to fewer bits in between, and scales are those of
     * {@link dev.octet.fp8.Fp8#quantize}. Backends {@code cpu} and {@code scalar} give the same bits.
     *
     * @param gateUp F32 {@code [rows, 2 P]}: gate projections, and from column P on up projections; columns of unit
     *     stride
     * @param weights F32 {@code [rows]}, or null for ones
     * @param out E4M3 {@code [rows, N]} with N at most P and scales 1x128, columns of the codes of unit stride; all of
     *     it is written
     * @throws IllegalArgumentException if a shape, dtype, scaling, stride or device does not fit; the message names it
     */
    public void swiglu(Tensor gateUp, @Nullable Tensor weights, ScaledTensor out) {
        requireFloat("gateUp", gateUp, 2);
        requireType("gateUp", gateUp, DType.F32, gateUp.dim(0), gateUp.dim(1));
        if (gateUp.dim(1) % 2 != 0 || out.columns() > gateUp.dim(1) / 2) {
            throw new IllegalArgumentException("gateUp has shape " + gateUp.shape()
                    + ", it must have an even number of columns, at least " + 2 * out.columns() + " for out");
        }
        if (out.scaling().granularity() != Granularity.BLOCK_1X128) {
            throw new IllegalArgumentException(
                    "out has granularity " + out.scaling().granularity() + ", it must be BLOCK_1X128");
        }
        requireType("out.codes", out.codes(), DType.F8_E4M3, gateUp.dim(0), out.columns());
        TensorAccess.writable("out.codes", out.codes());
        TensorAccess.writable("out.scales", out.scales());
        requireUnitStride("gateUp", gateUp);
        requireUnitStride("out.codes", out.codes());
        requireDevice(gateUp.device(), "out", out.codes());
        if (weights != null) {
            requireType("weights", weights, DType.F32, gateUp.dim(0));
            requireDevice(gateUp.device(), "weights", weights);
        }
        on(gateUp.device()).swiglu(gateUp, weights, out, execution());
    }

    private static void requireUnitStride(String name, Tensor t) {
        if (t.dim(1) > 1 && t.stride(1) != 1) {
            throw new IllegalArgumentException(name + " has stride " + t.stride(1) + " along a row, it must be 1");
        }
    }

    private static void requireWeights(TokenPermutation permutation, Device device, @Nullable Tensor weights) {
        if (weights != null) {
            requireType("weights", weights, DType.F32, permutation.tokens(), permutation.topK());
            requireDevice(device, "weights", weights);
        }
    }

    // ---------------------------------------------------------------------------------------------- checks

    private static void requireFloat(String name, Tensor t, int rank) {
        if (t.dtype() != DType.F32 && t.dtype() != DType.BF16) {
            throw new IllegalArgumentException(name + " is " + t.dtype() + ", it must be F32 or BF16");
        }
        if (t.shape().rank() != rank) {
            throw new IllegalArgumentException(
                    name + " has shape " + t.shape() + ", it must have " + rank + " dimensions");
        }
        TensorAccess.readable(name, t);
    }

    private static void requireType(String name, Tensor t, DType dtype, long rows, long columns) {
        if (t.dtype() != dtype || !t.shape().is(rows, columns)) {
            throw mistyped(name, t, dtype, Shape.of(rows, columns));
        }
        TensorAccess.readable(name, t);
    }

    private static void requireType(String name, Tensor t, DType dtype, long extent) {
        if (t.dtype() != dtype || !t.shape().is(extent)) {
            throw mistyped(name, t, dtype, Shape.of(extent));
        }
        TensorAccess.readable(name, t);
    }

    private static IllegalArgumentException mistyped(String name, Tensor t, DType dtype, Shape shape) {
        return new IllegalArgumentException(
                name + " is " + t.dtype() + " " + t.shape() + ", it must be " + dtype + " " + shape);
    }

    private static void requireDevice(Device expected, String name, Tensor t) {
        if (!t.device().equals(expected)) {
            throw new IllegalArgumentException(name + " is on " + t.device() + ", it must be on " + expected);
        }
    }
}
