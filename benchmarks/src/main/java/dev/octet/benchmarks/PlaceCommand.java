package dev.octet.benchmarks;

import dev.octet.moe.placement.Cluster;
import dev.octet.moe.placement.ExpertPlacement;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.CharacterCodingException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code octet place}. */
@Command(name = "place", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Places experts on GPUs by their loads, with replicas of those that have much, and shows the "
                + "load of each GPU before and after. Without a file it places the example that the algorithm is "
                + "published with.",
        footer = {"", "octet place", "octet place --loads loads.txt --replicas 288 --groups 8 --nodes 4 --gpus 32"})
public final class PlaceCommand implements Callable<Integer> {
    private static final double[][] EXAMPLE = {
        {90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
        {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27}};
    private static final long MAX_SIZE = 64 << 20;

    @Spec
    private CommandSpec spec;

    @Option(names = "--loads", paramLabel = "FILE",
            description = "A text file: a line for each layer, on it a number for each expert, between spaces, tabs or "
                    + "commas. Empty lines and those that begin with # are passed over.")
    private @Nullable Path loads;

    @Option(names = "--replicas", paramLabel = "N",
            description = "Places of a layer on all GPUs: the experts and the redundant ones; default: 16 for the "
                    + "example, the least that the GPUs divide for a file.")
    private @Nullable Integer replicas;

    @Option(names = "--groups", paramLabel = "N",
            description = "Groups of consecutive experts that stay on a node each, if the nodes divide them; default: "
                    + "4 for the example, 1 for a file.")
    private @Nullable Integer groups;

    @Option(names = "--nodes", paramLabel = "N", defaultValue = "2",
            description = "Nodes (default: ${DEFAULT-VALUE}).")
    private int nodes;

    @Option(names = "--gpus", paramLabel = "N", defaultValue = "8",
            description = "GPUs of all nodes together (default: ${DEFAULT-VALUE}).")
    private int gpus;

    /** For the command line's reflection. */
    public PlaceCommand() {}

    @Override
    public Integer call() {
        try {
            double[][] values = loads == null ? EXAMPLE : read(loads);
            int experts = values[0].length;
            int places = replicas != null ? replicas : loads == null ? 16
                    : (int) Math.min((long) Math.ceilDiv(experts, Math.max(gpus, 1)) * gpus, Integer.MAX_VALUE);
            Cluster cluster =
                    new Cluster(experts, places, groups != null ? groups : loads == null ? 4 : 1, nodes, gpus);
            ExpertPlacement after = ExpertPlacement.balance(values, cluster);
            print(spec.commandLine().getOut(), values, ExpertPlacement.inOrder(values.length, cluster), after);
            return CommandLine.ExitCode.OK;
        } catch (IOException e) { // about the file, which a list of the options would not explain
            throw new CommandFailure("--loads: " + e.getMessage(), e);
        } catch (IllegalArgumentException e) {
            throw new ParameterException(spec.commandLine(), String.valueOf(e.getMessage()), e);
        }
    }

    // ---------------------------------------------------------------------------------------------- the file

    private static double[][] read(Path file) throws IOException {
        List<double[]> layers = new ArrayList<>();
        try {
            if (Files.size(file) > MAX_SIZE) {
                throw new IOException(file + " has more than " + MAX_SIZE + " bytes");
            }
            int number = 0;
            for (String line : Files.readAllLines(file)) {
                number++;
                if (!line.isBlank() && !line.strip().startsWith("#")) {
                    layers.add(layer(line.strip(), file + ", line " + number));
                    if (layers.getLast().length != layers.getFirst().length) {
                        throw new IOException(file + ", line " + number + ": " + layers.getLast().length
                                + " loads, the first layer has " + layers.getFirst().length);
                    }
                }
            }
        } catch (NoSuchFileException e) {
            throw new IOException(file + " does not exist", e);
        } catch (CharacterCodingException e) {
            throw new IOException(file + " is no text in UTF-8", e);
        } catch (FileSystemException e) {
            throw new IOException(file + " can't be read: " + e.getReason(), e);
        } catch (IOException e) {
            String message = String.valueOf(e.getMessage());
            throw message.startsWith(file.toString()) ? e : new IOException(file + " can't be read: " + message, e);
        }
        if (layers.isEmpty()) {
            throw new IOException(file + " has no loads");
        }
        return layers.toArray(double[][]::new);
    }

    private static double[] layer(String line, String where) throws IOException {
        String[] words = line.split("[\\s,]+");
        double[] values = new double[words.length];
        for (int e = 0; e < values.length; e++) {
            try {
                values[e] = Double.parseDouble(words[e]);
            } catch (NumberFormatException notANumber) {
                throw new IOException(where + ": '" + words[e] + "' is no number", notANumber);
            }
            if (!(values[e] >= 0) || values[e] == Double.POSITIVE_INFINITY) {
                throw new IOException(where + ": load " + words[e] + " must be finite and not negative");
            }
        }
        return values;
    }

    // ---------------------------------------------------------------------------------------------- output

    private static void print(PrintWriter out, double[][] loads, ExpertPlacement before, ExpertPlacement after) {
        Cluster c = after.cluster();
        out.println(c.experts() + " experts in " + c.replicas() + " places, " + c.replicasPerGpu() + " on each of "
                + c.gpus() + " GPUs in " + c.nodes() + (c.nodes() == 1 ? " node; " : " nodes; ")
                + (!c.isHierarchical() ? "groups may spread over nodes"
                        : c.groups() == 1 ? "no groups" : "each of " + c.groups() + " groups on one node"));
        for (int l = 0; l < loads.length; l++) {
            double[] was = before.gpuLoads(l, loads[l]);
            double[] is = after.gpuLoads(l, loads[l]);
            out.println();
            TextTable table = new TextTable();
            table.row("layer " + l, "in order", "experts", "by load", "experts");
            for (int g = 0; g < c.gpus(); g++) {
                table.row("node " + g / c.gpusPerNode() + ", GPU " + g, TextTable.fixed(1, was[g]),
                        experts(before, l, g), TextTable.fixed(1, is[g]), experts(after, l, g));
            }
            table.row("largest over mean", TextTable.fixed(3, ExpertPlacement.maxOverMean(was)), "",
                    TextTable.fixed(3, ExpertPlacement.maxOverMean(is)), "");
            table.row("  of nodes", TextTable.fixed(3, ExpertPlacement.maxOverMean(before.nodeLoads(l, loads[l]))), "",
                    TextTable.fixed(3, ExpertPlacement.maxOverMean(after.nodeLoads(l, loads[l]))), "");
            table.print(out);
        }
        out.flush();
    }

    private static String experts(ExpertPlacement placement, int layer, int gpu) {
        int each = placement.cluster().replicasPerGpu();
        int[] own = Arrays.copyOfRange(placement.physicalToLogical()[layer], gpu * each, (gpu + 1) * each);
        return String.join(" ", Arrays.stream(own).mapToObj(String::valueOf).toList());
    }
}
