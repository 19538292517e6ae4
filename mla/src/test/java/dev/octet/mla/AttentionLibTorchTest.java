package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * LibTorch's scaled_dot_product_attention as an oracle that shares no code with ours: it attends to decompressed keys
 * and values, and both our prefill over the same and our decode over the latents must give what it gives.
 */
class AttentionLibTorchTest {
    private static final double U = 0x1p-24;
    private static final int KEY = ExactModel.NOPE + ExactModel.ROPE;
    private static final int HEADS = 4;
    private static final float SCALE = 0.0721f;

    /** Its own threads wait in loops, which costs more than they bring to tensors this small. */
    @BeforeAll
    static void oneThread() {
        torch.set_num_threads(1);
        openblas.blas_set_num_threads(1);
    }

    record Case(String backend, int queries, int keys, boolean causal) {}

    static List<Case> cases() {
        return TestedBackends.names().flatMap(backend -> List.of(new Case(backend, 150, 150, true),
                new Case(backend, 150, 150, false), new Case(backend, 40, 250, true), new Case(backend, 1, 250, true),
                new Case(backend, 7, 33, false)).stream()).toList();
    }

    /** {@code [tokens, heads, dim]} as {@code [1, heads, tokens, dim]}. */
    private static org.bytedeco.pytorch.Tensor torch(Tensor t, ScalarType type) {
        float[] values = t.toFloatArray();
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        long[] dims = {1, t.dim(0), t.dim(1), t.dim(2)};
        return torch.from_blob(new DoublePointer(wide), dims, new TensorOptions(ScalarType.Double)).clone()
                .transpose(1, 2).contiguous().to(type);
    }

    /** Own and shared keys side by side, {@code [keys, heads, 192]}. */
    private static Tensor joined(Arena arena, Tensor keys, Tensor ropeKeys) {
        Tensor joined = Tensor.allocate(arena, DType.F32, Shape.of(keys.dim(0), HEADS, KEY));
        joined.slice(2, 0, ExactModel.NOPE).copyFrom(keys);
        for (int h = 0; h < HEADS; h++) {
            joined.slice(1, h, h + 1).slice(2, ExactModel.NOPE, KEY)
                    .copyFrom(ropeKeys.reshape(keys.dim(0), 1, ExactModel.ROPE));
        }
        return joined;
    }

    /** Theirs, as {@code [tokens, heads, dim]}. Queries and keys end together, which their is_causal does not do. */
    private static double[] theirs(Arena arena, ExactModel model, boolean causal, ScalarType type) {
        double[] mask = new double[model.queries * model.keys];
        for (int i = 0; i < mask.length; i++) {
            boolean visible = i % model.keys <= model.keys - model.queries + i / model.keys;
            mask[i] = visible ? 0 : Double.NEGATIVE_INFINITY;
        }
        boolean square = model.queries == model.keys;
        TensorOptional bias = causal && !square
                ? new TensorOptional(torch.from_blob(new DoublePointer(mask), new long[] {model.queries, model.keys},
                        new TensorOptions(ScalarType.Double)).to(type))
                : new TensorOptional();
        org.bytedeco.pytorch.Tensor out = torch.scaled_dot_product_attention(torch(model.query(arena), type),
                torch(joined(arena, model.keys(arena), model.ropeKeys(arena)), type), torch(model.values(arena), type),
                bias, 0, causal && square, new DoubleOptional((double) SCALE), false);
        double[] values = new double[model.queries * HEADS * ExactModel.VALUE];
        out.transpose(1, 2).to(ScalarType.Double).contiguous().data_ptr_double().get(values);
        return values;
    }

    @ParameterizedTest
    @MethodSource("cases")
    @SuppressWarnings("try") // the scope only has to close
    void sameAsTheirs(Case c) {
        ExactModel model = new ExactModel(7, HEADS, c.queries, c.keys);
        AttentionOptions options = c.causal ? AttentionOptions.causal(SCALE)
                : AttentionOptions.bidirectional(SCALE);
        try (Arena arena = Arena.ofShared(); PointerScope scope = new PointerScope()) {
            double[] inDouble = theirs(arena, model, c.causal, ScalarType.Double);
            double[] inFloat = theirs(arena, model, c.causal, ScalarType.Float);
            ExpectedAttention naive = model.expectedNaive(options);
            Mla mla = Mla.on(c.backend);

            Tensor prefill = Tensor.allocate(arena, DType.F32, Shape.of(c.queries, HEADS, ExactModel.VALUE));
            mla.prefill(model.query(arena), model.keys(arena), model.ropeKeys(arena), model.values(arena),
                    new Ragged(new int[] {c.queries}, new int[] {c.keys}), options, prefill, null);
            double[] ours = widen(prefill.toFloatArray());
            double[] bounds = new double[ours.length];
            for (int i = 0; i < ours.length; i++) {
                int token = i / ExactModel.VALUE / HEADS;
                int head = i / ExactModel.VALUE % HEADS;
                bounds[i] = naive.outBound(token, head)[i % ExactModel.VALUE] + U * Math.abs(inDouble[i]);
            }
            // Their sums may be one chain each, of up to 250 roundings where ours have blocks of at most 128.
            double[] floatBounds = Arrays.stream(bounds).map(b -> 2 * b).toArray();
            compare(c + ", their float", inDouble, inFloat, floatBounds);
            compare(c + ", prefill and their double", inDouble, ours, bounds);
            compare(c + ", prefill and their float", inFloat, ours, Arrays.stream(bounds).map(b -> 3 * b).toArray());

            Tensor query = model.absorbedQuery(arena);
            Tensor decoded = decode(arena, mla, model, query, options);
            ExpectedAttention latents = model.expectedOverLatents(query, options);
            double[] absorbed = new double[ours.length];
            double[] absorbedBounds = new double[ours.length];
            float[] sums = decoded.toFloatArray();
            for (int i = 0; i < ours.length; i++) {
                int token = i / ExactModel.VALUE / HEADS;
                int head = i / ExactModel.VALUE % HEADS;
                double[] up = model.upValues[head][i % ExactModel.VALUE];
                double[] own = latents.outBound(token, head);
                for (int k = 0; k < ExactModel.LATENT; k++) {
                    double x = sums[(token * HEADS + head) * ExactModel.LATENT + k];
                    absorbed[i] += up[k] * x;
                    absorbedBounds[i] += Math.abs(up[k]) * (own[k] + U * Math.abs(x));
                }
            }
            compare(c + ", decode and their double", inDouble, absorbed, absorbedBounds);
            for (int i = 0; i < ours.length; i++) {
                absorbedBounds[i] += floatBounds[i];
            }
            compare(c + ", decode and their float", inFloat, absorbed, absorbedBounds);
        }
    }

    private static Tensor decode(Arena arena, Mla mla, ExactModel model, Tensor query, AttentionOptions options) {
        Tensor out = Tensor.allocate(arena, DType.F32, Shape.of(model.queries, HEADS, ExactModel.LATENT));
        try (LatentKvCache cache =
                LatentKvCache.allocate(ExactModel.LATENT, ExactModel.ROPE, CacheFormat.BF16, 1, 40, 16)) {
            LatentKvCache.Sequence sequence = cache.open();
            cache.append(sequence, model.latents(arena), model.ropeKeys(arena));
            mla.decode(query, cache, 0, List.of(sequence), new int[] {model.queries}, options, out, null);
        }
        return out;
    }

    private static double[] widen(float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return wide;
    }

    private static void compare(String what, double[] expected, double[] actual, double[] bounds) {
        for (int i = 0; i < expected.length; i++) {
            assertEquals(expected[i], actual[i], bounds[i] + 1e-12, what + ", value " + i);
        }
    }
}
