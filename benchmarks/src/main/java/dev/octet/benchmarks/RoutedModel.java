package dev.octet.benchmarks;

import dev.octet.core.json.JsonException;
import dev.octet.core.json.JsonReader;
import dev.octet.mla.MlaConfig;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GroupScore;
import dev.octet.moe.ScoreFunction;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

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

    private static final long MAX_SIZE = 16 << 20;
    private static final int MOST_EXPERTS = 65_536;
    private static final int MOST_CHOSEN = 1_024;
    private static final Set<String> INTEGERS = Set.of("n_routed_experts", "num_local_experts", "num_experts",
            "num_experts_per_tok", "n_shared_experts", "n_group", "topk_group", "hidden_size", "num_hidden_layers");
    private static final Set<String> TEXTS = Set.of("topk_method", "scoring_func");

    /**
     * Reads a Hugging Face {@code config.json} of DeepSeek's or Mixtral's kind.
     *
     * @throws IOException if there is no such file, or it is not as it must be; the message names file and field
     */
    static RoutedModel read(Path file) throws IOException {
        try {
            if (Files.size(file) > MAX_SIZE) {
                throw new IOException(file + " has more than " + MAX_SIZE + " bytes");
            }
            return model(file.toString(), fields(Files.readAllBytes(file)));
        } catch (NoSuchFileException e) {
            throw new IOException(file + " does not exist", e);
        } catch (JsonException e) {
            throw new IOException(file + ": byte " + e.position() + ": " + e.getMessage(), e);
        } catch (IllegalArgumentException e) {
            throw new IOException(file + ": " + e.getMessage(), e);
        }
    }

    private static Map<String, Object> fields(byte[] text) {
        JsonReader json = new JsonReader(MemorySegment.ofArray(text), 0, text.length);
        Map<String, Object> fields = new HashMap<>();
        json.beginObject();
        while (json.hasNext()) {
            String name = json.string();
            json.colon();
            boolean integer = INTEGERS.contains(name);
            if (!integer && !TEXTS.contains(name) || json.peek() == 'n') {
                json.skip();
            } else if (fields.put(name, integer ? (Object) json.integer() : json.string()) != null) {
                throw new IllegalArgumentException(name + " occurs twice");
            }
        }
        if (json.peek() >= 0) {
            throw new JsonException(json.position(), "something follows the configuration");
        }
        return fields;
    }

    private static RoutedModel model(String name, Map<String, Object> fields) {
        int experts = 0;
        for (String key : new String[] {"num_experts", "num_local_experts", "n_routed_experts"}) {
            experts = fields.containsKey(key) ? integer(fields, key, 1, null) : experts;
        }
        if (experts == 0) {
            throw new IllegalArgumentException("n_routed_experts is missing: the model has no experts");
        }
        int k = integer(fields, "num_experts_per_tok", 1, null);
        if (experts > MOST_EXPERTS || k > MOST_CHOSEN) {
            throw new IllegalArgumentException(
                    k + " of " + experts + " experts are more than " + MOST_CHOSEN + " of " + MOST_EXPERTS);
        }
        // The file of V2-Lite names groups, but its method passes them over.
        boolean greedy = "greedy".equals(fields.get("topk_method"));
        int groups = greedy ? 1 : integer(fields, "n_group", 1, 1);
        int kept = greedy ? 1 : integer(fields, "topk_group", 1, groups);
        boolean sigmoid = "sigmoid".equals(fields.get("scoring_func"));
        GateConfig gate = new GateConfig(experts, k, groups, kept,
                sigmoid ? ScoreFunction.SIGMOID : ScoreFunction.SOFTMAX,
                sigmoid ? GroupScore.TOP2_SUM : GroupScore.MAX, true, 1);
        return new RoutedModel(name, gate, integer(fields, "n_shared_experts", 0, 0),
                integer(fields, "hidden_size", 1, null), integer(fields, "num_hidden_layers", 1, null));
    }

    private static int integer(Map<String, Object> fields, String name, int least,
            @Nullable Integer otherwise) {
        Object value = fields.get(name);
        if (value == null) {
            if (otherwise == null) {
                throw new IllegalArgumentException(name + " is missing");
            }
            return otherwise;
        }
        long n = (Long) value;
        if (n < least || n > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(
                    name + " is " + n + ", it must be " + least + " to " + Integer.MAX_VALUE);
        }
        return (int) n;
    }
}
