package dev.octet.moe;

import dev.octet.core.BFloat16;
import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.TensorInfo;
import dev.octet.core.safetensors.TensorSource;
import dev.octet.fp8.Checkpoint;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaleFormat;
import dev.octet.fp8.ScaledTensor;
import dev.octet.moe.reference.ReferenceExperts;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/** A layer of experts in BF16, in memory, under the names of a checkpoint. */
public final class ExpertLayer implements TensorSource {
    /** The layer's number in its names. */
    public static final int LAYER = 3;

    private final Map<String, Tensor> tensors = new LinkedHashMap<>();
    final ReferenceExperts.Expert[] experts;
    final ReferenceExperts.@Nullable Expert shared;

    /** Normally distributed weights of about the size that keeps a product's. */
    public ExpertLayer(int hidden, int inter, int experts, int sharedInter, long seed) {
        SplittableRandom r = new SplittableRandom(seed);
        this.experts = new ReferenceExperts.Expert[experts];
        for (int e = 0; e < experts; e++) {
            this.experts[e] = expert(r, "experts." + e, hidden, inter);
        }
        shared = sharedInter == 0 ? null : expert(r, "shared_experts", hidden, sharedInter);
    }

    private ReferenceExperts.Expert expert(SplittableRandom r, String name, int hidden, int inter) {
        String prefix = "model.layers." + LAYER + ".mlp." + name + ".";
        return new ReferenceExperts.Expert(weight(r, prefix + "gate_proj.weight", inter, hidden),
                weight(r, prefix + "up_proj.weight", inter, hidden),
                weight(r, prefix + "down_proj.weight", hidden, inter));
    }

    private float[][] weight(SplittableRandom r, String name, int rows, int columns) {
        Tensor t = Tensor.allocate(DType.BF16, Shape.of(rows, columns));
        tensors.put(name, t);
        float[][] values = new float[rows][columns];
        double unit = Math.sqrt(3.0 / columns) / (1 << 16);
        for (int i = 0; i < rows; i++) {
            for (int j = 0; j < columns; j++) {
                long bits = r.nextLong(); // four uniform numbers make one that is as good as normally distributed
                double sum = (bits & 0xFFFF) + (bits >>> 16 & 0xFFFF) + (bits >>> 32 & 0xFFFF) + (bits >>> 48) - 131070;
                short half = BFloat16.fromFloat((float) (sum * unit));
                values[i][j] = BFloat16.toFloat(half);
                t.segment().set(ValueLayout.JAVA_SHORT, 2 * ((long) i * columns + j), half);
            }
        }
        return values;
    }

    /** {@return the weights, quantised with FP32 scales} */
    public ExpertWeights quantized() {
        return quantized(ScaleFormat.F32);
    }

    ExpertWeights quantized(ScaleFormat scales) {
        return ExpertWeights.read(new Checkpoint(this, scales), LAYER, experts.length);
    }

    static ReferenceExperts.Expert dequantized(ExpertWeights.Expert e) {
        return dequantized(e, DType.F32);
    }

    /** {@return what the weights are after quantisation: code times scale in FP32 or, as converted checkpoints, BF16} */
    private static ReferenceExperts.Expert dequantized(ExpertWeights.Expert e, DType type) {
        int padded = (int) e.gateUp().rows() / 2;
        float[][] gateUp = rows(e.gateUp(), type);
        return new ReferenceExperts.Expert(Arrays.copyOf(gateUp, e.inter()),
                Arrays.copyOfRange(gateUp, padded, padded + e.inter()), rows(e.down(), type));
    }

    static float[][] rows(ScaledTensor t) {
        return rows(t, DType.F32);
    }

    private static float[][] rows(ScaledTensor t, DType type) {
        try (Tensor wide = Fp8.auto().dequantize(t, type)) {
            return rows(wide);
        }
    }

    /** {@return a matrix as FP32} */
    public static float[][] rows(Tensor t) {
        int columns = (int) t.dim(1);
        float[] flat = t.toFloatArray();
        float[][] rows = new float[(int) t.dim(0)][];
        for (int i = 0; i < rows.length; i++) {
            rows[i] = Arrays.copyOfRange(flat, i * columns, (i + 1) * columns);
        }
        return rows;
    }

    /** {@return {@code 1 - 2 SUM xy / SUM (x^2 + y^2)}: 0 for equals} */
    public static double calcDiff(double[][] expected, float[][] actual) {
        double[][] wide = new double[actual.length][];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = new double[actual[i].length];
            for (int j = 0; j < wide[i].length; j++) {
                wide[i][j] = actual[i][j];
            }
        }
        return calcDiff(expected, wide);
    }

    /** {@return the same, from the differences, so that small ones keep their digits} */
    static double calcDiff(double[][] expected, double[][] actual) {
        double error = 0;
        double squares = 0;
        for (int i = 0; i < expected.length; i++) {
            for (int j = 0; j < expected[i].length; j++) {
                double e = expected[i][j] - actual[i][j];
                error += e * e;
                squares += expected[i][j] * expected[i][j] + actual[i][j] * actual[i][j];
            }
        }
        return squares == 0 ? 0 : error / squares;
    }

    /** {@return what the reference makes of tokens} */
    public static double[][] reference(Tensor hidden, Routing routing, ReferenceExperts.Expert[] experts,
            ReferenceExperts.@Nullable Expert shared) {
        float[][] x = rows(hidden);
        int k = routing.topK();
        int[] ids = GateRun.ints(routing.experts());
        float[] w = routing.weights().toFloatArray();
        double[][] out = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            out[t] = ReferenceExperts.token(x[t], Arrays.copyOfRange(ids, t * k, t * k + k),
                    Arrays.copyOfRange(w, t * k, t * k + k), experts, shared);
        }
        return out;
    }

    /** {@return what the BF16 weights make of tokens} */
    public double[][] reference(Tensor hidden, Routing routing) {
        return reference(hidden, routing, experts, shared);
    }

    /** {@return the same with the quantised weights} */
    static double[][] reference(Tensor hidden, Routing routing, ExpertWeights weights) {
        return reference(hidden, routing, weights, DType.F32);
    }

    /** {@return the same with the quantised weights, converted to F32 or BF16} */
    public static double[][] reference(Tensor hidden, Routing routing, ExpertWeights weights, DType type) {
        ReferenceExperts.Expert[] all = new ReferenceExperts.Expert[weights.experts()];
        for (int e = 0; e < all.length; e++) {
            all[e] = weights.holds(e) ? dequantized(weights.expert(e), type) : null;
        }
        ExpertWeights.Expert s = weights.shared();
        return reference(hidden, routing, all, s == null ? null : dequantized(s, type));
    }

    Map<String, Tensor> tensors() {
        return tensors;
    }

    @Override
    public Set<String> names() {
        return tensors.keySet();
    }

    @Override
    public TensorInfo info(String name) {
        Tensor t = tensor(name);
        return new TensorInfo(name, "BF16", t.shape(), 0, 2 * t.shape().elements());
    }

    @Override
    public Tensor tensor(String name) {
        Tensor t = tensors.get(name);
        if (t == null) {
            throw new IllegalArgumentException("no tensor '" + name + "'");
        }
        return t;
    }

    @Override
    public void close() {
        tensors.values().forEach(Tensor::close);
    }
}
