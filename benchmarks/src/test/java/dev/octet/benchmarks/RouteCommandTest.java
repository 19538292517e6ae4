package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Tensor;
import dev.octet.core.safetensors.SafetensorsWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RouteCommandTest extends CommandTest {
    private static final String V3 = """
            {"hidden_size": 7168, "num_hidden_layers": 61, "n_routed_experts": 256, "n_shared_experts": 1,
             "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc",
             "scoring_func": "sigmoid", "norm_topk_prob": true, "routed_scaling_factor": 2.5,
             "rope_scaling": {"type": "yarn", "n_group": 3}, "quantization_config": null}
            """;

    RouteCommandTest() {
        super("route");
    }

    /** The cells of the n-th row that begins with a name. */
    private List<String> row(String name, int n) {
        String line = out.toString().lines().filter(l -> l.strip().startsWith(name + "  ")).skip(n).findFirst()
                .orElseThrow(() -> new AssertionError(name + " is not in " + out));
        String[] cells = line.strip().split(" {2,}");
        return List.of(Arrays.copyOfRange(cells, 1, cells.length));
    }

    private List<String> row(String name) {
        return row(name, 0);
    }

    @Test
    void deepSeekV3() {
        assertEquals(0, run("--tokens", "20000"));
        assertEquals(List.of("any node", "at most 4"), row("nodes of a token"));
        assertEquals(List.of("5.295", "3.629"), row("expected"));
        List<String> drawn = row("drawn, 20,000 tokens");
        assertEquals(5.295, Double.parseDouble(drawn.get(0)), 0.04);
        assertEquals(3.629, Double.parseDouble(drawn.get(1)), 0.04);
        assertEquals(List.of("41.70 %", "-"), row("5 nodes"));
        assertEquals(List.of("1.63 %", "33.39 %"), row("3 nodes"));
        assertEquals(List.of("4.633", "3.175"), row("across nodes, expected"));
        // 7,392 and 14,336 bytes a copy
        assertEquals(List.of("34,246", "23,472"), row("across nodes", 0));
        assertEquals(List.of("66,416", "45,522"), row("across nodes", 1));
        assertEquals(List.of("64.42", "44.16"), row("across nodes at 50 GB/s"));
        assertTrue(out.toString().contains("The limit keeps 31.5 % of the bytes from crossing nodes."), out::toString);
        assertEquals(List.of("50", "120.96", "241.92", "14.757", "67.76"),
                row("the paper: 32 tokens, 9 experts, 7,000 values, 61 layers"));
        assertEquals(List.of("900", "6.72", "13.44", "0.820", "1,219.75"), row("on GB200 NVL72"));
        assertEquals(List.of("50", "123.86", "247.73", "15.111", "66.18"),
                row("DeepSeek-V3: 32 tokens, 9 experts, 7,168 values, 61 layers"));
    }

    @Test
    void theSameSeedPrintsTheSame() {
        assertEquals(0, run("--tokens", "500", "--seed", "9"));
        String first = out.toString();
        assertEquals(0, run("--tokens", "500", "--seed", "9"));
        assertEquals(first, out.toString());
        assertEquals(0, run("--tokens", "500", "--seed", "10"));
        assertFalse(first.contentEquals(out.toString()));
    }

    @Test
    void otherModelsAndTopologies() {
        assertEquals(0, run("--model", "v2", "--gpus", "4", "--tokens", "10"));
        assertEquals(List.of("any node", "at most 3"), row("nodes of a token"));
        assertTrue(out.toString().startsWith("DeepSeek-V2: 6 of 160 experts for a token of 5,120 values"));
        assertEquals(0, run("--model", "v2-lite", "--tokens", "10"));
        assertEquals(List.of("any node"), row("nodes of a token"), "no groups");
        assertFalse(out.toString().contains("The limit"));
        assertEquals(0, run("--model", "v2-lite", "--limit", "2", "--tokens", "10"));
        assertEquals(List.of("any node", "at most 2"), row("nodes of a token"));
        assertEquals(0, run("--nodes", "4", "--tokens", "10"));
        assertEquals(List.of("any node"), row("nodes of a token"), "groups are not nodes");
        assertEquals(0, run("--nodes", "1", "--gpus", "1", "--tokens", "10", "--batch", "1"));
        assertEquals(List.of("0.000"), row("across nodes, expected"));
        assertEquals(List.of("0.000"), row("inside nodes, drawn"));
        assertEquals(0, run("--limit", "1", "--tokens", "10"));
        assertEquals("one node", row("nodes of a token").get(1));
    }

    @Test
    void formatsAndSpeeds() {
        assertEquals(0, run("--dispatch", "bf16", "--combine", "FP8", "--batch", "64", "--across", "25.5", "--tokens",
                "10"));
        assertEquals(List.of("66,416", "45,522"), row("across nodes", 0));
        assertEquals(List.of("34,246", "23,472"), row("across nodes", 1));
        assertEquals("252.64", row("across nodes at 25.5 GB/s").getFirst()); // 64 (34,246 + 66,416) / 25.5e9
        assertEquals("25.5", row("DeepSeek-V3: 64 tokens, 9 experts, 7,168 values, 61 layers").getFirst());
    }

    @Test
    void aFile(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("config.json"), V3);
        assertEquals(0, run("--config", file.toString(), "--tokens", "10"), err::toString);
        assertEquals(List.of("5.295", "3.629"), row("expected"));
        Files.writeString(file, V3.replace("noaux_tc", "greedy").replace("\"n_group\": 8", "\"n_group\": 1")
                .replace("\"topk_group\": 4", "\"topk_group\": 1"));
        assertEquals(0, run("--config", file.toString(), "--tokens", "10"), err::toString);
        assertEquals(List.of("5.295"), row("expected"));
        Files.writeString(file, "{\"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_local_experts\": 8, "
                + "\"num_experts_per_tok\": 2}");
        assertEquals(0, run("--config", file.toString(), "--tokens", "10", "--gpus", "1"));
        assertEquals(List.of("2.000"), row("expected"), "each expert on a node of its own");
    }

    @Test
    void givenLogits(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("logits.safetensors");
        float[] values = new float[2 * 256];
        for (int i = 0; i < 8; i++) {
            values[32 * i] = 9; // the best eight of token 0: one on each node; by the limit on the first four
            values[256 + i] = 9; // of token 1: all on node 0
        }
        try (Tensor t = Tensor.of(values, 2, 256); Tensor other = Tensor.of(values, 256, 2)) {
            SafetensorsWriter.write(file, Map.of("a", t, "b", other), Map.of());
        }
        assertEquals(0, run("--logits", file.toString(), "--tensor", "a", "--tokens", "10"), err::toString);
        assertEquals(List.of("any node", "at most 4", "logits", "logits, 4"), row("nodes of a token"));
        assertEquals(List.of("5.295", "3.629", "-", "-"), row("expected"));
        assertEquals(List.of("4.500", "2.500"), row("drawn, 10 tokens").subList(2, 4));
        assertEquals(List.of("50.00 %", "50.00 %"), row("1 node").subList(2, 4));
        assertEquals("50.00 %", row("8 nodes").get(2));
        assertEquals("50.00 %", row("4 nodes").get(3));
        // token 0 is on GPU 0: seven nodes, or three; token 1 on GPU 32, another node than its experts'
        assertEquals(List.of("4.000", "2.000"), row("across nodes, drawn").subList(2, 4));
        assertEquals("29,568", row("across nodes").get(2), "4 * 7,392");
        assertEquals(1, run("--logits", file.toString()));
        assertTrue(err.toString().contains("it has 2 tensors, --tensor must name one"), err::toString);
        assertEquals(1, run("--logits", file.toString(), "--tensor", "b"));
        assertTrue(err.toString().contains("it must be F32, BF16 or F16 [tokens, 256]"), err::toString);
        assertEquals(1, run("--logits", file.toString(), "--tensor", "c"));
        assertEquals(1, run("--logits", folder.resolve("none.safetensors").toString()));
        assertTrue(err.toString().contains("none.safetensors does not exist"), err::toString);
        Files.writeString(file, "no safetensors");
        assertEquals(1, run("--logits", file.toString()));
        assertFalse(err.toString().contains("\tat "), err::toString);
        assertEquals("", out.toString());
    }

    @Test
    void randomLogitsGoThroughTheGate() {
        assertEquals(0, run("--random-logits", "--tokens", "20000"), err::toString);
        assertEquals(List.of("any node", "at most 4", "random logits", "random logits, 4"), row("nodes of a token"));
        assertEquals(List.of("5.295", "3.629", "-", "-"), row("expected"));
        List<String> drawn = row("drawn, 20,000 tokens");
        assertEquals(5.295, Double.parseDouble(drawn.get(2)), 0.03, "logits that are all alike are chance");
        // Nodes are kept for their two best experts each, so that few of them go without any.
        double limited = Double.parseDouble(drawn.get(3));
        assertEquals(simulatedNodes(4000), limited, 0.02);
        assertTrue(limited > 3.9, drawn::toString);
        assertEquals("-", row("5 nodes").get(1));
        assertEquals("0.00 %", row("5 nodes").get(3), "never more nodes than the limit");
        assertEquals("0.00 %", row("8 nodes").get(3));
        assertTrue(out.toString().contains("With random logits the gate's own choice of nodes keeps 25."),
                out::toString);
        String first = out.toString();
        assertEquals(0, run("--random-logits", "--tokens", "20000"));
        assertEquals(first, out.toString());
        assertEquals(0, run("--random-logits", "--model", "v2-lite", "--tokens", "10"));
        assertEquals(List.of("any node", "random logits"), row("nodes of a token"));
    }

    /** DeepSeek-V3's rule once more: the four of eight nodes with the largest sums of two scores, the best eight. */
    private static double simulatedNodes(int tokens) {
        Random random = new Random(5);
        long nodes = 0;
        for (int t = 0; t < tokens; t++) {
            double[] scores = IntStream.range(0, 256).mapToDouble(e -> 1 / (1 + Math.exp(random.nextGaussian())))
                    .toArray();
            List<Integer> kept = IntStream.range(0, 8).boxed().sorted(Comparator.comparingDouble(
                    g -> -Arrays.stream(scores, 32 * g, 32 * g + 32).map(x -> -x).sorted().limit(2).map(x -> -x)
                            .sum())).limit(4).toList();
            nodes += IntStream.range(0, 256).boxed().filter(e -> kept.contains(e / 32))
                    .sorted(Comparator.comparingDouble(e -> -scores[e])).limit(8).map(e -> e / 32).distinct().count();
        }
        return (double) nodes / tokens;
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"n_routed_experts; x; n_routed_experts is missing",
        "\"n_group\": 8; \"n_group\": 7; n_group is 7", "noaux_tc; greedy; topk_method is 'greedy'", "\"num_experts_per_tok\": 8; \"num_experts_per_tok\": 0;"
                + "num_experts_per_tok is 0", "256; 25.6; byte", "256; 100000000; more than 1024 of 65536",
        "hidden_size; n_group; n_group occurs twice", "null}; null}}; something follows",
        "\"sigmoid\"; 3; byte", "num_hidden_layers; layers; num_hidden_layers is missing"})
    void aWrongFileIsNamedWithTheField(String part, String by, String message, @TempDir Path folder)
            throws IOException {
        Path file = Files.writeString(folder.resolve("config.json"), V3.replace(part, by));
        assertEquals(1, run("--config", file.toString()));
        assertTrue(err.toString().startsWith("octet: --config: " + file + ": "), err::toString);
        assertTrue(err.toString().contains(message), err::toString);
        assertFalse(err.toString().contains("\tat "), err::toString);
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"--model=v4; --model",
        "--nodes=0; nodes is 0", "--nodes=7; experts is 256", "--gpus=0; gpusPerNode is 0", "--gpus=3; experts is 256",
        "--limit=0; --limit is 0", "--limit=9; --limit is 9", "--tokens=0; --tokens is 0",
        "--tokens=12500001; --tokens is 12500001", "--batch=0; --batch is 0", "--across=0; --across is 0",
        "--across=NaN; --across is NaN", "--inside=-1; --inside is -1", "--dispatch=fp4; --dispatch",
        "--tensor=a; --tensor needs --logits",
        "more; more"})
    void wrongOptionsAreUsageErrors(String option, String part) {
        assertEquals(2, run(option));
        assertTrue(err.toString().contains(part), err::toString);
        assertFalse(err.toString().contains("\tat "), err::toString);
        assertEquals("", out.toString());
    }
}
