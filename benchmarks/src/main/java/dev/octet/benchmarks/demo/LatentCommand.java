package dev.octet.benchmarks.demo;

import dev.octet.benchmarks.CommandFailure;
import dev.octet.benchmarks.OutputFiles;
import dev.octet.benchmarks.suite.RunInfo;
import dev.octet.core.DType;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.core.cpu.CpuPool;
import dev.octet.mla.factor.FactorOptions;
import dev.octet.mla.factor.Weighting;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code octet latent}. */
@Command(name = "latent", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Factorises keys and values of a real model's ordinary attention into a latent, by its weights "
                + "alone and with sample activations, and shows for each rank what the cache takes and what the "
                + "layers' outputs and the sentence embeddings lose.")
public final class LatentCommand implements Runnable {
    /** The formats of a cache that a factorisation is measured in. */
    private enum Cache {
        BF16, F32
    }

    @Spec
    private @Nullable CommandSpec spec;

    @Option(names = "--ranks", paramLabel = "R", split = ",", defaultValue = "16,32,64,96,128,160,192,256,320,352,384",
            description = "Elements of a token's latent in each layer, 1 to 384; default ${DEFAULT-VALUE}.")
    private int[] ranks = {};

    @Option(names = "--layer", paramLabel = "N", description = "Show this layer alone, 1 to 6; default: all together.")
    private @Nullable Integer layer;

    @Option(names = "--cache", paramLabel = "FORMAT", defaultValue = "BF16",
            description = "What latents are rounded to: ${COMPLETION-CANDIDATES}; default ${DEFAULT-VALUE}.")
    private Cache cache = Cache.BF16;

    @Option(names = "--weighting", paramLabel = "W", defaultValue = "BALANCED",
            description = "How errors of keys count against those of values: ${COMPLETION-CANDIDATES} (every element "
                    + "alike, or each relative to its own size); default ${DEFAULT-VALUE}.")
    private Weighting weighting = Weighting.BALANCED;

    @Option(names = "--ridge", paramLabel = "X", defaultValue = "0.03",
            description = "What is added to the diagonal of the activations' covariance, in multiples of its mean; "
                    + "default ${DEFAULT-VALUE}.")
    private double ridge;

    @Option(names = "--plot", paramLabel = "FILE",
            description = "Writes a PNG: output error against cache bytes per token, both methods.")
    private @Nullable Path plot;

    @Option(names = "--report", paramLabel = "DIR",
            description = "Writes report.md, with command and machine, latent.csv with all figures, and latent.png.")
    private @Nullable Path report;

    /** For the command line's reflection. */
    public LatentCommand() {}

    @Override
    public void run() {
        CommandSpec command = Objects.requireNonNull(spec);
        check(command);
        PrintWriter out = command.commandLine().getOut();
        Progress progress = new Progress(command.commandLine().getErr());
        try {
            if (plot != null) {
                OutputFiles.prepareFile("--plot", plot);
            }
            if (report != null) {
                OutputFiles.prepareFolder("--report", report);
            }
            LatentStudy study;
            try (MiniLm model = MiniLm.load()) {
                study = LatentStudy.run(model, MiniLm.tokenizer(), Sentences.forLatents(), layer,
                        java.util.Arrays.stream(ranks).sorted().distinct().toArray(),
                        cache == Cache.BF16 ? DType.BF16 : DType.F32,
                        FactorOptions.DEFAULT.with(weighting).withRidge(ridge), CpuPool.shared(), progress::show);
            } catch (IllegalArgumentException e) { // a ridge that the sample is too small for
                throw new CommandFailure(String.valueOf(e.getMessage()), e);
            } finally {
                progress.clear();
            }
            new LatentReport(out, study).print();
            if (plot != null) {
                LatentPlot.write(study, plot);
            }
            if (report != null) {
                write(study, report, command);
            }
        } catch (IOException e) {
            throw new CommandFailure(String.valueOf(e.getMessage()), e);
        }
    }

    private void check(CommandSpec command) {
        for (int rank : ranks) {
            if (rank < 1 || rank > MiniLm.HIDDEN) {
                throw new ParameterException(command.commandLine(),
                        "--ranks has " + rank + ", it takes 1 to " + MiniLm.HIDDEN);
            }
        }
        if (layer != null && (layer < 1 || layer > MiniLm.LAYERS)) {
            throw new ParameterException(command.commandLine(),
                    "--layer is " + layer + ", it takes 1 to " + MiniLm.LAYERS);
        }
        if (!(ridge >= 0 && ridge <= Double.MAX_VALUE)) {
            throw new ParameterException(command.commandLine(),
                    "--ridge is " + ridge + ", it must be finite and not negative");
        }
        if (plot != null && !plot.toString().endsWith(".png")) {
            throw new ParameterException(command.commandLine(),
                    "--plot is " + plot + ", it takes a name that ends in .png");
        }
        if (!CpuConfig.vectorModulePresent()) {
            throw new CommandFailure("the FP32 encoder needs the Vector API: start the JVM with --add-modules"
                    + " jdk.incubator.vector, as ./octet does");
        }
    }

    private void write(LatentStudy study, Path folder, CommandSpec command) throws IOException {
        StringWriter text = new StringWriter();
        new LatentReport(new PrintWriter(text), study).print();
        StringBuilder page = new StringBuilder("# A latent cache for MiniLM\n\n| what | value |\n|---|---|\n");
        List<String> args = command.root().commandLine().getParseResult().originalArgs();
        RunInfo.machine("./octet " + String.join(" ", args)).forEach((name, value) ->
                page.append("| ").append(name).append(" | ")
                        .append(name.equals("command") ? "`" + value + "`" : value).append(" |\n"));
        page.append("\nAll figures, by layer, are in [latent.csv](latent.csv).\n\n```\n").append(text)
                .append("```\n\n![Attention-output error against cache bytes per token](latent.png)\n");
        Files.writeString(folder.resolve("report.md"), page);
        Files.writeString(folder.resolve("latent.csv"), LatentReport.csv(study));
        LatentPlot.write(study, folder.resolve("latent.png"));
    }
}
