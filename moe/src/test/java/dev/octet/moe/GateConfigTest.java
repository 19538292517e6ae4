package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GateConfigTest {
    private static final String V3 = """
            {"model_type": "deepseek_v3", "hidden_size": 7168, "n_routed_experts": 256, "n_shared_experts": 1,
             "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "scoring_func": "sigmoid",
             "topk_method": "noaux_tc", "norm_topk_prob": true, "routed_scaling_factor": 2.5}""";
    private static final String V2 = """
            {"n_routed_experts": 160, "num_experts_per_tok": 6, "n_group": 8, "topk_group": 3, "ep_size": 1,
             "scoring_func": "softmax", "topk_method": "group_limited_greedy", "norm_topk_prob": false,
             "routed_scaling_factor": 16.0}""";
    private static final String V2_LITE = """
            {"n_routed_experts": 64, "num_experts_per_tok": 6, "n_group": 1, "topk_group": 1,
             "scoring_func": "softmax", "topk_method": "greedy", "norm_topk_prob": false,
             "routed_scaling_factor": 1.0}""";

    @TempDir
    Path folder;

    @Test
    void publishedFieldsGiveThePresets() throws IOException {
        assertEquals(GateConfig.V3, GateConfig.parse(V3));
        assertEquals(GateConfig.V2, GateConfig.parse(V2));
        assertEquals(GateConfig.V2_LITE, GateConfig.parse(V2_LITE));
        assertEquals(GateConfig.plain(8, 2),
                GateConfig.parse("{\"num_local_experts\": 8, \"num_experts_per_tok\": 2}"));
        Path file = Files.writeString(folder.resolve("config.json"), V3);
        assertEquals(GateConfig.V3, GateConfig.read(file));
        Files.writeString(file, V3.replace("256", "0"));
        String message = assertThrows(IOException.class, () -> GateConfig.read(file)).getMessage();
        assertTrue(message.startsWith(file.toString()) && message.contains("n_routed_experts is 0"), message);
    }

    private static void refused(String json, String message) {
        String got = assertThrows(IllegalArgumentException.class, () -> GateConfig.parse(json)).getMessage();
        assertTrue(got.contains(message), got);
    }

    @Test
    void whatIsMissingOrContradictoryIsNamed() {
        for (String field : new String[] {"n_routed_experts", "num_experts_per_tok", "n_group", "topk_group",
                "scoring_func", "topk_method", "norm_topk_prob", "routed_scaling_factor"}) {
            refused(V3.replace('"' + field + '"', "\"other\""), field + " is missing");
        }
        refused("{}", "n_routed_experts is missing");
        refused(V3.replace("noaux_tc", "best"), "topk_method is 'best'");
        refused(V3.replace("sigmoid", "relu"), "scoring_func is 'relu'");
        refused(V3.replace("noaux_tc", "greedy"), "n_group is 8");
        refused(V3.replace("\"n_group\": 8", "\"n_group\": 7"), "n_group is 7");
        refused(V3.replace("\"topk_group\": 4", "\"topk_group\": 9"), "topk_group is 9");
        refused(V3.replace("per_tok\": 8", "per_tok\": 129"), "num_experts_per_tok is 129");
        refused(V3.replace("2.5", "0"), "routed_scaling_factor is 0");
        refused(V3.replace("{", "{\"num_local_experts\": 8, "), "num_local_experts is 8");
        refused(V3.replace("2.5", "\"2.5\""), "routed_scaling_factor");
        refused("{\"num_local_experts\": 2, \"num_experts_per_tok\": 3}", "num_experts_per_tok is 3");
    }

    private static void refused(String message, int experts, int topK, int groups, int keptGroups, GroupScore score,
            float scale) {
        String got = assertThrows(IllegalArgumentException.class, () -> new GateConfig(experts, topK, groups, keptGroups,
                ScoreFunction.SIGMOID, score, true, scale)).getMessage();
        assertTrue(got.startsWith(message), got);
    }

    @Test
    void numbersThatDoNotFitAreRefused() {
        refused("experts is 0", 0, 1, 1, 1, GroupScore.MAX, 1);
        refused("topK is 0", 8, 0, 1, 1, GroupScore.MAX, 1);
        refused("groups is 0", 8, 2, 0, 1, GroupScore.MAX, 1);
        refused("keptGroups is -1", 8, 2, 1, -1, GroupScore.MAX, 1);
        refused("groups is 3, it must divide the 8 experts", 8, 2, 3, 1, GroupScore.MAX, 1);
        refused("keptGroups is 5, there are 4 groups", 8, 2, 4, 5, GroupScore.MAX, 1);
        refused("topK is 5, the 2 kept groups have 4 experts", 8, 5, 4, 2, GroupScore.MAX, 1);
        refused("topK is 9", 8, 9, 1, 1, GroupScore.MAX, 1);
        refused("groupScore is TOP2_SUM", 8, 2, 8, 4, GroupScore.TOP2_SUM, 1);
        for (float scale : new float[] {0, -1, Float.NaN, Float.POSITIVE_INFINITY}) {
            refused("scale is " + scale, 8, 2, 1, 1, GroupScore.MAX, scale);
        }
        assertEquals(8, new GateConfig(8, 8, 4, 4, ScoreFunction.SIGMOID, GroupScore.MAX, true, 1).topK());
    }
}
