package dev.octet.moe;

import dev.octet.core.json.ConfigJson;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Objects;

/**
 * How a gate chooses experts for a token.
 *
 * @param experts how many routed experts
 * @param topK how many of them a token goes to
 * @param groups how many groups of consecutive experts; divides {@code experts}
 * @param keptGroups how many groups a token's experts may come from; {@code groups} for no limit
 * @param scores how logits become scores
 * @param groupScore how groups are compared
 * @param normalize whether a token's weights are divided by their sum
 * @param scale what the weights are multiplied by at the end
 */
public record GateConfig(int experts, int topK, int groups, int keptGroups, ScoreFunction scores,
        GroupScore groupScore, boolean normalize, float scale) {
    /** DeepSeek-V3. */
    public static final GateConfig V3 =
            new GateConfig(256, 8, 8, 4, ScoreFunction.SIGMOID, GroupScore.TOP2_SUM, true, 2.5f);
    /** DeepSeek-V2. */
    public static final GateConfig V2 =
            new GateConfig(160, 6, 8, 3, ScoreFunction.SOFTMAX, GroupScore.MAX, false, 16);
    /** DeepSeek-V2-Lite: no groups. */
    public static final GateConfig V2_LITE =
            new GateConfig(64, 6, 1, 1, ScoreFunction.SOFTMAX, GroupScore.MAX, false, 1);

    /**
     * Checks that the numbers fit together.
     *
     * @throws IllegalArgumentException if one is out of range, the groups do not divide the experts, the kept groups
     *     have fewer experts than a token needs, or {@link GroupScore#TOP2_SUM} meets groups of a single expert
     */
    public GateConfig {
        Objects.requireNonNull(scores, "scores");
        Objects.requireNonNull(groupScore, "groupScore");
        atLeastOne("experts", experts);
        atLeastOne("topK", topK);
        atLeastOne("groups", groups);
        atLeastOne("keptGroups", keptGroups);
        if (experts % groups != 0) {
            throw new IllegalArgumentException("groups is " + groups + ", it must divide the " + experts + " experts");
        }
        if (keptGroups > groups) {
            throw new IllegalArgumentException("keptGroups is " + keptGroups + ", there are " + groups + " groups");
        }
        if (topK > (long) keptGroups * (experts / groups)) {
            throw new IllegalArgumentException("topK is " + topK + ", the " + keptGroups + " kept groups have "
                    + (long) keptGroups * (experts / groups) + " experts");
        }
        if (groupScore == GroupScore.TOP2_SUM && groups > 1 && experts == groups) {
            throw new IllegalArgumentException("groupScore is TOP2_SUM, groups of a single expert have no two scores");
        }
        if (!(scale > 0) || scale == Float.POSITIVE_INFINITY) {
            throw new IllegalArgumentException("scale is " + scale + ", it must be positive and finite");
        }
    }

    private static void atLeastOne(String name, int value) {
        if (value < 1) {
            throw new IllegalArgumentException(name + " is " + value + ", it must be at least 1");
        }
    }

    /**
     * {@return softmax over all experts, the best {@code topK}, weights that add up to 1, as in Mixtral}
     *
     * @param experts how many
     * @param topK how many a token goes to
     */
    public static GateConfig plain(int experts, int topK) {
        return new GateConfig(experts, topK, 1, 1, ScoreFunction.SOFTMAX, GroupScore.MAX, true, 1);
    }

    /**
     * Reads what a model's {@code config.json} says of its gate, in the fields of DeepSeek-V2 and V3
     * ({@code n_routed_experts}, {@code num_experts_per_tok}, {@code n_group}, {@code topk_group},
     * {@code scoring_func}, {@code topk_method}, {@code norm_topk_prob}, {@code routed_scaling_factor}) or of Mixtral
     * ({@code num_local_experts}, {@code num_experts_per_tok}). Other fields are passed over.
     *
     * @param file the file
     * @return the gate
     * @throws IOException if the file can't be read, is no configuration, or a field is missing, of the wrong type, or
     *     contradicts another; the message begins with the file and names the field
     */
    public static GateConfig read(Path file) throws IOException {
        return ConfigJson.read(file, GateConfigJson.FIELDS, GateConfigJson::config);
    }

    /**
     * The same for a text.
     *
     * @param json what a {@code config.json} holds
     * @return the gate
     * @throws IllegalArgumentException if it is no configuration, or a field is missing, of the wrong type, or
     *     contradicts another; the message names it
     */
    public static GateConfig parse(String json) {
        return GateConfigJson.config(ConfigJson.parse(json, GateConfigJson.FIELDS));
    }

    /** {@return experts of a group} */
    public int groupSize() {
        return experts / groups;
    }
}
