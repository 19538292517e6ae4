package dev.octet.benchmarks.peer;

import dev.octet.core.DType;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Attention of one sequence over keys {@code [1, heads, keys, 192]} and values {@code [1, heads, keys, 128]},
 * contiguous, each time with the next of several copies of both. One query sees all keys; of several there are as many
 * as keys, and none sees keys after its own.
 */
public final class TorchAttention implements AutoCloseable {
    /** Values of a head's query and key in all DeepSeek models. */
    public static final int QUERY_DIM = 192;
    /** Values of a head's value. */
    public static final int VALUE_DIM = 128;

    /**
     * How LibTorch can be asked for it. Its fused kernel for the CPU takes only values as wide as keys; with others
     * {@code scaled_dot_product_attention} goes in single steps and, in BF16, first turns keys and values into FP32.
     */
    public enum Form {
        /** As it is. */
        SDPA("scaled_dot_product_attention"),
        /** Values with zeros beyond their 128, so that the fused kernel is taken. */
        PADDED_SDPA("scaled_dot_product_attention, values padded"),
        /** The single steps by hand, in memory that is there. */
        MATMULS("matmul, softmax, matmul");

        private final String title;

        Form(String title) {
            this.title = title;
        }

        /** {@return what people call it} */
        public String title() {
            return title;
        }

        /**
         * Gives the cores to those threads that do the products: BLAS's own in FP32 products of all heads, LibTorch's
         * where it calls BLAS from several threads, or oneDNN.
         */
        void useThreads(DType dtype, int threads) {
            boolean blas = this == MATMULS && dtype == DType.F32;
            LibTorch.useThreads(blas ? 1 : threads, blas ? threads : 1);
        }
    }

    private final Form form;
    private final Tensor query;
    private final Tensor[] keys;
    private final Tensor[] values;
    private final boolean causal;
    private final TensorOptional noMask = new TensorOptional();
    private final DoubleOptional one = new DoubleOptional(1.0);
    private final Steps steps;
    private int next;

    /** What the single steps need beside their operands. */
    private record Steps(Tensor mask, Tensor scores, Tensor weights, Tensor out) {}

    /**
     * Makes random operands.
     *
     * @param form how to ask for it
     * @param dtype the type of operands and result: F32 or BF16
     * @param threads how many threads work
     * @param heads how many heads
     * @param queries query tokens
     * @param keys key tokens
     * @param copies how many copies of keys and values to walk through
     */
    public TorchAttention(Form form, DType dtype, int threads, long heads, long queries, long keys, int copies) {
        this(form, dtype, threads, random(dtype, heads, queries, QUERY_DIM), random(dtype, heads, keys, QUERY_DIM),
                random(dtype, heads, keys, VALUE_DIM), copies);
    }

    /** The query is scaled already: that costs a peer nothing. */
    private TorchAttention(Form form, DType dtype, int threads, Tensor query, Tensor key, Tensor value, int copies) {
        form.useThreads(dtype, threads);
        this.form = form;
        long heads = query.size(1);
        long queries = query.size(2);
        long tokens = key.size(2);
        causal = queries > 1;
        if (causal && queries != tokens) {
            throw new IllegalArgumentException("there are " + queries + " queries and " + tokens + " keys");
        }
        Tensor v = form == Form.PADDED_SDPA ? padded(value) : value;
        boolean flat = form == Form.MATMULS;
        this.query = flat ? query.reshape(heads, queries, QUERY_DIM) : query;
        keys = new Tensor[copies];
        values = new Tensor[copies];
        for (int i = 0; i < copies; i++) {
            Tensor k = i == 0 ? key : key.clone();
            Tensor w = i == 0 ? v : v.clone();
            keys[i] = flat ? k.reshape(heads, tokens, QUERY_DIM).transpose(1, 2) : k;
            values[i] = flat ? w.reshape(heads, tokens, VALUE_DIM) : w;
        }
        long used = flat ? heads : 0;
        steps = new Steps(causal && flat ? mask(dtype, queries).expand(heads, queries, queries) : zeros(dtype, 0),
                zeros(dtype, used, queries, tokens), zeros(dtype, used, queries, tokens),
                zeros(dtype, used, queries, VALUE_DIM));
    }

    /** Operands of a test, in rows of the last dimension; one copy. */
    static TorchAttention of(Form form, DType dtype, int threads, int heads, float[] query, float[] key,
            float[] value) {
        return new TorchAttention(form, dtype, threads, tensor(dtype, heads, query, QUERY_DIM),
                tensor(dtype, heads, key, QUERY_DIM), tensor(dtype, heads, value, VALUE_DIM), 1);
    }

    private static Tensor tensor(DType dtype, long heads, float[] data, long dim) {
        return Tensor.create(data, 1, heads, data.length / heads / dim, dim)
                .toType(dtype == DType.F32 ? ScalarType.Float : ScalarType.BFloat16);
    }

    /** All heads have the same values: the time does not depend on them, and random numbers take long. */
    private static Tensor random(DType dtype, long heads, long tokens, long dim) {
        return torch.rand(new long[] {1, 1, tokens, dim}, LibTorch.options(dtype)).expand(1, heads, tokens, dim)
                .contiguous();
    }

    private static Tensor zeros(DType dtype, long... shape) {
        return torch.zeros(shape, LibTorch.options(dtype));
    }

    private static Tensor mask(DType dtype, long tokens) {
        return torch.full(new long[] {tokens, tokens}, new Scalar(Double.NEGATIVE_INFINITY), LibTorch.options(dtype))
                .triu(1);
    }

    private static Tensor padded(Tensor value) {
        Tensor wide = torch.zeros(new long[] {1, value.size(1), value.size(2), QUERY_DIM}, value.options());
        wide.narrow(3, 0, VALUE_DIM).copy_(value);
        return wide;
    }

    /** Computes it. */
    public void run() {
        Tensor out = attend();
        if (out != steps.out) {
            out.close();
        }
    }

    private Tensor attend() {
        int i = next;
        next = i + 1 < keys.length ? i + 1 : 0;
        try (InferenceMode _ = new InferenceMode(true)) {
            if (form != Form.MATMULS) {
                return torch.scaled_dot_product_attention(query, keys[i], values[i], noMask, 0, causal, one, false);
            }
            if (causal) {
                torch.baddbmm_out(steps.scores, steps.mask, query, keys[i]);
            } else {
                torch.bmm_out(steps.scores, query, keys[i]);
            }
            torch.softmax_out(steps.weights, steps.scores, -1);
            torch.bmm_out(steps.out, steps.weights, values[i]);
            return steps.out;
        }
    }

    /** {@return the result in rows of 128, head by head} */
    float[] result() {
        Tensor flat = attend().narrow(-1, 0, VALUE_DIM).toType(ScalarType.Float).contiguous();
        float[] all = new float[Math.toIntExact(flat.numel())];
        flat.data_ptr_float().get(all);
        return all;
    }

    /** Frees the operands. */
    @Override
    public void close() {
        for (int i = 0; i < keys.length; i++) {
            keys[i].close();
            values[i].close();
        }
        query.close();
        steps.mask.close();
        steps.scores.close();
        steps.weights.close();
        steps.out.close();
    }
}
