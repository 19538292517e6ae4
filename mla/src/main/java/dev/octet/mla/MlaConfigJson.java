package dev.octet.mla;

import dev.octet.core.json.ConfigJson;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Makes {@link MlaConfig} of a {@code config.json}. */
final class MlaConfigJson {
    /** All fields that this module knows. */
    static final ConfigJson.Fields FIELDS = ConfigJson.fields()
            .integers("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                    "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "qk_head_dim", "v_head_dim",
                    "max_position_embeddings", "num_nextn_predict_layers", "sliding_window", "sliding_window_pattern",
                    "max_window_layers", "original_max_position_embeddings")
            .numbers("rms_norm_eps", "rope_theta", "factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim",
                    "attention_factor")
            .strings("type", "rope_type", "model_type")
            .truths("use_sliding_window", "rope_interleave", "truncate", "attention_bias")
            .lists("layer_types").objects("rope_scaling", "rope_parameters", "text_config");

    private MlaConfigJson() {}

    static MlaConfig config(ConfigJson json) {
        int heads = extent(json, "num_attention_heads");
        int nope = extent(json, "qk_nope_head_dim");
        int rotary = extent(json, "qk_rope_head_dim");
        if (rotary % 2 != 0) {
            throw new IllegalArgumentException(json.name("qk_rope_head_dim") + " is " + rotary + ", it must be even");
        }
        json.expect("num_key_value_heads", heads, "latent attention has a key for each of num_attention_heads,");
        json.expect("qk_head_dim", (long) nope + rotary, "qk_nope_head_dim and qk_rope_head_dim make");
        json.expect("head_dim", rotary, "where latent attention has it, it is qk_rope_head_dim, which is");
        if (!json.truth("rope_interleave", true)) {
            throw new IllegalArgumentException(json.name("rope_interleave") + " is false; Octet turns interleaved"
                    + " pairs: convert the weights with RopeLayout and take the field out");
        }
        if (json.truth("attention_bias", false)) {
            throw new IllegalArgumentException(
                    json.name("attention_bias") + " is true; Octet's projections have no biases");
        }
        float eps = (float) json.number("rms_norm_eps");
        if (!(eps > 0) || eps == Float.POSITIVE_INFINITY) {
            throw new IllegalArgumentException(json.name("rms_norm_eps") + " is " + json.number("rms_norm_eps")
                    + ", it must be positive and in FP32's range");
        }
        if ((long) heads * (nope + rotary) > Integer.MAX_VALUE) {
            throw new IllegalArgumentException(json.name("num_attention_heads") + " is " + heads + ", which with "
                    + (nope + rotary) + " values of a query each makes more than 2^31-1");
        }
        boolean compressed = json.has("q_lora_rank") && json.integer("q_lora_rank") != 0;
        return new MlaConfig(extent(json, "hidden_size"), extent(json, "num_hidden_layers"), heads,
                compressed ? extent(json, "q_lora_rank") : 0, extent(json, "kv_lora_rank"), nope, rotary,
                extent(json, "v_head_dim"), eps, rope(json));
    }

    private static int extent(ConfigJson json, String field) {
        int value = json.positive(field);
        if (value > MlaConfig.MAX_EXTENT) {
            throw new IllegalArgumentException(
                    json.name(field) + " is " + value + ", it must be 1 to " + MlaConfig.MAX_EXTENT);
        }
        return value;
    }

    /**
     * {@code rope_theta} and {@code rope_scaling}; newer files have both in {@code rope_parameters}, and some have both
     * objects with the same content.
     */
    private static RopeConfig rope(ConfigJson json) {
        ConfigJson parameters = json.object("rope_parameters");
        ConfigJson scaling = json.object("rope_scaling");
        double theta = theta(json, parameters);
        RopeConfig.Yarn yarn = yarn(json, scaling);
        if (parameters != null) {
            RopeConfig.Yarn other = yarn(json, parameters);
            if (scaling != null && !Objects.equals(yarn, other)) {
                throw new IllegalArgumentException(json.name("rope_scaling") + " makes " + yarn + ", but "
                        + json.name("rope_parameters") + " " + other);
            }
            yarn = other;
        }
        try {
            return new RopeConfig(theta, yarn);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(json.name("rope_") + e.getMessage(), e);
        }
    }

    private static double theta(ConfigJson json, @Nullable ConfigJson parameters) {
        if (parameters == null || !parameters.has("rope_theta")) {
            return json.number("rope_theta");
        }
        double theta = parameters.number("rope_theta");
        if (json.number("rope_theta", theta) != theta) {
            throw new IllegalArgumentException(json.name("rope_theta") + " is " + json.number("rope_theta") + ", but "
                    + parameters.name("rope_theta") + " " + theta);
        }
        return theta;
    }

    private static RopeConfig.@Nullable Yarn yarn(ConfigJson json, @Nullable ConfigJson scaling) {
        if (scaling == null) {
            return null;
        }
        String type = scaling.text("rope_type");
        String oldType = scaling.text("type");
        if (type != null && oldType != null && !type.equals(oldType)) {
            throw new IllegalArgumentException(
                    scaling.name("rope_type") + " is '" + type + "', but type is '" + oldType + "'");
        }
        String name = scaling.name(type != null ? "rope_type" : "type");
        type = type != null ? type : oldType;
        if (type == null) {
            throw new IllegalArgumentException(scaling.name("rope_type") + " is missing");
        }
        switch (type) {
            case "default" -> {
                return null;
            }
            case "yarn" -> { }
            default -> throw new IllegalArgumentException(
                    name + " is '" + type + "'; Octet knows 'yarn' and 'default'");
        }
        if (scaling.has("attention_factor")) {
            throw new IllegalArgumentException(scaling.name("attention_factor") + " is "
                    + scaling.number("attention_factor") + "; Octet takes the factor from mscale and mscale_all_dim");
        }
        if (!scaling.truth("truncate", true)) {
            throw new IllegalArgumentException(scaling.name("truncate") + " is false; Octet's ramp has whole ends");
        }
        int original = scaling.positive("original_max_position_embeddings");
        int positions = json.positive("max_position_embeddings", Integer.MAX_VALUE);
        if (original > positions) {
            throw new IllegalArgumentException(scaling.name("original_max_position_embeddings") + " is " + original
                    + ", but " + json.name("max_position_embeddings") + " " + positions);
        }
        double factor = scaling.number("factor");
        // The defaults of the published inference code.
        double fast = scaling.number("beta_fast", 32);
        double slow = scaling.number("beta_slow", 1);
        double mscale = scaling.number("mscale", 1);
        double mscaleAllDim = scaling.number("mscale_all_dim", 0);
        try {
            return new RopeConfig.Yarn(factor, original, fast, slow, mscale, mscaleAllDim);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(scaling.name("") + fieldsOf(String.valueOf(e.getMessage())), e);
        }
    }

    /** The record's names as the file has them. */
    private static String fieldsOf(String message) {
        return message.replace("betaFast", "beta_fast").replace("betaSlow", "beta_slow")
                .replace("mscaleAllDim", "mscale_all_dim");
    }
}
