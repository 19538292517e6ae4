package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine.TypeConversionException;

class KvCommandTest extends CommandTest {
    private static final String V2_LITE = """
            {"hidden_size": 2048, "kv_lora_rank": 512, "num_attention_heads": 16, "num_hidden_layers": 27,
             "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000,
             "v_head_dim": 128}
            """;
    private static final String MISTRAL = """
            {"hidden_size": 4096, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
             "sliding_window": 4096}
            """;

    KvCommandTest() {
        super("kv");
    }

    /** The cells of the row that begins with a name, cut where two spaces or more are. */
    private List<String> row(String name) {
        String line = out.toString().lines().filter(l -> l.startsWith(name + "  ")).findFirst()
                .orElseThrow(() -> new AssertionError(name + " is not in " + out));
        return List.of(line.split(" {2,}"));
    }

    @Test
    void publishedModels() {
        assertEquals(0, run());
        assertEquals(List.of("DeepSeek-V3", "MLA, 512 + 64", "61", "70,272", "1.000x", "8.58 GiB", "1,222,383"),
                row("DeepSeek-V3"));
        assertEquals("40,016", row("DeepSeek-V3 in FP8").get(3));
        assertEquals(List.of("62", "71,424", "1.016x", "8.72 GiB"), row("DeepSeek-V3 with MTP").subList(2, 6));
        assertEquals("4,997,120", row("DeepSeek-V3 uncompressed").get(3));
        assertEquals("3,997,696", row("DeepSeek-V3 if it had MHA").get(3));
        assertEquals("69,120", row("DeepSeek-V2").get(3));
        assertEquals("31,104", row("DeepSeek-V2-Lite").get(3));
        assertEquals(List.of("GQA, 8 heads of 128", "80", "327,680", "4.663x"), row("Qwen2.5-72B").subList(1, 5));
        assertEquals(List.of("GQA, 8 heads of 128", "126", "516,096", "7.344x"), row("LLaMA-3.1-405B").subList(1, 5));
        assertTrue(out.toString().contains("7.28x"), "the paper's own figure");
    }

    @Test
    void publishedModelsInFp8() {
        assertEquals(0, run("--format", "FP8"));
        assertEquals("40,016", row("DeepSeek-V3").get(3));
        assertEquals(String.format(Locale.ROOT, "%,d", 126 * 16 * 132), row("LLaMA-3.1-405B").get(3));
        assertFalse(out.toString().contains("7.28x"));
    }

    @Test
    void aFileOfLatentAttention(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("config.json"), V2_LITE);
        assertEquals(0, run("--config", file.toString(), "--context", "8192", "--batch", "4", "--memory", "31104B"));
        assertEquals(List.of("MLA, 512 + 64", "27", "31,104", "0.443x", "972.00 MiB", "0"),
                row(file.toString()).subList(1, 7));
        assertTrue(out.toString().startsWith("BF16; 4 sequences of 8,192 tokens; the last column is for each"),
                out::toString);
    }

    @Test
    void aFileWithWindows(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("config.json"), MISTRAL);
        assertEquals(0, run("--config", file.toString()));
        assertEquals(List.of("GQA, 8 heads of 128", "32", "131,072", "1.865x", "512.00 MiB", "no end"),
                row(file.toString()).subList(1, 7));
        out.getBuffer().setLength(0);
        assertEquals(0, run("--config", file.toString(), "--window", "0"));
        assertEquals("16.00 GiB", row(file.toString()).get(5));
    }

    @Test
    void dimensions() {
        assertEquals(0, run("--layers", "61", "--latent", "512", "--rope-dim", "64", "--format", "fp8"));
        assertEquals("40,016", row("by dimensions").get(3));
        out.getBuffer().setLength(0);
        assertEquals(0, run("--layers", "80", "--kv-heads", "8", "--head-dim", "128", "--bits", "4", "--group", "32",
                "--scale-bits", "32", "--window", "100", "--memory", "0.1MB"));
        assertEquals(List.of("8 heads of 128", "80", "102,400", "1.457x", "9.77 MiB", "0"),
                row("by dimensions").subList(1, 7));
        assertTrue(out.toString().startsWith("4 bits; 1 sequence of 131,072 tokens; windows of 100"), out::toString);
        out.getBuffer().setLength(0);
        assertEquals(0, run("--layers", "1", "--latent", "512", "--rope-dim", "64", "--bits", "6"));
        assertEquals("512", row("by dimensions").get(3), "384 bytes of the latent and 128 of the key");
    }

    @ParameterizedTest
    @CsvSource(delimiter = ';', value = {"--context=-1; context is -1", "--context=x; --context",
        "--batch=0; batch is 0", "--memory=80; is no size", "--memory=80Gi; is no size", "--memory=-1GiB; is no size",
        "--memory=9EB; is no size", "--memory=1IB; has no known unit", "--memory=99999999TiB; more than 2^63-1",
        "--format=fp4; --format",
        "--window=-1; window is -1", "--layers=0 --kv-heads=1 --head-dim=1; layers is 0", "--layers=1; --layers needs",
        "--kv-heads=8; --layers", "--layers=1 --latent=1 --head-dim=1; --layers needs",
        "--layers=1 --kv-heads=1 --head-dim=0; headDim is 0",
        "--layers=1 --kv-heads=1 --head-dim=1 --bits=0; bits is 0",
        "--layers=1 --kv-heads=1 --head-dim=1 --group=32; need --bits",
        "--config=none.json --layers=1; exclude each other", "--context=9223372036854775807; more than 2^63-1 bytes",
        "extra; extra"})
    void wrongOptionsAreUsageErrors(String options, String part) {
        assertEquals(2, run(options.split(" ")));
        assertTrue(err.toString().contains(part), err::toString);
        assertFalse(err.toString().contains("\tat "), err::toString);
        assertEquals("", out.toString());
    }

    @Test
    void aWrongFileIsNamedWithTheField(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("config.json"), V2_LITE.replace("512", "0"));
        assertEquals(1, run("--config", file.toString()));
        assertEquals("octet: --config: " + file + ": kv_lora_rank is 0, it must be positive", err.toString().strip());
        assertEquals(1, run("--config", folder.toString()));
        assertTrue(err.toString().contains("--config: " + folder), err::toString);
        assertFalse(err.toString().contains("\tat "), err::toString);
    }

    @ParameterizedTest
    @CsvSource({"80GiB, 85899345920", "80 gib, 85899345920", "1.5TB, 1500000000000", "0.001KB, 1", "0.0009KB, 0",
        "7B, 7", "7b, 7", "1MiB, 1048576", "9223372036854775807B, 9223372036854775807"})
    void sizes(String text, long bytes) {
        assertEquals(bytes, new MemorySize.Converter().convert(text).bytes());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "B", "GiB", "1 2B", "1e3B", "0x10B", "9223372036854775808B"})
    void whatIsNoSizeIsRefused(String text) {
        assertThrows(TypeConversionException.class, () -> new MemorySize.Converter().convert(text));
    }

    @ParameterizedTest
    @CsvSource({"0, 0 B", "1023, 1023 B", "1024, 1.00 KiB", "1536, 1.50 KiB", "1048576, 1.00 MiB",
        "9365766144, 8.72 GiB", "9223372036854775807, 8.00 EiB"})
    void bytesInWords(long bytes, String words) {
        assertEquals(words, MemorySize.of(bytes));
    }
}
