package dev.octet.benchmarks;

import dev.octet.benchmarks.peer.LibTorch;
import dev.octet.core.Octet;
import java.io.PrintWriter;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code octet info}. */
@Command(name = "info", mixinStandardHelpOptions = true,
        description = "Shows what Octet uses on this machine: processor, vector width, threads, the implementation "
                + "that each operation takes and why, and the libraries that benchmarks compare with.")
public final class InfoCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Option(names = "--no-peers", description = "Do not load the libraries that benchmarks compare with.")
    private boolean noPeers;

    /** For the command line's reflection. */
    public InfoCommand() {}

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        out.print(Octet.describe());
        if (!noPeers) {
            out.println("peers    LibTorch: " + LibTorch.describe());
        }
        out.flush();
    }
}
