package dev.octet.benchmarks;

import dev.octet.benchmarks.demo.DemoCommand;
import dev.octet.benchmarks.demo.LatentCommand;
import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import picocli.CommandLine.UnmatchedArgumentException;

/** The command line of Octet. */
@Command(name = "octet", mixinStandardHelpOptions = true, versionProvider = Main.Version.class,
        description = "FP8 kernels for the JVM: what this machine runs, how fast it is, and a demonstration.",
        subcommands = {DemoCommand.class, LatentCommand.class, InfoCommand.class, BenchCommand.class, KvCommand.class,
            RouteCommand.class, PlaceCommand.class},
        footer = {"", "octet COMMAND --help explains each command."})
public final class Main implements Runnable {
    @Spec
    private CommandSpec spec;

    /** For the command line's reflection. */
    public Main() {}

    /**
     * Runs a command and ends the JVM: with 0 after success, 1 after a failure, 2 after a usage error.
     *
     * @param args the command and its arguments
     */
    public static void main(String[] args) {
        System.exit(commandLine().execute(args));
    }

    /** {@return the command line, ready to execute} */
    static CommandLine commandLine() {
        return new CommandLine(new Main())
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setParameterExceptionHandler((e, args) -> {
                    CommandLine command = e.getCommandLine();
                    PrintWriter err = command.getErr();
                    err.println("octet: " + e.getMessage());
                    UnmatchedArgumentException.printSuggestions(e, err);
                    if (command.getParent() == null) {
                        command.usage(err);
                    } else {
                        err.println("octet: try " + command.getCommandSpec().qualifiedName() + " --help");
                    }
                    err.flush();
                    return CommandLine.ExitCode.USAGE;
                })
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    PrintWriter err = command.getErr();
                    if (e instanceof CommandFailure) {
                        err.println("octet: " + e.getMessage());
                    } else {
                        e.printStackTrace(err);
                    }
                    err.flush();
                    return CommandLine.ExitCode.SOFTWARE;
                });
    }

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "octet needs a command");
    }

    /** The version that the build wrote into the jar. */
    static final class Version implements CommandLine.IVersionProvider {
        @Override
        public String[] getVersion() {
            String version = Main.class.getPackage().getImplementationVersion();
            return new String[] {"octet " + (version != null ? version : "(not packaged)")};
        }
    }
}
