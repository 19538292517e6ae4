package dev.octet.benchmarks;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.TensorSource;
import dev.octet.moe.GateConfig;
import dev.octet.moe.GateOptions;
import dev.octet.moe.GroupScore;
import dev.octet.moe.Moe;
import dev.octet.moe.Routing;
import dev.octet.moe.traffic.DecodeBound;
import dev.octet.moe.traffic.NodeTopology;
import dev.octet.moe.traffic.NodeTraffic;
import dev.octet.moe.traffic.UniformRouting;
import dev.octet.moe.traffic.WireFormat;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code octet route}. */
@Command(name = "route", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Tells what routing tokens to experts costs between nodes, with and without a limit on a token's "
                + "nodes: how many nodes, the bytes that cross them and that stay inside, and the time that takes.",
        footer = {"", "octet route --model v2 --nodes 8 --gpus 4", "octet route --random-logits",
            "octet route --nodes 16 --gpus 4 --limit 6 --across 100 --inside 450",
            "", "GB/s are 10^9 bytes a second in one direction."})
public final class RouteCommand implements Callable<Integer> {
    /** Published models. */
    enum Model {
        V3(RoutedModel.V3), V2(RoutedModel.V2), V2_LITE(RoutedModel.V2_LITE);

        private final RoutedModel model;

        Model(RoutedModel model) {
            this.model = model;
        }

        /** As it is typed. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    private static final double GIGA = 1e9;
    private static final String RANDOM = "random logits";
    private static final int MOST_CHOICES = 100_000_000;
    /** Tokens whose drawn logits are in memory at a time. */
    private static final int BLOCK = 4096;

    @Spec
    private CommandSpec spec;

    @Option(names = "--model", paramLabel = "MODEL", defaultValue = "v3",
            description = "${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE}).")
    private Model model;

    @Option(names = "--config", paramLabel = "FILE",
            description = "A model's Hugging Face config.json instead: of DeepSeek's or Mixtral's kind.")
    private @Nullable Path config;

    @Option(names = "--nodes", paramLabel = "N", defaultValue = "8",
            description = "Nodes; they divide the experts (default: ${DEFAULT-VALUE}).")
    private int nodes;

    @Option(names = "--gpus", paramLabel = "N", defaultValue = "8",
            description = "GPUs of each node; they divide a node's experts (default: ${DEFAULT-VALUE}).")
    private int gpus;

    @Option(names = "--limit", paramLabel = "M",
            description = "Nodes that a token may go to; default: the groups that the model keeps if each node has one "
                    + "group, else all.")
    private @Nullable Integer limit;

    @Option(names = "--logits", paramLabel = "FILE",
            description = "A safetensors file with a router's logits [tokens, experts], which the model's gate routes.")
    private @Nullable Path logits;

    @Option(names = "--tensor", paramLabel = "NAME", description = "The tensor in it, if it has more than one.")
    private @Nullable String tensorName;

    @Option(names = "--random-logits",
            description = "Also draw logits, normally distributed and independent, which the model's gate routes: chance "
                    + "with the gate's own choice of nodes.")
    private boolean randomLogits;

    @Option(names = "--tokens", paramLabel = "N", defaultValue = "65536",
            description = "Tokens that are drawn at random (default: ${DEFAULT-VALUE}).")
    private int tokens;

    @Option(names = "--seed", paramLabel = "N", defaultValue = "1",
            description = "What the draws begin with (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Option(names = "--batch", paramLabel = "N", defaultValue = "32",
            description = "Tokens of each GPU in one micro-batch (default: ${DEFAULT-VALUE}).")
    private int batch;

    @Option(names = "--across", paramLabel = "GB/s", defaultValue = "50",
            description = "Bandwidth of a GPU to other nodes (default: ${DEFAULT-VALUE}).")
    private double across;

    @Option(names = "--inside", paramLabel = "GB/s", defaultValue = "160",
            description = "Bandwidth of a GPU inside its node (default: ${DEFAULT-VALUE}).")
    private double inside;

    @Option(names = "--dispatch", paramLabel = "FORMAT", defaultValue = "fp8",
            description = "How tokens go to experts: fp8, with a scale for every 128 values, or bf16 "
                    + "(default: ${DEFAULT-VALUE}).")
    private WireFormat dispatch;

    @Option(names = "--combine", paramLabel = "FORMAT", defaultValue = "bf16",
            description = "How they come back: bf16 or fp8 (default: ${DEFAULT-VALUE}).")
    private WireFormat combine;

    /** For the command line's reflection. */
    public RouteCommand() {}

    @Override
    public Integer call() {
        try {
            RoutedModel chosen = config == null ? model.model : read(config);
            List<Column> columns = columns(chosen);
            PrintWriter out = spec.commandLine().getOut();
            print(out, chosen, columns);
            out.flush();
            return CommandLine.ExitCode.OK;
        } catch (IOException e) { // about the file, which a list of the options would not explain
            throw new CommandFailure(String.valueOf(e.getMessage()), e);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
        }
    }

    private static RoutedModel read(Path file) throws IOException {
        try {
            return RoutedModel.read(file);
        } catch (IOException e) {
            throw new IOException("--config: " + e.getMessage(), e);
        }
    }

    // ---------------------------------------------------------------------------------------------- figures

    /** One way to route: what chance has it be, unless logits decided, and what came. */
    private record Column(String name, @Nullable UniformRouting exact, double[] probabilities, NodeTraffic drawn) {
        double perToken(long count) {
            return (double) count / drawn.tokens();
        }

        /** Copies of a token across nodes: expected, if chance decides. */
        double across() {
            return exact != null ? exact.expectedAcross() : perToken(drawn.acrossNodes());
        }

        /** Copies of a token inside nodes: expected, if chance decides. */
        double inside(int gpus) {
            return exact != null ? exact.expectedInside(gpus) : perToken(drawn.insideNodes());
        }

        String expected(ToDoubleFunction<UniformRouting> figure) {
            return exact != null ? TextTable.fixed(3, figure.applyAsDouble(exact)) : "-";
        }
    }

    private List<Column> columns(RoutedModel m) throws IOException {
        int mostTokens = MOST_CHOICES / m.gate().topK();
        if (tokens < 1 || tokens > mostTokens) {
            throw new IllegalArgumentException("--tokens is " + tokens + ", it must be 1 to " + mostTokens);
        }
        positive("--batch", batch);
        positive("--across", across);
        positive("--inside", inside);
        int experts = m.gate().experts();
        NodeTopology topology = NodeTopology.contiguous(experts, nodes, gpus);
        int most = limit != null ? limit : nodes == m.gate().groups() ? m.gate().keptGroups() : nodes;
        if (most < 1 || most > nodes) {
            throw new IllegalArgumentException("--limit is " + most + ", it must be 1 to the " + nodes + " nodes");
        }
        List<Column> columns = new ArrayList<>();
        columns.add(column("any node", new UniformRouting(experts, m.gate().topK(), nodes, nodes), topology));
        if (most < nodes) {
            columns.add(column(most == 1 ? "one node" : "at most " + most,
                    new UniformRouting(experts, m.gate().topK(), nodes, most), topology));
        }
        if (logits != null) {
            try (TensorSource file = TensorSource.open(logits)) {
                Tensor values = tensor(file, experts);
                columns.add(given("logits", values, gate(m.gate(), 1, 1), topology));
                if (most < nodes) {
                    columns.add(given("logits, " + most, values, gate(m.gate(), nodes, most), topology));
                }
            } catch (NoSuchFileException e) {
                throw new IOException("--logits: " + logits + " does not exist", e);
            } catch (IOException e) {
                throw new IOException("--logits: " + e.getMessage(), e);
            } catch (IllegalArgumentException e) {
                throw new IOException("--logits: " + logits + ": " + e.getMessage(), e);
            }
        } else if (tensorName != null) {
            throw new IllegalArgumentException("--tensor needs --logits");
        }
        if (randomLogits) {
            columns.add(drawn(RANDOM, gate(m.gate(), 1, 1), topology));
            if (most < nodes) {
                columns.add(drawn(RANDOM + ", " + most, gate(m.gate(), nodes, most), topology));
            }
        }
        return columns;
    }

    /** The model's own rule with nodes as its groups. */
    private static GateConfig gate(GateConfig model, int groups, int kept) {
        GroupScore score = groups == model.experts() ? GroupScore.MAX : model.groupScore();
        return new GateConfig(model.experts(), model.topK(), groups, kept, model.scores(), score, model.normalize(),
                model.scale());
    }

    private Tensor tensor(TensorSource file, int experts) {
        if (tensorName == null && file.names().size() != 1) {
            throw new IllegalArgumentException("it has " + file.names().size() + " tensors, --tensor must name one");
        }
        Tensor t = file.tensor(tensorName != null ? tensorName : file.names().iterator().next());
        if (!t.dtype().isFloat() || t.shape().rank() != 2 || t.dim(0) < 1 || t.dim(1) != experts) {
            throw new IllegalArgumentException("the tensor is " + t + ", it must be F32, BF16 or F16 [tokens, "
                    + experts + "]");
        }
        return t;
    }

    private static Column given(String name, Tensor values, GateConfig gate, NodeTopology topology) {
        try (Tensor f32 = Tensor.of(values.toFloatArray(), values.dim(0), values.dim(1));
                Routing routing = Routing.allocate(values.dim(0), gate.topK())) {
            Moe.auto().gate(f32, null, gate, GateOptions.NONE, routing);
            return routed(name, routing, topology);
        }
    }

    /** The same seed draws the same logits, whatever the gate makes of them. */
    private Column drawn(String name, GateConfig gate, NodeTopology topology) {
        SplittableRandom random = new SplittableRandom(seed);
        float[] values = new float[Math.min(tokens, BLOCK) * gate.experts()];
        try (Routing routing = Routing.allocate(tokens, gate.topK())) {
            for (int from = 0; from < tokens; from += BLOCK) {
                int count = Math.min(tokens - from, BLOCK);
                for (int i = 0; i < count * gate.experts(); i++) {
                    values[i] = (float) random.nextGaussian();
                }
                Routing part = new Routing(routing.experts().slice(0, from, from + count),
                        routing.weights().slice(0, from, from + count));
                try (Tensor logits = Tensor.allocate(DType.F32, Shape.of(count, gate.experts()))) {
                    MemorySegment.copy(values, 0, logits.segment(), ValueLayout.JAVA_FLOAT, 0,
                            count * gate.experts());
                    Moe.auto().gate(logits, null, gate, GateOptions.NONE, part);
                }
            }
            return routed(name, routing, topology);
        }
    }

    private static Column routed(String name, Routing routing, NodeTopology topology) {
        NodeTraffic traffic = NodeTraffic.of(routing, topology);
        double[] shares = Arrays.stream(traffic.tokensByNodes()).mapToDouble(n -> (double) n / traffic.tokens())
                .toArray();
        return new Column(name, null, shares, traffic);
    }

    private Column column(String name, UniformRouting exact, NodeTopology topology) {
        try (Routing drawn = exact.sample(tokens, seed)) {
            return new Column(name, exact, exact.nodeProbabilities(), NodeTraffic.of(drawn, topology));
        }
    }

    private static void positive(String name, double value) {
        if (!(value > 0) || value == Double.POSITIVE_INFINITY) {
            throw new IllegalArgumentException(name + " is " + value + ", it must be positive and finite");
        }
    }

    // ---------------------------------------------------------------------------------------------- output

    private void print(PrintWriter out, RoutedModel m, List<Column> columns) {
        out.println(m.name() + ": " + m.gate().topK() + " of " + m.gate().experts() + " experts for a token of "
                + TextTable.count(m.hidden()) + " values; " + nodes + (nodes == 1 ? " node of " : " nodes of ") + gpus
                + (gpus == 1 ? " GPU" : " GPUs"));
        out.println("Experts are equally likely; a limit keeps so many nodes, equally likely, for each token.");
        if (randomLogits) {
            out.println("Random logits are normally distributed and go through the model's gate, without bias; nodes are "
                    + "its groups if there is a limit.");
        }
        if (logits != null) {
            long given = columns.stream().filter(c -> c.name().startsWith("logits")).findFirst().orElseThrow().drawn()
                    .tokens();
            out.println("Logits: " + logits + ", " + TextTable.count(given)
                    + " tokens through the model's gate, without bias; nodes are its groups if there is a limit.");
        }
        out.println();
        TextTable table = new TextTable();
        row(table, "nodes of a token", columns, Column::name);
        row(table, "  expected", columns, c -> c.expected(UniformRouting::expectedNodes));
        row(table, "  drawn, " + TextTable.count(tokens) + (tokens == 1 ? " token" : " tokens"), columns,
                c -> TextTable.fixed(3, c.drawn().meanNodes()));
        int most = Math.min(nodes, m.gate().topK());
        for (int d = 1; d <= most; d++) {
            int n = d;
            row(table, "  " + d + (d == 1 ? " node" : " nodes"), columns,
                c -> c.exact() != null && n > c.exact().kept() ? "-"
                    : TextTable.fixed(2, 100 * c.probabilities()[n]) + " %");
        }
        row(table, "copies of a token, to the experts or back", columns, c -> "");
        row(table, "  across nodes, expected", columns, c -> c.expected(UniformRouting::expectedAcross));
        row(table, "  across nodes, drawn", columns, c -> TextTable.fixed(3, c.perToken(c.drawn().acrossNodes())));
        row(table, "  across nodes, each expert by itself", columns,
                c -> TextTable.fixed(3, c.perToken(c.drawn().choicesAcross())));
        row(table, "  inside nodes, expected", columns, c -> c.expected(u -> u.expectedInside(gpus)));
        row(table, "  inside nodes, drawn", columns, c -> TextTable.fixed(3, c.perToken(c.drawn().insideNodes())));
        bytes(table, "bytes of a token to the experts, " + dispatch, columns, dispatch, m.hidden());
        bytes(table, "bytes of a token back, " + combine, columns, combine, m.hidden());
        times(table, m, columns);
        table.print(out);
        out.println();
        saving(out, "The limit keeps ", columns, c -> c.exact() != null);
        saving(out, "With random logits the gate's own choice of nodes keeps ", columns,
                c -> c.name().startsWith(RANDOM));
        out.println("Links work at the same time and evenly; no latency.");
        out.println();
        bounds(out, m);
    }

    /** What the limited of two ways to route saves against the other. */
    private static void saving(PrintWriter out, String who, List<Column> columns, Predicate<Column> of) {
        List<Column> two = columns.stream().filter(of).toList();
        if (two.size() == 2 && two.get(0).across() > 0) {
            double saved = 1 - two.get(1).across() / two.get(0).across();
            out.println(who + TextTable.fixed(1, 100 * saved) + " % of the bytes from crossing nodes.");
        }
    }

    private static void row(TextTable table, String name, List<Column> columns, Function<Column, String> cell) {
        table.row(name, columns.stream().map(cell).toList());
    }

    private void bytes(TextTable table, String name, List<Column> columns, WireFormat format, int hidden) {
        long each = format.bytes(hidden);
        row(table, name, columns, c -> "");
        row(table, "  across nodes", columns, c -> TextTable.fixed(0, c.across() * each));
        row(table, "  inside nodes", columns, c -> TextTable.fixed(0, c.inside(gpus) * each));
    }

    private void times(TextTable table, RoutedModel m, List<Column> columns) {
        double both = (double) batch * (dispatch.bytes(m.hidden()) + combine.bytes(m.hidden()));
        row(table, "us for " + TextTable.count(batch) + (batch == 1 ? " token" : " tokens") + " of each GPU, there and "
                + "back", columns, c -> "");
        row(table, "  across nodes at " + speed(across), columns,
                c -> TextTable.fixed(2, 1e6 * both * c.across() / (across * GIGA)));
        row(table, "  inside nodes at " + speed(inside), columns,
                c -> TextTable.fixed(2, 1e6 * both * c.inside(gpus) / (inside * GIGA)));
    }

    /** By the paper's formula, with its inputs and with those of the model. */
    private void bounds(PrintWriter out, RoutedModel m) {
        out.println("If each expert had its copy and none were on the token's own node, without scales, two micro-");
        out.println("batches in turns (\"Insights into DeepSeek-V3\", section 2.3.2), decoding is bound by:");
        out.println();
        TextTable table = new TextTable();
        table.row("", "GB/s", "us a micro-batch", "us a layer", "ms a token", "tokens/s");
        bound(table, "the paper: 32 tokens, 9 experts, 7,000 values, 61 layers", DecodeBound.INFINIBAND);
        bound(table, "  on GB200 NVL72", DecodeBound.NVL72);
        DecodeBound own = new DecodeBound(batch, m.gate().topK() + m.shared(), m.hidden(),
                dispatch == WireFormat.FP8 ? 1 : 2, combine == WireFormat.FP8 ? 1 : 2, m.layers(), across * GIGA);
        bound(table, m.name() + ": " + TextTable.count(batch) + (batch == 1 ? " token, " : " tokens, ") + own.targets()
                + " experts, " + TextTable.count(m.hidden()) + " values, " + m.layers() + " layers", own);
        bound(table, "  on GB200 NVL72", own.withBytesPerSecond(DecodeBound.NVL72.bytesPerSecond()));
        table.print(out);
    }

    private static void bound(TextTable table, String name, DecodeBound b) {
        table.row(name, speed(b.bytesPerSecond() / GIGA).replace(" GB/s", ""),
                TextTable.fixed(2, 1e6 * b.microBatchSeconds()), TextTable.fixed(2, 1e6 * b.layerSeconds()),
                TextTable.fixed(3, 1e3 * b.tokenSeconds()), TextTable.fixed(2, b.tokensPerSecond()));
    }

    private static String speed(double gigabytes) {
        String text = gigabytes == Math.rint(gigabytes) && gigabytes < 1e15 ? TextTable.fixed(0, gigabytes)
                : String.valueOf(gigabytes);
        return text + " GB/s";
    }
}
