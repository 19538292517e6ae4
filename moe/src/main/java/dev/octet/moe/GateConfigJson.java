package dev.octet.moe;

import dev.octet.core.json.ConfigJson;
import org.jspecify.annotations.Nullable;

/** Makes {@link GateConfig} of a {@code config.json}. */
final class GateConfigJson {
    private static final String ROUTED = "n_routed_experts";
    private static final String LOCAL = "num_local_experts";
    private static final String METHOD = "topk_method";

    static final ConfigJson.Fields FIELDS = ConfigJson.fields()
            .integers(ROUTED, LOCAL, "num_experts_per_tok", "n_group", "topk_group")
            .numbers("routed_scaling_factor").strings("scoring_func", METHOD).truths("norm_topk_prob");

    private GateConfigJson() {}

    static GateConfig config(ConfigJson json) {
        try {
            return json.has(ROUTED) || !json.has(LOCAL) ? deepSeek(json)
                    : GateConfig.plain(json.positive(LOCAL), json.positive("num_experts_per_tok"));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(fieldOf(String.valueOf(e.getMessage()), json.has(ROUTED)), e);
        }
    }

    private static GateConfig deepSeek(ConfigJson json) {
        int experts = json.positive(ROUTED);
        json.expect(LOCAL, experts, "n_routed_experts is");
        String method = required(METHOD, json.text(METHOD));
        boolean grouped = switch (method) {
            case "greedy" -> false;
            case "group_limited_greedy", "noaux_tc" -> true;
            default -> throw new IllegalArgumentException(METHOD + " is '" + method
                    + "'; Octet knows 'greedy', 'group_limited_greedy' and 'noaux_tc'");
        };
        String function = required("scoring_func", json.text("scoring_func"));
        ScoreFunction scores = switch (function) {
            case "softmax" -> ScoreFunction.SOFTMAX;
            case "sigmoid" -> ScoreFunction.SIGMOID;
            default -> throw new IllegalArgumentException(
                    "scoring_func is '" + function + "'; Octet knows 'softmax' and 'sigmoid'");
        };
        if (!json.has("norm_topk_prob")) {
            throw new IllegalArgumentException("norm_topk_prob is missing");
        }
        int groups = grouped ? json.positive("n_group") : 1;
        int kept = grouped ? json.positive("topk_group") : 1;
        if (!grouped) {
            json.expect("n_group", 1, "topk_method is 'greedy', which has groups:");
            json.expect("topk_group", 1, "topk_method is 'greedy', which has groups:");
        }
        return new GateConfig(experts, json.positive("num_experts_per_tok"), groups, kept, scores,
                method.equals("noaux_tc") ? GroupScore.TOP2_SUM : GroupScore.MAX, json.truth("norm_topk_prob", false),
                (float) json.number("routed_scaling_factor"));
    }

    private static String required(String field, @Nullable String value) {
        if (value == null) {
            throw new IllegalArgumentException(field + " is missing");
        }
        return value;
    }

    /** The record's names as the file has them. */
    private static String fieldOf(String message, boolean routed) {
        String name = message.substring(0, Math.max(0, message.indexOf(' ')));
        return switch (name) {
            case "experts" -> routed ? ROUTED : LOCAL;
            case "topK" -> "num_experts_per_tok";
            case "groups" -> "n_group";
            case "keptGroups" -> "topk_group";
            case "groupScore" -> METHOD;
            case "scale" -> "routed_scaling_factor";
            default -> name;
        } + message.substring(name.length());
    }
}
