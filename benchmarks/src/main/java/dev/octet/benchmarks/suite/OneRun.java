package dev.octet.benchmarks.suite;

import java.io.IOException;
import java.util.Collection;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.infra.IterationParams;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.format.OutputFormat;

/**
 * JMH's output of one of many runs: all of it but the closing table, which comes once, for all of them together, and but
 * what was witnessed, which is ten lines beside each one that was measured. Results in JSON have that.
 */
record OneRun(OutputFormat to) implements OutputFormat {
    @Override
    public void endRun(Collection<RunResult> result) {
        to.flush();
    }

    @Override
    public void iteration(BenchmarkParams benchParams, IterationParams params, int iteration) {
        to.iteration(benchParams, params, iteration);
    }

    @Override
    public void iterationResult(BenchmarkParams benchParams, IterationParams params, int iteration,
            IterationResult data) {
        to.iterationResult(benchParams, params, iteration, withoutWitness(data));
    }

    static Collection<RunResult> withoutWitnesses(Collection<RunResult> runs) {
        return runs.stream().map(r -> new RunResult(r.getParams(), r.getBenchmarkResults().stream()
                .map(OneRun::withoutWitness).toList())).toList();
    }

    private static BenchmarkResult withoutWitness(BenchmarkResult r) {
        return new BenchmarkResult(r.getParams(), r.getIterationResults().stream().map(OneRun::withoutWitness).toList(),
                r.getMetadata());
    }

    private static IterationResult withoutWitness(IterationResult r) {
        IterationResult shown = new IterationResult(r.getBenchmarkParams(), r.getParams(), r.getMetadata());
        shown.addResults(r.getRawPrimaryResults());
        for (String name : r.getRawSecondaryResults().keys()) {
            if (!name.startsWith(WitnessProfiler.PREFIX)) {
                shown.addResults(r.getRawSecondaryResults().get(name));
            }
        }
        return shown;
    }

    @Override
    public void startBenchmark(BenchmarkParams benchParams) {
        to.startBenchmark(benchParams);
    }

    @Override
    public void endBenchmark(BenchmarkResult result) {
        to.endBenchmark(result == null ? null : withoutWitness(result));
    }

    @Override
    public void startRun() {
        to.startRun();
    }

    @Override
    public void print(String s) {
        to.print(s);
    }

    @Override
    public void println(String s) {
        to.println(s);
    }

    @Override
    public void flush() {
        to.flush();
    }

    @Override
    public void close() {
        to.flush();
    }

    @Override
    public void verbosePrintln(String s) {
        to.verbosePrintln(s);
    }

    @Override
    public void write(int b) {
        to.write(b);
    }

    @Override
    public void write(byte[] b) throws IOException {
        to.write(b);
    }
}
