package dev.octet.benchmarks.gpu;

import dev.octet.core.Octet;
import dev.octet.cuda.Cuda;
import dev.octet.cuda.CudaDevice;
import dev.octet.cuda.KernelCompiler;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Benchmarks of the first GPU.
 *
 * <pre>
 * GpuBenchmarks info                       what this machine runs, and why
 * GpuBenchmarks run [--json FILE] [REGEX]  measures the cases whose name matches
 * </pre>
 *
 * <p>Ends with 0, with 1 if a case failed, with 2 after wrong usage, with 3 if there is no GPU.
 */
public final class GpuBenchmarks {
    private static final int FAILED = 1;
    private static final int USAGE = 2;
    private static final int NO_GPU = 3;

    private GpuBenchmarks() {}

    /**
     * Runs the command and ends the JVM.
     *
     * @param args as above
     * @throws IOException if the results can't be written
     */
    public static void main(String[] args) throws IOException {
        System.exit(execute(args));
    }

    private static int execute(String[] args) throws IOException {
        if (args.length == 1 && args[0].equals("info")) {
            System.out.print(Octet.describe());
            return Cuda.unavailable().isEmpty() ? 0 : NO_GPU;
        }
        boolean json = args.length >= 3 && args[1].equals("--json");
        int rest = json ? 3 : 1;
        if (args.length < 1 || !args[0].equals("run") || args.length > rest + 1) {
            System.err.println("usage: GpuBenchmarks info | GpuBenchmarks run [--json FILE] [REGEX]");
            return USAGE;
        }
        if (Cuda.unavailable().isPresent()) {
            System.err.println("no GPU: " + Cuda.unavailable().get());
            return NO_GPU;
        }
        Pattern names = Pattern.compile(args.length > rest ? args[rest] : ".*");
        CudaDevice gpu = Cuda.device(0);
        Results results = new Results(gpu, json ? Path.of(args[2]) : null, new ArrayList<>());
        boolean ok = coldStart(gpu, names, results) & measure(gpu, names, results);
        return ok ? 0 : FAILED;
    }

    /** What was measured; the file is written anew with each row, so that a run that is broken off leaves one, too. */
    private record Results(CudaDevice gpu, @Nullable Path file, List<String> rows) {
        void add(String row) throws IOException {
            rows.add(row);
            if (file != null) {
                Files.writeString(file, document(gpu, rows));
            }
        }
    }

    private static List<GpuCase> cases() {
        List<GpuCase> cases = new ArrayList<>(LaunchCases.all());
        cases.addAll(MemoryCases.all());
        cases.addAll(Fp8Cases.all());
        return cases;
    }

    private static boolean measure(CudaDevice gpu, Pattern names, Results results) throws IOException {
        System.out.printf("%-56s %10s %10s %10s %10s%n", "median microseconds of one call", "device", "stream",
                "wall", "CPU");
        boolean ok = true;
        for (GpuCase c : cases()) {
            if (!names.matcher(c.name()).find()) {
                continue;
            }
            try (GpuCase.Prepared work = c.prepare(gpu)) {
                GpuTimer t = GpuTimer.measure(gpu, work);
                StringBuilder line = new StringBuilder(String.format(Locale.ROOT, "%-56s %10.2f %10.2f %10.2f %10.2f",
                        c.name(), t.deviceMicros(), t.streamMicros(), t.wallMicros(), t.callMicros()));
                StringBuilder row = new StringBuilder(String.format(Locale.ROOT,
                        "{\"name\": \"%s\", \"deviceMicros\": %s, \"streamMicros\": %.3f,"
                                + " \"wallMicros\": %.3f, \"callMicros\": %.3f",
                        c.name(), number(t.deviceMicros()), t.streamMicros(), t.wallMicros(), t.callMicros()));
                double best = Double.isNaN(t.deviceMicros()) ? t.streamMicros() : t.deviceMicros();
                for (GpuCase.Amount a : work.amounts()) {
                    line.append(String.format(Locale.ROOT, "  %.1f %s", a.count() / best / 1e3, a.unit()));
                    row.append(String.format(Locale.ROOT, ", \"%s\": %.2f", a.unit(), a.count() / best / 1e3));
                }
                System.out.println(line);
                results.add(row.append('}').toString());
            } catch (UnsupportedOperationException e) {
                System.out.printf("%-56s skipped: %s%n", c.name(), e.getMessage());
            } catch (RuntimeException | OutOfMemoryError e) {
                ok = false;
                System.out.printf("%-56s FAILED: %s%n", c.name(), e);
                e.printStackTrace(System.out);
            }
        }
        return ok;
    }

    /**
     * How long all kernels of all modules take to be compiled, several at a time, and loaded: a cold start, if the disk
     * cache is empty ({@code -Doctet.cuda.cache=} a new folder), which the output says.
     */
    private static boolean coldStart(CudaDevice gpu, Pattern names, Results results) throws IOException {
        String name = "start/all kernels";
        if (!names.matcher(name).find()) {
            return true;
        }
        try {
            CudaDevice.WarmUp w = gpu.warmUp();
            double seconds = w.took().toNanos() / 1e9;
            System.out.printf(Locale.ROOT, "%-56s %10.3f s for %d programs, of which %d were compiled, by %d"
                    + " processors%n", name, seconds, w.loaded(), w.compiled(), Runtime.getRuntime().availableProcessors());
            results.add(String.format(Locale.ROOT, "{\"name\": \"%s\", \"programs\": %d, \"compiled\": %d,"
                    + " \"processors\": %d, \"seconds\": %.3f}", name, w.loaded(), w.compiled(),
                    Runtime.getRuntime().availableProcessors(), seconds));
            return true;
        } catch (RuntimeException e) {
            System.out.printf("%-56s FAILED: %s%n", name, e);
            e.printStackTrace(System.out);
            return false;
        }
    }

    private static String number(double value) {
        return Double.isNaN(value) ? "null" : String.format(Locale.ROOT, "%.3f", value);
    }

    private static String document(CudaDevice gpu, List<String> results) {
        return "{\n  \"gpu\": \"" + gpu.name() + "\",\n  \"multiprocessors\": " + gpu.multiprocessors()
                + ",\n  \"driver\": " + gpu.driverVersion() + ",\n  \"nvrtc\": \"" + KernelCompiler.shared().version()
                + "\",\n  \"jvm\": \"" + Runtime.version() + "\",\n  \"time\": \""
                + Instant.now().truncatedTo(ChronoUnit.SECONDS) + "\",\n  \"results\": [\n    "
                + String.join(",\n    ", results) + "\n  ]\n}\n";
    }
}
