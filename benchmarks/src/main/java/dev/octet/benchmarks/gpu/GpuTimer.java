package dev.octet.benchmarks.gpu;

import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.CudaEvent;
import dev.octet.cuda.CudaGraph;
import dev.octet.cuda.CudaGraphExec;
import dev.octet.cuda.CudaStream;
import java.util.Arrays;

/**
 * Four times of a call. Events have a grain of half a microsecond and a cost of several, so they stand around many
 * calls; the calls go round several sets of data, so that none finds its own in the second-level cache.
 *
 * @param deviceMicros the GPU's time for one call, by events around a graph of many calls: what remains when the CPU
 *     needs no time; NaN if the calls can't be recorded
 * @param streamMicros the GPU's time for one call, by events around many calls that Java makes one after the other: the
 *     larger of the GPU's time and the CPU's time to make the call
 * @param wallMicros the CPU's time from a call, made when the GPU is idle, until its result is there
 * @param callMicros the CPU's time to make one call, without waiting for it
 */
record GpuTimer(double deviceMicros, double streamMicros, double wallMicros, double callMicros) {
    private static final int ROUNDS = 9;
    private static final double TARGET_MICROS = 20_000;
    private static final int MAX_CALLS = 2_000;
    /** The driver queues about a thousand launches; a CPU that runs ahead of that would wait inside the call. */
    private static final int QUEUE = 500;

    static GpuTimer measure(CudaDevice gpu, GpuCase.Prepared work) {
        try (CudaStream stream = gpu.newStream(); CudaEvent start = gpu.newEvent(); CudaEvent end = gpu.newEvent()) {
            int calls = warmUp(stream, start, end, work);
            double[] streamed = new double[ROUNDS];
            double[] called = new double[ROUNDS];
            for (int r = 0; r < ROUNDS; r++) {
                int n = calls;
                streamed[r] = between(stream, start, end, () -> calls(stream, work, n)) / n;
                int queued = Math.min(n, QUEUE);
                long before = System.nanoTime();
                calls(stream, work, queued);
                called[r] = (System.nanoTime() - before) / 1e3 / queued;
                stream.synchronize();
            }
            double recorded = work.recordable() ? recorded(stream, start, end, work, calls) : Double.NaN;
            double waited = waitedFor(stream, work, Math.min(calls, QUEUE));
            return new GpuTimer(recorded, median(streamed), waited, median(called));
        }
    }

    private static double waitedFor(CudaStream stream, GpuCase.Prepared work, int calls) {
        double[] times = new double[calls];
        stream.run(() -> {
            for (int i = 0; i < calls; i++) {
                long start = System.nanoTime();
                work.run(stream, i % work.sets());
                stream.synchronize();
                times[i] = (System.nanoTime() - start) / 1e3;
            }
        });
        return median(times);
    }

    /** {@return how many calls fill a measurement} */
    private static int warmUp(CudaStream stream, CudaEvent start, CudaEvent end, GpuCase.Prepared work) {
        calls(stream, work, Math.max(3, work.sets()));
        stream.synchronize();
        double each = between(stream, start, end, () -> calls(stream, work, 10)) / 10;
        int calls = (int) Math.clamp(TARGET_MICROS / each, 10, MAX_CALLS);
        // Java's own code is compiled after some thousands of calls; kernels that take long get fewer.
        calls(stream, work, (int) Math.clamp(200_000 / each, 20, 20_000));
        stream.synchronize();
        return calls;
    }

    private static double recorded(CudaStream stream, CudaEvent start, CudaEvent end, GpuCase.Prepared work,
            int calls) {
        try (CudaGraph graph = stream.capture(() -> calls(stream, work, calls));
                CudaGraphExec executable = graph.instantiate()) {
            executable.launch(stream);
            double[] times = new double[ROUNDS];
            for (int r = 0; r < ROUNDS; r++) {
                times[r] = between(stream, start, end, () -> executable.launch(stream)) / calls;
            }
            return median(times);
        }
    }

    /** The stream is the current one, too, for operations that take no stream. */
    private static void calls(CudaStream stream, GpuCase.Prepared work, int calls) {
        stream.run(() -> {
            int sets = work.sets();
            for (int i = 0; i < calls; i++) {
                work.run(stream, i % sets);
            }
        });
    }

    private static double between(CudaStream stream, CudaEvent start, CudaEvent end, Runnable calls) {
        stream.record(start);
        calls.run();
        stream.record(end);
        end.synchronize();
        return end.millisSince(start) * 1e3;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
