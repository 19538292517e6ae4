package dev.octet.fp8.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.Octet;
import dev.octet.core.Tensor;
import dev.octet.fp8.Fp8;
import dev.octet.fp8.ScaledTensor;
import dev.octet.fp8.Scaling;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Who computes on the CPU needs no artifact for GPUs, and loads no class of one that is there. */
class WithoutCudaTest {
    @Test
    void theArtifactForGpusMayBeAbsent() throws Exception {
        String printed = run(false, "describe");
        assertTrue(printed.contains("module dev.octet.cuda is not on the class or module path"), printed);
        assertTrue(printed.contains("quantised on cpu"), printed);
    }

    @Test
    void noClassOfItIsLoadedForTheCpu() throws Exception {
        String printed = run(true, "");
        assertTrue(printed.contains("quantised on cpu"), printed);
        assertTrue(printed.contains("dev.octet.fp8.Fp8 source:"), "classes are listed");
        List<String> loaded = printed.lines().filter(l -> l.contains(" dev.octet.cuda.")).toList();
        assertEquals(List.of(), loaded);
    }

    private static String run(boolean withArtifact, String argument) throws IOException, InterruptedException {
        String path = Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(p -> withArtifact || !p.endsWith("cuda-bindings/target/classes")
                        && !Path.of(p).getFileName().toString().startsWith("octet-cuda"))
                .collect(Collectors.joining(File.pathSeparator));
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "--add-modules",
                "jdk.incubator.vector", "--enable-native-access=ALL-UNNAMED", "-Xlog:class+load:stdout",
                // The tests' own backends lend a GPU to tensors on the CPU; a user does not have it.
                "-Doctet.fp8.disable=cuda-portable,cuda-hopper", "-cp", path,
                OnTheCpu.class.getName(), argument));
        Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
        String printed = new String(p.getInputStream().readAllBytes());
        assertEquals(0, p.waitFor(), printed);
        return printed;
    }

    /** A program of somebody who has no GPU. */
    static final class OnTheCpu {
        public static void main(String[] args) {
            if (args[0].equals("describe")) {
                System.out.println(Octet.describe());
            }
            try (Tensor t = Tensor.of(new float[256], 2, 128);
                    ScaledTensor q = Fp8.auto().quantize(t, DType.F8_E4M3, Scaling.ACTIVATION)) {
                System.out.println("quantised on " + q.device());
            }
        }
    }
}
