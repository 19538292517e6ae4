package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code config.json}: the published ones give the presets, and each fault is named. */
class MlaConfigTest {
    @Test
    void publishedFilesGiveThePresets(@TempDir Path folder) throws IOException {
        assertEquals(MlaConfig.V3, MlaConfig.parse(PublishedConfigs.V3));
        assertEquals(MlaConfig.V2, MlaConfig.parse(PublishedConfigs.V2));
        Path file = folder.resolve("config.json");
        Files.writeString(file, PublishedConfigs.V2_LITE);
        assertEquals(MlaConfig.V2_LITE, MlaConfig.read(file));
    }

    private static String with(String from, String to) {
        String changed = PublishedConfigs.V3.replace(from, to);
        assertNotEquals(PublishedConfigs.V3, changed, from);
        return changed;
    }

    private static final String SCALING = PublishedConfigs.V3.substring(
            PublishedConfigs.V3.indexOf("{\n    \"beta_fast\""),
            PublishedConfigs.V3.indexOf("},\n  \"rope_theta\"") + 1);

    @Test
    void queriesMayBeUncompressed() {
        assertEquals(0, MlaConfig.parse(with("\"q_lora_rank\": 1536,", "")).qLoraRank());
        assertEquals(0, MlaConfig.parse(with("\"q_lora_rank\": 1536", "\"q_lora_rank\": 0")).qLoraRank());
        assertEquals(0, MlaConfig.parse(with("\"q_lora_rank\": 1536", "\"q_lora_rank\": null")).qLoraRank());
    }

    @Test
    void withoutScalingThereIsNoYarn() {
        RopeConfig plain = new RopeConfig(10000, null);
        assertEquals(plain, MlaConfig.parse(with(SCALING, "null")).rope());
        assertEquals(plain, MlaConfig.parse(with("\"rope_scaling\"", "\"rope_scalings\"")).rope());
        assertEquals(plain, MlaConfig.parse(with(SCALING, "{\"rope_type\": \"default\"}")).rope());
        assertNull(MlaConfig.parse(with("\"type\": \"yarn\"", "\"type\": \"default\"")).rope().yarn());
    }

    @Test
    void newerFilesHaveParameters() {
        String parameters = SCALING.replace("\"type\"", "\"rope_theta\": 10000.0, \"rope_type\"");
        String without = with("\"rope_theta\": 10000,", "").replace(SCALING, "null");
        String newer = without.replace("\"v_head_dim\"", "\"rope_parameters\": " + parameters + ", \"v_head_dim\"");
        assertEquals(MlaConfig.V3, MlaConfig.parse(newer));
        String both = with("\"type\": \"yarn\"", "\"type\": \"yarn\", \"rope_type\": \"yarn\"")
                .replace("\"v_head_dim\"", "\"rope_parameters\": " + parameters + ", \"v_head_dim\"");
        assertEquals(MlaConfig.V3, MlaConfig.parse(both));
        refused(without, "rope_theta is missing");
        refused(newer.replace("\"vocab_size\"", "\"rope_theta\": 20000, \"vocab_size\""), "rope_theta is 20000.0, but");
        refused(newer.replace("\"rope_scaling\": null", "\"rope_scaling\": " + SCALING.replace("40", "8")),
                "rope_scaling makes");
    }

    @Test
    void yarnHasDefaults() {
        String short1 = "{\"type\": \"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 4096}";
        assertEquals(new RopeConfig.Yarn(4, 4096, 32, 1, 1, 0), MlaConfig.parse(with(SCALING, short1)).rope().yarn());
    }

    @Test
    void fieldsThatAgreeAreAccepted() {
        assertEquals(MlaConfig.V3, MlaConfig.parse(with("\"v_head_dim\"",
                "\"qk_head_dim\": 192, \"head_dim\": 64, \"rope_interleave\": true, \"v_head_dim\"")));
    }

    @ParameterizedTest
    @ValueSource(strings = {"hidden_size", "num_hidden_layers", "num_attention_heads", "kv_lora_rank",
        "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"})
    void dimensionsMustBeThereAndPositive(String name) {
        refused(with("\"" + name + "\"", "\"x_" + name + "\""), name + " is missing");
        String field = "\"" + name + "\": ";
        refused(with(field, field + "null, \"x\": "), name + " is missing");
        refused(with(field, field + "0, \"x\": "), name + " is 0");
        refused(with(field, field + "2147483648, \"x\": "), name + " is 2147483648, it can be at most 2147483647");
        refused(with(field, field + "9223372036854775808, \"x\": "), name + ": a number above 2^63-1");
        refused(with(field, field + "-1, \"x\": "), name + ": '-'");
        refused(with(field, field + "1.0, \"x\": "), name + ": '.'");
        refused(with(field, field + "\"1\", \"x\": "), name + ": '\"'");
        refused(with(field, field + "true, \"x\": "), name + ": 't'");
        refused(with(field, field + "[1], \"x\": "), name + ": '['");
        refused(with(field, "\"" + name + "\": 1, " + field), name + " occurs twice");
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
        "\"v_head_dim\"; \"qk_head_dim\": 200, \"v_head_dim\"; qk_head_dim is 200",
        "\"v_head_dim\"; \"head_dim\": 192, \"v_head_dim\"; head_dim is 192",
        "\"num_key_value_heads\": 128; \"num_key_value_heads\": 8; num_key_value_heads is 8",
        "\"qk_rope_head_dim\": 64; \"qk_rope_head_dim\": 63; qk_rope_head_dim is 63",
        "\"v_head_dim\"; \"rope_interleave\": false, \"v_head_dim\"; rope_interleave is false",
        "\"attention_bias\": false; \"attention_bias\": true; attention_bias is true",
        "\"qk_rope_head_dim\": 64; \"qk_rope_head_dim\": 2147483646; qk_rope_head_dim is 2147483646",
        "\"v_head_dim\": 128; \"v_head_dim\": 2147483647; v_head_dim is 2147483647",
        "\"qk_nope_head_dim\": 128; \"qk_nope_head_dim\": 16777216; num_attention_heads is 128, which with 16777280",
        "\"rms_norm_eps\": 1e-06; \"rms_norm_eps\": 0; rms_norm_eps is 0.0",
        "\"rms_norm_eps\": 1e-06; \"rms_norm_eps\": -1; rms_norm_eps is -1.0",
        "\"rms_norm_eps\": 1e-06; \"rms_norm_eps\": 1e39; rms_norm_eps is 1.0E39",
        "\"rms_norm_eps\": 1e-06; \"rms_norm_eps\": 1e-60; rms_norm_eps is 1.0E-60",
        "\"rms_norm_eps\": 1e-06; \"rms_norm_eps\": 1e999; rms_norm_eps: a number beyond",
        "\"rms_norm_eps\"; \"eps\"; rms_norm_eps is missing",
        "\"rope_theta\"; \"theta\"; rope_theta is missing",
        "\"rope_theta\": 10000; \"rope_theta\": 1; rope_theta is 1.0",
        "\"rope_theta\": 10000; \"rope_theta\": \"10000\"; rope_theta: '\"'",
        "\"type\": \"yarn\"; \"type\": \"linear\"; rope_scaling.type is 'linear'",
        "\"type\": \"yarn\"; \"type\": \"yarn\", \"rope_type\": \"linear\"; rope_type is 'linear', but type is 'yarn'",
        "\"type\": \"yarn\"; \"types\": \"yarn\"; rope_scaling.rope_type is missing",
        "\"type\": \"yarn\"; \"type\": 3; rope_scaling.type: '3'",
        "\"type\": \"yarn\"; \"type\": \"yarn\", \"type\": \"yarn\"; rope_scaling.type occurs twice",
        "\"type\": \"yarn\"; \"type\": \"yarn\", \"attention_factor\": 1.2; rope_scaling.attention_factor is 1.2",
        "\"type\": \"yarn\"; \"type\": \"yarn\", \"truncate\": false; rope_scaling.truncate is false",
        "\"factor\": 40; \"factor\": 0.5; rope_scaling.factor is 0.5",
        "\"factor\": 40; \"f\": 40; rope_scaling.factor is missing",
        "\"beta_slow\": 1; \"beta_slow\": 0; rope_scaling.beta_fast is 32.0 and beta_slow 0.0",
        "\"mscale_all_dim\": 1.0; \"mscale_all_dim\": -1; rope_scaling.mscale_all_dim is -1.0",
        "\"original_max_position_embeddings\": 4096; \"o\": 1; original_max_position_embeddings is missing",
        "\"max_position_embeddings\": 163840; \"max_position_embeddings\": 2048; _embeddings is 4096, but",
        "\"rope_scaling\":; \"rope_scaling\": 1, \"x\":; '1' where there should be an object"})
    void contradictionsAndUnknownTypesAreNamed(String from, String to, String part) {
        refused(with(from, to), part);
    }

    @ParameterizedTest
    @ValueSource(strings = {"", " ", "[]", "null", "7", "{", "{}}", "{} {}", "{\"hidden_size\": }", "{\"a\": 01}",
        "{\"hidden_size\" 1}"})
    void whatIsNoObjectIsRefused(String text) {
        assertThrows(IllegalArgumentException.class, () -> MlaConfig.parse(text));
    }

    @Test
    void dimensionsAreNeitherTooLargeNorInfinite() {
        int large = 1 << 24;
        RopeConfig rope = new RopeConfig(10000, null);
        MlaConfig most = new MlaConfig(large, large, 1, large, large, large, large, large, 1, rope);
        assertEquals(2 * large, most.qkHeadDim());
        assertEquals(2 * large, most.latentDim());
        refused("hiddenSize", () -> new MlaConfig(large + 1, 1, 1, 0, 1, 1, 2, 1, 1, rope));
        refused("qLoraRank", () -> new MlaConfig(1, 1, 1, large + 1, 1, 1, 2, 1, 1, rope));
        refused("qkRopeHeadDim", () -> new MlaConfig(1, 1, 1, 0, 1, 1, Integer.MAX_VALUE - 1, 1, 1, rope));
        refused("heads", () -> new MlaConfig(1, 1, 64, 0, 1, large, large, 1, 1, rope));
        refused("rmsNormEps", () -> new MlaConfig(1, 1, 1, 0, 1, 1, 2, 1, Float.POSITIVE_INFINITY, rope));
    }

    private static void refused(String name, Executable make) {
        String message = assertThrows(IllegalArgumentException.class, make).getMessage();
        assertTrue(message.startsWith(name + " is "), message);
    }

    @Test
    void messagesNameTheFile(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("config.json");
        Files.writeString(file, with("\"kv_lora_rank\": 512", "\"kv_lora_rank\": \"512\""));
        IOException e = assertThrows(IOException.class, () -> MlaConfig.read(file));
        assertTrue(String.valueOf(e.getMessage()).startsWith(file + ": byte "), e::getMessage);
        assertTrue(String.valueOf(e.getMessage()).contains("kv_lora_rank"), e::getMessage);
        assertThrows(NoSuchFileException.class, () -> MlaConfig.read(folder.resolve("none.json")));
        assertThrows(IOException.class, () -> MlaConfig.read(folder));
    }

    /** Whatever a file holds, it is read or refused; nothing else is thrown. */
    @Test
    void damagedFilesAreReadOrRefused() {
        SplittableRandom random = new SplittableRandom(5);
        int refused = 0;
        for (int i = 0; i < 5000; i++) {
            StringBuilder text = new StringBuilder(PublishedConfigs.V3);
            for (int n = random.nextInt(1, 4); n > 0; n--) {
                int at = random.nextInt(text.length());
                switch (random.nextInt(3)) {
                    case 0 -> text.deleteCharAt(at);
                    case 1 -> text.setCharAt(at, (char) random.nextInt(0x20, 0x7F));
                    default -> text.insert(at, "{}[]\",:0-.en".charAt(random.nextInt(12)));
                }
            }
            try {
                MlaConfig.parse(text.toString());
            } catch (IllegalArgumentException e) {
                refused++;
            }
        }
        assertTrue(refused > 1000, "only " + refused + " were refused");
    }

    private static void refused(String json, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> MlaConfig.parse(json));
        assertTrue(String.valueOf(e.getMessage()).contains(part), e::getMessage);
    }
}
