package dev.octet.benchmarks.demo;

import java.io.Console;
import java.io.PrintWriter;

/** One line on a terminal that says what is going on, and nothing in a pipe. */
final class Progress {
    private final PrintWriter err;
    private final boolean terminal;

    Progress(PrintWriter err) {
        this.err = err;
        Console console = System.console();
        this.terminal = console != null && console.isTerminal();
    }

    void show(String what) {
        if (terminal) {
            err.print("\r\033[K" + what + " ...");
            err.flush();
        }
    }

    void clear() {
        if (terminal) {
            err.print("\r\033[K");
            err.flush();
        }
    }
}
