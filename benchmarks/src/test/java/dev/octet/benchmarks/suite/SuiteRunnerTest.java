package dev.octet.benchmarks.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class SuiteRunnerTest {
    /** As a pipe whose reader has gone. */
    private static final class Closed extends OutputStream {
        @Override
        public void write(int b) throws IOException {
            throw new IOException("Broken pipe");
        }
    }

    @Test
    void aRunEndsWhenNobodyReadsIt() {
        Case c = Case.of("SmallBenchmark.cast", "backend", "scalar", "threads", 1, "m", 1, "n", 1, "k", 16);
        Case next = Case.of("SmallBenchmark.cast", "backend", "scalar", "threads", 1, "m", 1, "n", 1, "k", 32);
        List<Case> begun = new ArrayList<>();
        SuiteRunner runner = new SuiteRunner(new Effort(0, 1, 1, Effort.millis(1), Effort.millis(1)), false,
                new PrintStream(new Closed()), (done, total, which) -> begun.add(which));
        assertThrows(UncheckedIOException.class, () -> runner.run(List.of(c, next)));
        assertEquals(List.of(c), begun);
    }
}
