package dev.octet.benchmarks.demo;

import dev.octet.benchmarks.CommandFailure;
import dev.octet.core.Octet;
import dev.octet.core.cpu.CpuConfig;
import dev.octet.core.cpu.CpuPool;
import dev.octet.fp8.Fp8;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code octet demo}. */
@Command(name = "demo", mixinStandardHelpOptions = true, sortOptions = false,
        description = "Encodes sentences with a real model twice, in FP32 and with every linear layer as an FP8 GEMM, and "
                + "shows what FP8 changes: embeddings, ranking, error per layer, memory, speed.")
public final class DemoCommand implements Runnable {
    @Spec
    private @Nullable CommandSpec spec;

    @Option(names = "--sentences", paramLabel = "FILE",
            description = "Your own text: UTF-8, one sentence a line. Sentences end after " + MiniLm.MAX_TOKENS
                    + " tokens. Default: 16 built-in sentences.")
    private @Nullable Path file;

    @Option(names = "--pairs", paramLabel = "N", defaultValue = "12",
            description = "How many of the most similar pairs to list; default ${DEFAULT-VALUE}.")
    private int pairs;

    @Option(names = "--seconds", paramLabel = "S", defaultValue = "3",
            description = "How long to measure the speed, 0 for not at all; default ${DEFAULT-VALUE}.")
    private double seconds;

    @Option(names = "--backend", paramLabel = "NAME",
            description = "What runs the FP8 operations, for example cpu, scalar or reference; default: the best.")
    private @Nullable String backend;

    /** For the command line's reflection. */
    public DemoCommand() {}

    @Override
    public void run() {
        CommandSpec command = Objects.requireNonNull(spec);
        if (pairs < 0) {
            throw new ParameterException(command.commandLine(), "--pairs is " + pairs + ", it must not be negative");
        }
        if (!(seconds >= 0 && seconds <= 3600)) {
            throw new ParameterException(command.commandLine(), "--seconds is " + seconds + ", it takes 0 to 3600");
        }
        if (!CpuConfig.vectorModulePresent()) {
            throw new CommandFailure("the FP32 encoder needs the Vector API: start the JVM with --add-modules"
                    + " jdk.incubator.vector, as ./octet does");
        }
        PrintWriter out = command.commandLine().getOut();
        Progress progress = new Progress(command.commandLine().getErr());
        try {
            List<String> sentences = file == null ? Sentences.BUILT_IN : Sentences.read(file);
            Fp8 fp8 = backend == null ? Fp8.auto() : named(backend);
            progress.show("reading the model");
            WordPieceTokenizer tokenizer = MiniLm.tokenizer();
            Comparison comparison;
            try (MiniLm model = MiniLm.load()) {
                comparison = Comparison.run(model, tokenizer, sentences, fp8, CpuPool.shared(), seconds,
                        progress::show);
            } finally {
                progress.clear();
            }
            new DemoReport(out, comparison).print(backend == null ? best() : backend, pairs);
        } catch (IOException e) {
            throw new CommandFailure(String.valueOf(e.getMessage()), e);
        }
    }

    private static Fp8 named(String backend) {
        try {
            return Fp8.on(backend);
        } catch (IllegalArgumentException e) {
            throw new CommandFailure(String.valueOf(e.getMessage()), e);
        }
    }

    private static String best() {
        return Octet.describe().paths().stream().filter(p -> p.operation().equals("fp8.gemm")).findFirst()
                .orElseThrow().path();
    }
}
