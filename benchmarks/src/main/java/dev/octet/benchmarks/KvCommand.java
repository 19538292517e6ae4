package dev.octet.benchmarks;

import dev.octet.mla.CacheFormat;
import dev.octet.mla.KvCacheSize;
import dev.octet.mla.KvFormat;
import dev.octet.mla.MlaConfig;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code octet kv}. */
@Command(name = "kv", mixinStandardHelpOptions = true,
        description = "Tells what a model's cache of keys and values takes: bytes for each token, the memory of some "
                + "sequences, and the tokens that fit into a memory. Without a model it shows published ones.",
        footer = {"", "octet kv --config DIR/config.json --context 32768 --batch 8 --memory 640GiB",
            "octet kv --layers 80 --kv-heads 8 --head-dim 128 --bits 4",
            "octet kv --layers 61 --latent 512 --rope-dim 64 --format fp8"})
public final class KvCommand implements Callable<Integer> {
    /** How values are stored. */
    enum Format {
        BF16, FP8;

        CacheFormat ofCache() {
            return this == BF16 ? CacheFormat.BF16 : CacheFormat.FP8;
        }
    }

    @Spec
    private CommandSpec spec;

    @Option(names = "--config", paramLabel = "FILE",
            description = "A model's Hugging Face config.json: one with latent attention, or with heads of keys and "
                    + "values (MHA, GQA or MQA), sliding windows included.")
    private @Nullable Path config;

    @Option(names = "--context", paramLabel = "N", defaultValue = "131072",
            description = "Tokens of each sequence (default: ${DEFAULT-VALUE}).")
    private long context;

    @Option(names = "--batch", paramLabel = "N", defaultValue = "1",
            description = "How many sequences (default: ${DEFAULT-VALUE}).")
    private long batch;

    @Option(names = "--memory", paramLabel = "SIZE", defaultValue = "80GiB", converter = MemorySize.Converter.class,
            description = "A memory to be filled, in B, KB, MB, GB, TB or KiB, MiB, GiB, TiB "
                    + "(default: ${DEFAULT-VALUE}).")
    private MemorySize memory;

    @Option(names = "--format", paramLabel = "FORMAT", defaultValue = "bf16",
            description = "bf16, or fp8: E4M3 with an FP32 scale for every 128 values; rotary keys of latent attention "
                    + "stay BF16 (default: ${DEFAULT-VALUE}).")
    private Format format;

    @Option(names = "--window", paramLabel = "N",
            description = "A sliding window in every layer: tokens that it keeps; 0 for none.")
    private @Nullable Long window;

    @ArgGroup(exclusive = false, heading = "%nA model by its dimensions, instead of --config:%n")
    private @Nullable Dimensions dimensions;

    /** What makes a cache without a file. */
    static final class Dimensions {
        @Option(names = "--layers", paramLabel = "N", required = true, description = "Layers of the model.")
        private int layers;

        @Option(names = "--kv-heads", paramLabel = "N",
                description = "Heads of keys and values: all (MHA), fewer (GQA) or 1 (MQA).")
        private @Nullable Integer keyValueHeads;

        @Option(names = "--head-dim", paramLabel = "N", description = "Values of a key, and of a value.")
        private @Nullable Integer headDim;

        @Option(names = "--latent", paramLabel = "N", description = "Values of the latent, instead of heads (MLA).")
        private @Nullable Integer latent;

        @Option(names = "--rope-dim", paramLabel = "N",
                description = "Values of the rotary key that goes with a latent.")
        private @Nullable Integer ropeDim;

        @Option(names = "--bits", paramLabel = "N",
                description = "Bits of a quantised value, instead of --format; of a latent, not of its rotary key.")
        private @Nullable Integer bits;

        @Option(names = "--group", paramLabel = "N", defaultValue = "0",
                description = "Quantised values that share a scale; 0 if it counts for nothing "
                        + "(default: ${DEFAULT-VALUE}).")
        private int group;

        @Option(names = "--scale-bits", paramLabel = "N", defaultValue = "0",
                description = "Bits of a scale, a zero point included (default: ${DEFAULT-VALUE}).")
        private int scaleBits;

        KvCacheSize size(Format format) {
            if (bits == null && (group != 0 || scaleBits != 0)) {
                throw new IllegalArgumentException("--group and --scale-bits need --bits");
            }
            KvFormat values = bits != null ? new KvFormat(bits, group, scaleBits) : KvFormat.of(format.ofCache());
            if (latent != null && ropeDim != null && keyValueHeads == null && headDim == null) {
                return KvCacheSize.latent(layers, latent, ropeDim, values, KvFormat.BF16);
            }
            if (latent == null && ropeDim == null && keyValueHeads != null && headDim != null) {
                return KvCacheSize.attention(layers, keyValueHeads, headDim, values);
            }
            throw new IllegalArgumentException(
                    "--layers needs either --kv-heads and --head-dim, or --latent and --rope-dim");
        }
    }

    /** For the command line's reflection. */
    public KvCommand() {}

    @Override
    public Integer call() {
        try {
            print(spec.commandLine().getOut(), sizes());
            return CommandLine.ExitCode.OK;
        } catch (IOException e) { // about the file, which a list of the options would not explain
            throw new CommandFailure(String.valueOf(e.getMessage()), e);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
        }
    }

    // ---------------------------------------------------------------------------------------------- models

    private Map<String, KvCacheSize> sizes() throws IOException {
        if (config != null && dimensions != null) {
            throw new IllegalArgumentException("--config and --layers exclude each other: the file has the dimensions");
        }
        Map<String, KvCacheSize> sizes = new LinkedHashMap<>();
        if (config != null) {
            sizes.put(String.valueOf(config), windowed(read(config)));
        } else if (dimensions != null) {
            sizes.put("by dimensions", windowed(dimensions.size(format)));
        } else {
            published(format).forEach((name, size) -> sizes.put(name, windowed(size)));
        }
        return sizes;
    }

    private KvCacheSize windowed(KvCacheSize size) {
        return window == null ? size : size.withWindow(window);
    }

    private KvCacheSize read(Path file) throws IOException {
        try {
            return KvCacheSize.read(file, format.ofCache());
        } catch (NoSuchFileException e) {
            throw new IOException("--config: " + file + " does not exist", e);
        } catch (IOException e) {
            String message = String.valueOf(e.getMessage());
            String named = message.startsWith(file.toString()) ? message : file + ": " + message;
            throw new IOException("--config: " + named, e);
        }
    }

    /** The models of table 1 of "Insights into DeepSeek-V3", their relatives, and what latent attention saves. */
    static Map<String, KvCacheSize> published(Format format) {
        CacheFormat cache = format.ofCache();
        KvFormat heads = KvFormat.of(cache);
        Map<String, KvCacheSize> sizes = new LinkedHashMap<>();
        KvCacheSize v3 = KvCacheSize.latent(MlaConfig.V3, cache);
        sizes.put("DeepSeek-V3", v3);
        if (format == Format.BF16) {
            sizes.put("DeepSeek-V3 in FP8", KvCacheSize.latent(MlaConfig.V3, CacheFormat.FP8));
        }
        int extra = 1; // the layer of multi-token prediction
        KvCacheSize.Layers layers = v3.layers().getFirst();
        sizes.put("DeepSeek-V3 with MTP", new KvCacheSize(v3.mechanism(),
                List.of(new KvCacheSize.Layers(layers.count() + extra, layers.bytesPerToken(), 0))));
        sizes.put("DeepSeek-V3 uncompressed", KvCacheSize.naive(MlaConfig.V3, heads));
        sizes.put("DeepSeek-V3 if it had MHA", ofHeads("MHA", MlaConfig.V3.layers(), MlaConfig.V3.heads(), heads));
        sizes.put("DeepSeek-V2", KvCacheSize.latent(MlaConfig.V2, cache));
        sizes.put("DeepSeek-V2-Lite", KvCacheSize.latent(MlaConfig.V2_LITE, cache));
        sizes.put("Qwen2.5-72B", ofHeads("GQA", 80, 8, heads));
        sizes.put("LLaMA-3.1-405B", ofHeads("GQA", 126, 8, heads));
        return sizes;
    }

    private static KvCacheSize ofHeads(String name, int layers, int keyValueHeads, KvFormat format) {
        KvCacheSize size = KvCacheSize.attention(layers, keyValueHeads, 128, format);
        return new KvCacheSize(name + ", " + size.mechanism(), size.layers());
    }

    // ---------------------------------------------------------------------------------------------- output

    private void print(PrintWriter out, Map<String, KvCacheSize> sizes) {
        long v3 = KvCacheSize.latent(MlaConfig.V3, CacheFormat.BF16).bytesPerToken();
        List<List<String>> rows = new ArrayList<>();
        rows.add(List.of("model", "keys and values", "layers", "bytes/token", "to V3", "memory",
                "tokens in " + memory));
        sizes.forEach((name, size) -> {
            long bytes = size.bytesPerToken();
            rows.add(List.of(name, size.mechanism(), count(size.layerCount()), count(bytes),
                    String.format(Locale.ROOT, "%.3fx", (double) bytes / v3),
                    MemorySize.of(size.bytes(context, batch)),
                    size.tokens(memory.bytes(), batch).stream().mapToObj(KvCommand::count).findFirst()
                            .orElse("no end")));
        });
        out.println(heading());
        out.println();
        int[] widths = new int[rows.getFirst().size()];
        rows.forEach(r -> {
            for (int i = 0; i < widths.length; i++) {
                widths[i] = Math.max(widths[i], r.get(i).length());
            }
        });
        rows.forEach(r -> out.println(line(r, widths)));
        out.println();
        out.println("to V3: over the " + count(v3) + " bytes of DeepSeek-V3 in BF16");
        if (config == null && dimensions == null && format == Format.BF16) {
            out.println("\"Insights into DeepSeek-V3\", table 1, has 4.66x for Qwen2.5-72B, and for LLaMA-3.1-405B");
            out.println("7.28x, which its own bytes do not give: 516,096 / 70,272 = 7.344");
        }
        out.flush();
    }

    private String heading() {
        String values = dimensions != null && dimensions.bits != null ? dimensions.bits + " bits" : format.name();
        String heading = values + "; " + (batch == 1 ? "1 sequence" : count(batch) + " sequences") + " of "
                + count(context) + (context == 1 ? " token" : " tokens");
        if (window != null && window > 0) {
            heading += "; windows of " + count(window);
        }
        return batch == 1 ? heading : heading + "; the last column is for each of " + count(batch) + " sequences";
    }

    private static String line(List<String> cells, int[] widths) {
        StringBuilder line = new StringBuilder();
        for (int i = 0; i < widths.length; i++) {
            String space = " ".repeat(widths[i] - cells.get(i).length());
            line.append(i == 0 ? "" : "  ").append(i < 2 ? cells.get(i) + space : space + cells.get(i));
        }
        return line.toString();
    }

    private static String count(long n) {
        return String.format(Locale.ROOT, "%,d", n);
    }
}
