package dev.octet.benchmarks;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.stream.Stream;

/** Runs a command as a user does. */
abstract class CommandTest {
    /** What the latest run printed. */
    final StringWriter out = new StringWriter();
    /** What all runs complained of. */
    final StringWriter err = new StringWriter();

    private final String command;

    CommandTest(String command) {
        this.command = command;
    }

    int run(String... args) {
        out.getBuffer().setLength(0);
        return Main.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(err))
                .execute(Stream.concat(Stream.of(command), Stream.of(args)).toArray(String[]::new));
    }
}
