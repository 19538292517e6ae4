package dev.octet.benchmarks.demo;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.cpu.CpuPool;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A BERT encoder with mean pooling (Devlin et al. 2019; Reimers and Gurevych, "Sentence-BERT", 2019) whose linear layers
 * come from outside: FP32 or FP8. Everything between them is FP32 and the same in both.
 *
 * <p>Sentences of a batch lie one after the other, without padding, so that a GEMM sees only real tokens. One thread at
 * a time may use an encoder.
 */
final class SentenceEncoder implements AutoCloseable {
    /** The most tokens that go through the layers together; longer lists are cut into batches. */
    static final int BATCH_TOKENS = 512;

    /** Sees the hidden states as they are made. */
    @FunctionalInterface
    interface Observer {
        /**
         * Sees the output of a layer.
         *
         * @param layer 0 after the embeddings, then 1, 2, ... after the layers
         * @param hidden {@code [tokens of the batch, 384]}, valid only during the call
         */
        void layer(int layer, Tensor hidden);
    }

    private record Block(Linear qkv, Linear output, Linear up, Linear down, MiniLm.Layer weights) {
        List<Linear> linears() {
            return List.of(qkv, output, up, down);
        }
    }

    private final MiniLm model;
    private final CpuPool pool;
    private final List<Block> blocks = new ArrayList<>();
    private final Tensor hidden = Tensor.allocate(DType.F32, Shape.of(BATCH_TOKENS, MiniLm.HIDDEN));
    private final Tensor change = Tensor.allocate(DType.F32, Shape.of(BATCH_TOKENS, MiniLm.HIDDEN));
    private final Tensor context = Tensor.allocate(DType.F32, Shape.of(BATCH_TOKENS, MiniLm.HIDDEN));
    private final Tensor qkv = Tensor.allocate(DType.F32, Shape.of(BATCH_TOKENS, 3 * MiniLm.HIDDEN));
    private final Tensor inner = Tensor.allocate(DType.F32, Shape.of(BATCH_TOKENS, MiniLm.INNER));

    /**
     * Builds the layers.
     *
     * @param model the weights; must stay open as long as the encoder
     * @param factory makes the linear layers
     * @param pool the threads for what is between them
     */
    SentenceEncoder(MiniLm model, Linear.Factory factory, CpuPool pool) {
        this.model = model;
        this.pool = pool;
        for (MiniLm.Layer l : model.layers()) {
            blocks.add(new Block(factory.linear(List.of(l.query(), l.key(), l.value())),
                    factory.linear(List.of(l.output())), factory.linear(List.of(l.up())),
                    factory.linear(List.of(l.down())), l));
        }
    }

    /** Bytes of all linear weights, scales included. */
    long linearBytes() {
        return blocks.stream().flatMap(b -> b.linears().stream()).mapToLong(Linear::weightBytes).sum();
    }

    /** {@return one embedding of length 1 for each sentence} */
    float[][] encode(List<int[]> sentences) {
        return encode(sentences, null);
    }

    /**
     * Encodes sentences.
     *
     * @param sentences token ids, at most {@link #BATCH_TOKENS} each
     * @param observer sees the hidden states, batch by batch; or null
     * @return one embedding of length 1 for each sentence
     */
    float[][] encode(List<int[]> sentences, @Nullable Observer observer) {
        float[][] embeddings = new float[sentences.size()][];
        int from = 0;
        while (from < sentences.size()) {
            int to = from;
            int tokens = 0;
            while (to < sentences.size() && tokens + sentences.get(to).length <= BATCH_TOKENS) {
                tokens += sentences.get(to++).length;
            }
            if (to == from) {
                throw new IllegalArgumentException("sentence " + from + " has " + sentences.get(from).length
                        + " tokens, at most " + BATCH_TOKENS + " fit");
            }
            encodeBatch(sentences.subList(from, to), tokens, observer, embeddings, from);
            from = to;
        }
        return embeddings;
    }

    private void encodeBatch(List<int[]> sentences, int tokens, @Nullable Observer observer, float[][] embeddings,
            int firstSentence) {
        Tensor h = hidden.slice(0, 0, tokens);
        Tensor c = change.slice(0, 0, tokens);
        Tensor attended = context.slice(0, 0, tokens);
        Tensor heads = qkv.slice(0, 0, tokens);
        Tensor wide = inner.slice(0, 0, tokens);
        int[] starts = new int[sentences.size() + 1];
        for (int s = 0; s < sentences.size(); s++) {
            Rows.embed(sentences.get(s), model, h, starts[s]);
            starts[s + 1] = starts[s] + sentences.get(s).length;
        }
        c.segment().fill((byte) 0);
        Rows.addAndNormalize(c, h, model.embeddingNorm(), pool);
        observe(observer, 0, h);
        for (int layer = 0; layer < blocks.size(); layer++) {
            Block b = blocks.get(layer);
            b.qkv().apply(h, heads);
            Attention.attend(heads, starts, attended, pool);
            b.output().apply(attended, c);
            Rows.addAndNormalize(c, h, b.weights().attentionNorm(), pool);
            b.up().apply(h, wide);
            Rows.gelu(wide, pool);
            b.down().apply(wide, c);
            Rows.addAndNormalize(c, h, b.weights().outputNorm(), pool);
            observe(observer, layer + 1, h);
        }
        for (int s = 0; s < sentences.size(); s++) {
            embeddings[firstSentence + s] = Rows.meanDirection(h, starts[s], starts[s + 1]);
        }
    }

    private static void observe(@Nullable Observer observer, int layer, Tensor h) {
        if (observer != null) {
            observer.layer(layer, h);
        }
    }

    @Override
    public void close() {
        blocks.forEach(b -> b.linears().forEach(Linear::close));
        hidden.close();
        change.close();
        context.close();
        qkv.close();
        inner.close();
    }
}
