package dev.octet.mla;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.OptionalLong;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KvCacheSizeTest {
    private static final KvFormat BF16 = KvFormat.BF16;
    private static final long GIB = 1L << 30;

    @Test
    void publishedFigures() {
        KvCacheSize v3 = KvCacheSize.latent(MlaConfig.V3, CacheFormat.BF16);
        assertEquals(70_272, v3.bytesPerToken());
        assertEquals(69_120, KvCacheSize.latent(MlaConfig.V2, CacheFormat.BF16).bytesPerToken());
        assertEquals(31_104, KvCacheSize.latent(MlaConfig.V2_LITE, CacheFormat.BF16).bytesPerToken());
        assertEquals(40_016, KvCacheSize.latent(MlaConfig.V3, CacheFormat.FP8).bytesPerToken());
        assertEquals(40_016, KvCacheSize.latent(MlaConfig.V3, CacheFormat.FP8_FP32_SCALE).bytesPerToken());
        assertEquals(3_997_696, KvCacheSize.attention(61, 128, 128, BF16).bytesPerToken());
        assertEquals(4_997_120, KvCacheSize.naive(MlaConfig.V3, BF16).bytesPerToken());
        KvCacheSize qwen = KvCacheSize.attention(80, 8, 128, BF16);
        KvCacheSize llama = KvCacheSize.attention(126, 8, 128, BF16);
        assertEquals(327_680, qwen.bytesPerToken());
        assertEquals(516_096, llama.bytesPerToken());
        assertEquals(4.66, (double) qwen.bytesPerToken() / v3.bytesPerToken(), 0.005);
        assertEquals(7.344, (double) llama.bytesPerToken() / v3.bytesPerToken(), 0.0005);

        KvCacheSize mtp = v3.plus(KvCacheSize.latent(1, 512, 64, BF16, BF16));
        assertEquals(62, mtp.layerCount());
        assertEquals(71_424, mtp.bytesPerToken());
        assertEquals(8.72, (double) mtp.bytes(131_072, 1) / GIB, 0.005);
        assertEquals(v3.mechanism(), mtp.mechanism());
    }

    @Test
    void publishedFilesGiveTheSame(@TempDir Path folder) throws IOException {
        assertEquals(KvCacheSize.latent(MlaConfig.V3, CacheFormat.BF16),
                KvCacheSize.parse(PublishedConfigs.V3, CacheFormat.BF16));
        assertEquals(40_016, KvCacheSize.parse(PublishedConfigs.V3, CacheFormat.FP8).bytesPerToken());
        assertEquals(31_104, KvCacheSize.parse(PublishedConfigs.V2_LITE, CacheFormat.BF16).bytesPerToken());
        Path file = folder.resolve("config.json");
        Files.writeString(file, PublishedConfigs.QWEN_25_72B);
        assertEquals(327_680, KvCacheSize.read(file, CacheFormat.BF16).bytesPerToken());
        KvCacheSize llama = KvCacheSize.parse(PublishedConfigs.LLAMA_31_405B, CacheFormat.BF16);
        assertEquals(516_096, llama.bytesPerToken());
        assertEquals("GQA, 8 heads of 128", llama.mechanism());
        assertEquals(126 * 16 * (128 + 4), KvCacheSize.parse(PublishedConfigs.LLAMA_31_405B, CacheFormat.FP8)
                .bytesPerToken());
    }

    @Test
    void headsOfAnyNumber() {
        String text = "{\"hidden_size\": 12, \"num_hidden_layers\": 3, \"num_attention_heads\": 4}";
        KvCacheSize mha = KvCacheSize.parse(text, CacheFormat.BF16);
        assertEquals(3 * 2 * 4 * 3 * 2, mha.bytesPerToken());
        assertEquals("MHA, 4 heads of 3", mha.mechanism());
        KvCacheSize mqa = KvCacheSize.parse(text.replace("}", ", \"num_key_value_heads\": 1, \"head_dim\": 64}"),
                CacheFormat.BF16);
        assertEquals(3 * 2 * 64 * 2, mqa.bytesPerToken());
        assertEquals("MQA, 1 head of 64", mqa.mechanism());
        String nested = "{\"text_config\": " + text + ", \"vision_config\": {}}";
        assertEquals(mha, KvCacheSize.parse(nested, CacheFormat.BF16));
    }

    private static KvCacheSize windows(String fields) {
        String dimensions = "\"num_hidden_layers\": 6, \"num_attention_heads\": 2, \"head_dim\": 1, ";
        return KvCacheSize.parse("{" + dimensions + fields + "}", CacheFormat.BF16);
    }

    private static void assertWindowed(int count, KvCacheSize size) {
        assertEquals(6 * 8, size.bytesPerToken());
        assertEquals(8L * (count * 10 + (6 - count) * 1000), size.bytes(1000, 1), size::toString);
        assertEquals(48 * 10, size.bytes(10, 1));
    }

    @Test
    void windowsOfEachLayer() {
        assertWindowed(0, windows("\"x\": 0"));
        assertWindowed(6, windows("\"sliding_window\": 10"));
        assertWindowed(0, windows("\"sliding_window\": null"));
        assertWindowed(0, windows("\"sliding_window\": 10, \"use_sliding_window\": false"));
        assertWindowed(0, windows("\"sliding_window\": 10, \"max_window_layers\": 4"));
        assertWindowed(2, windows("\"sliding_window\": 10, \"max_window_layers\": 4, \"use_sliding_window\": true"));
        assertWindowed(5, windows("\"sliding_window\": 10, \"sliding_window_pattern\": 6"));
        assertWindowed(3, windows("\"sliding_window\": 10, \"model_type\": \"gemma2\""));
        assertWindowed(2, windows("\"sliding_window\": 10, \"layer_types\": [\"sliding_attention\", \"full_attention\","
                + "\"sliding_attention\", \"full_attention\", \"full_attention\", \"full_attention\"]"));
        assertWindowed(6, KvCacheSize.attention(6, 2, 1, BF16).withWindow(10));
        assertWindowed(0, KvCacheSize.attention(6, 2, 1, BF16).withWindow(0));
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {
        "{\"num_attention_heads\": 4}; num_hidden_layers is missing",
        "{\"n_layer\": 4}; num_hidden_layers is missing",
        "{\"num_hidden_layers\": 4}; num_attention_heads is missing",
        "{\"num_hidden_layers\": 4, \"num_attention_heads\": 4}; hidden_size is missing",
        "{\"num_hidden_layers\": 4, \"num_attention_heads\": 4, \"hidden_size\": 7}; head_dim is missing",
        "{\"num_hidden_layers\": 4, \"num_attention_heads\": 4, \"num_key_value_heads\": 3}; num_key_value_heads is 3",
        "{\"num_hidden_layers\": 4, \"num_attention_heads\": 4, \"num_key_value_heads\": 8}; num_key_value_heads is 8",
        "{\"num_hidden_layers\": 4, \"num_attention_heads\": 4, \"num_key_value_heads\": []}; num_key_value_heads: '['",
        "{\"kv_lora_rank\": 512}; num_attention_heads is missing",
        "{\"text_config\": {\"num_hidden_layers\": 4}}; text_config.num_attention_heads is missing"})
    void faultsAreNamed(String json, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class,
                () -> KvCacheSize.parse(json, CacheFormat.BF16));
        assertTrue(String.valueOf(e.getMessage()).contains(part), e::getMessage);
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"[]; layer_types has 0 entries", "[1]; layer_types: '1'",
        "[\"linear_attention\"]; layer_types[0] is 'linear_attention'",
        "[\"sliding_attention\"]; layer_types[0] is 'sliding_attention', but there is no sliding_window"})
    void kindsOfLayersAreChecked(String types, String part) {
        faultsAreNamed("{\"num_hidden_layers\": 1, \"num_attention_heads\": 1, \"head_dim\": 1, \"layer_types\": "
                + types + "}", part);
    }

    @Test
    void quantisedVectors() {
        assertEquals(656, KvFormat.FP8.bytes(512) + BF16.bytes(64));
        assertEquals(656, KvCacheSize.latent(1, 512, 64, KvFormat.FP8, BF16).bytesPerToken());
        assertEquals(576, KvFormat.FP8_TENSOR.bytes(576));
        assertEquals(64 + 4 * 4, KvFormat.INT4.bytes(128));
        assertEquals((129 * 4 + 5 * 32 + 7) / 8, KvFormat.INT4.bytes(129), "a scale for the last value alone");
        assertEquals(432, new KvFormat(6, 0, 0).bytes(576), "six bits on average, as DeepSeek-V2 was served");
        assertEquals(1, new KvFormat(1, 0, 0).bytes(1));
        assertEquals(0, KvFormat.INT4.bytes(0));
        assertEquals(2 * 8 * 80 * 80L, KvCacheSize.attention(80, 8, 128, KvFormat.INT4).bytesPerToken());
    }

    @Test
    void memoryAndTokensAgree() {
        SplittableRandom random = new SplittableRandom(6);
        for (int i = 0; i < 2000; i++) {
            KvCacheSize size = new KvCacheSize("any", List.of(
                    new KvCacheSize.Layers(random.nextInt(4), random.nextInt(5000), random.nextInt(3)),
                    new KvCacheSize.Layers(random.nextInt(4), random.nextInt(50), random.nextInt(3000)),
                    new KvCacheSize.Layers(random.nextInt(4), random.nextInt(500), 0)));
            long memory = random.nextLong(1L << random.nextInt(1, 40));
            long batch = random.nextLong(1, 100);
            OptionalLong tokens = size.tokens(memory, batch);
            if (tokens.isPresent()) {
                assertTrue(size.bytes(tokens.getAsLong(), batch) <= memory, size::toString);
                assertTrue(size.bytes(tokens.getAsLong() + 1, batch) > memory, size::toString);
            } else {
                assertTrue(size.bytes(1L << 40, batch) <= memory, size::toString);
            }
        }
        assertEquals(OptionalLong.of(80 * GIB / 70_272),
                KvCacheSize.latent(MlaConfig.V3, CacheFormat.BF16).tokens(80 * GIB, 1));
        assertEquals(OptionalLong.empty(), KvCacheSize.attention(1, 1, 1, BF16).withWindow(10).tokens(40, 1));
        assertEquals(OptionalLong.of(9), KvCacheSize.attention(1, 1, 1, BF16).withWindow(10).tokens(39, 1));
        assertEquals(OptionalLong.of(0), KvCacheSize.attention(1, 1, 1, BF16).tokens(3, 1));
    }

    @Test
    void sizesAreExactUpToTheLastByte() {
        KvCacheSize size = new KvCacheSize("any", List.of(new KvCacheSize.Layers(3, 1_000_003, 0)));
        BigInteger exact = BigInteger.valueOf(3_000_009).multiply(BigInteger.valueOf(1_000_000_007))
                .multiply(BigInteger.valueOf(1000));
        assertEquals(exact.longValueExact(), size.bytes(1_000_000_007, 1000));
        assertEquals(OptionalLong.of(Long.MAX_VALUE / 3_000_009), size.tokens(Long.MAX_VALUE, 1));
        assertThrows(IllegalArgumentException.class, () -> size.bytes(1L << 60, 1));
        assertThrows(IllegalArgumentException.class, () -> size.bytes(1L << 40, 1 << 20));
        KvCacheSize huge = new KvCacheSize("any", List.of(new KvCacheSize.Layers(2, Long.MAX_VALUE, 0)));
        assertThrows(IllegalArgumentException.class, huge::bytesPerToken);
        assertThrows(IllegalArgumentException.class, () -> BF16.bytes(Long.MAX_VALUE / 8));
        assertThrows(IllegalArgumentException.class, () -> KvFormat.INT4.bytes(Long.MAX_VALUE / 5));
    }

    @Test
    void valuesOutOfRangeAreRefusedByName() {
        KvCacheSize size = KvCacheSize.attention(1, 1, 1, BF16);
        refused("context is -1", () -> size.bytes(-1, 1));
        refused("batch is -1", () -> size.bytes(1, -1));
        refused("batch is 0", () -> size.tokens(1, 0));
        refused("memory is -1", () -> size.tokens(-1, 1));
        refused("window is -1", () -> size.withWindow(-1));
        refused("layers is 0", () -> KvCacheSize.attention(0, 1, 1, BF16));
        refused("keyValueHeads is 0", () -> KvCacheSize.attention(1, 0, 1, BF16));
        refused("headDim is 0", () -> KvCacheSize.attention(1, 1, 0, BF16));
        refused("kvLoraRank is 0", () -> KvCacheSize.latent(1, 0, 1, BF16, BF16));
        refused("ropeDim is -1", () -> KvCacheSize.latent(1, 1, -1, BF16, BF16));
        refused("bits is 0", () -> new KvFormat(0, 0, 0));
        refused("bits is 65", () -> new KvFormat(65, 0, 0));
        refused("group is 32", () -> new KvFormat(8, 32, 0));
        refused("group is -1", () -> new KvFormat(8, -1, -1));
        refused("values is -1", () -> BF16.bytes(-1));
    }

    private static void refused(String part, Runnable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e::getMessage);
    }
}
