package dev.octet.benchmarks;

import dev.octet.core.json.ConfigJson;
import dev.octet.mla.MlaConfig;
import dev.octet.moe.GateConfig;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/**
 * What {@code octet route} must know of a model.
 *
 * @param name how it is called
 * @param gate how it routes
 * @param shared experts that every token goes to
 * @param hidden values of a token
 * @param layers layers of the model, dense ones included
 */
record RoutedModel(String name, GateConfig gate, int shared, int hidden, int layers) {
    static final RoutedModel V3 =
            new RoutedModel("DeepSeek-V3", GateConfig.V3, 1, MlaConfig.V3.hiddenSize(), MlaConfig.V3.layers());
    static final RoutedModel V2 =
            new RoutedModel("DeepSeek-V2", GateConfig.V2, 2, MlaConfig.V2.hiddenSize(), MlaConfig.V2.layers());
    static final RoutedModel V2_LITE = new RoutedModel("DeepSeek-V2-Lite", GateConfig.V2_LITE, 2,
            MlaConfig.V2_LITE.hiddenSize(), MlaConfig.V2_LITE.layers());

    /** What the exact distribution over nodes is computed for in a moment. */
    private static final int MOST_EXPERTS = 65_536;
    private static final int MOST_CHOSEN = 1_024;
    private static final ConfigJson.Fields FIELDS =
            ConfigJson.fields().integers("n_shared_experts", "hidden_size", "num_hidden_layers");

    /**
     * Reads a Hugging Face {@code config.json} of DeepSeek's or Mixtral's kind; {@link GateConfig#read} has the rules.
     *
     * @throws IOException if there is no such file, or it is not as it must be; the message names file and field
     */
    static RoutedModel read(Path file) throws IOException {
        try {
            GateConfig gate = GateConfig.read(file);
            if (gate.experts() > MOST_EXPERTS || gate.topK() > MOST_CHOSEN) {
                throw new IOException(file + ": " + gate.topK() + " of " + gate.experts() + " experts are more than "
                        + MOST_CHOSEN + " of " + MOST_EXPERTS);
            }
            return ConfigJson.read(file, FIELDS, json -> new RoutedModel(file.toString(), gate,
                    json.has("n_shared_experts") ? json.integer("n_shared_experts") : 0,
                    json.positive("hidden_size"), json.positive("num_hidden_layers")));
        } catch (NoSuchFileException e) {
            throw new IOException(file + " does not exist", e);
        }
    }
}
