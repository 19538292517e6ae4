package dev.octet.benchmarks.demo;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;

/** The same model run by ONNX Runtime, which pads sentences to equal length and masks the padding. */
final class OnnxOracle implements AutoCloseable {
    private final OrtEnvironment environment;
    private final OrtSession session;

    private OnnxOracle(OrtEnvironment environment, OrtSession session) {
        this.environment = environment;
        this.session = session;
    }

    /** Opens the model; skips the test, with a visible line, where ONNX Runtime has no native library. */
    static OnnxOracle open() throws Exception {
        OrtEnvironment environment;
        try {
            environment = OrtEnvironment.getEnvironment();
        } catch (LinkageError | RuntimeException e) {
            String why = "SKIPPED: ONNX Runtime has no native library for " + System.getProperty("os.name") + " "
                    + System.getProperty("os.arch") + " (" + e + ")";
            System.out.println(why);
            Assumptions.abort(why);
            throw e;
        }
        try (Arena arena = Arena.ofConfined()) {
            byte[] model = MiniLm.resource("all-minilm-l6-v2.onnx", arena).toArray(ValueLayout.JAVA_BYTE);
            return new OnnxOracle(environment, environment.createSession(model, new OrtSession.SessionOptions()));
        }
    }

    /** Token embeddings of each sentence of one padded batch, {@code [sentence][token][channel]}. */
    float[][][] tokenEmbeddings(List<int[]> sentences) throws OrtException {
        int longest = sentences.stream().mapToInt(s -> s.length).max().orElseThrow();
        long[][] ids = new long[sentences.size()][longest];
        long[][] mask = new long[sentences.size()][longest];
        for (int s = 0; s < ids.length; s++) {
            for (int t = 0; t < sentences.get(s).length; t++) {
                ids[s][t] = sentences.get(s)[t];
                mask[s][t] = 1;
            }
        }
        try (OnnxTensor input = OnnxTensor.createTensor(environment, ids);
                OnnxTensor attention = OnnxTensor.createTensor(environment, mask);
                OnnxTensor types = OnnxTensor.createTensor(environment, new long[ids.length][longest]);
                OrtSession.Result result = session.run(
                        Map.of("input_ids", input, "attention_mask", attention, "token_type_ids", types))) {
            float[][][] padded = (float[][][]) result.get("output_0").orElseThrow().getValue();
            for (int s = 0; s < padded.length; s++) {
                padded[s] = Arrays.copyOf(padded[s], sentences.get(s).length);
            }
            return padded;
        }
    }

    /** Mean over tokens, scaled to length 1. */
    static float[] pool(float[][] tokens) {
        double[] sum = new double[tokens[0].length];
        for (float[] token : tokens) {
            for (int i = 0; i < sum.length; i++) {
                sum[i] += token[i];
            }
        }
        double norm = Math.sqrt(Arrays.stream(sum).map(x -> x * x).sum());
        float[] unit = new float[sum.length];
        for (int i = 0; i < unit.length; i++) {
            unit[i] = (float) (sum[i] / norm);
        }
        return unit;
    }

    @Override
    public void close() throws OrtException {
        session.close();
    }
}
