package dev.octet.benchmarks;

import dev.octet.benchmarks.suite.Case;
import dev.octet.benchmarks.suite.SuiteRunner;
import java.io.Console;
import java.time.Duration;

/** Says on a terminal what is measured now and how long the rest will take; says nothing into a pipe or a file. */
final class TerminalProgress implements SuiteRunner.Progress {
    private final boolean terminal;
    private final long start = System.nanoTime();

    TerminalProgress() {
        Console console = System.console();
        terminal = console != null && console.isTerminal();
    }

    @Override
    public void next(int done, int total, Case next) {
        if (!terminal) {
            return;
        }
        String rest = "";
        if (done > 0) {
            long seconds = Duration.ofNanos((System.nanoTime() - start) / done * (total - done)).toSeconds();
            rest = seconds < 90 ? ", about " + seconds + " s left" : ", about " + (seconds + 30) / 60 + " min left";
        }
        System.err.println();
        System.err.println("[" + (done + 1) + "/" + total + rest + "] " + next);
    }
}
