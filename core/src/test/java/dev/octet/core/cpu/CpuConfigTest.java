package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.DType;
import dev.octet.core.ForkedJvm;
import dev.octet.core.ForkedJvm.Result;
import dev.octet.core.Octet;
import dev.octet.core.Shape;
import dev.octet.core.Tensor;
import dev.octet.core.safetensors.Safetensors;
import dev.octet.core.safetensors.SafetensorsWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Properties and flags, each in a JVM of its own: they are read once. */
class CpuConfigTest {
    private static final String MODULE = "--add-modules=jdk.incubator.vector";
    private static final String REMEDY = "start the JVM with --add-modules jdk.incubator.vector";

    /** Prints the configuration, asking twice. */
    static final class Print {
        public static void main(String[] args) {
            for (int i = 0; i < 2; i++) {
                try {
                    System.out.println(CpuConfig.vectorBits() + " bits, " + CpuConfig.vectorReason());
                    System.out.println(CpuConfig.threads() + " threads");
                } catch (IllegalArgumentException e) {
                    System.out.println(e.getMessage());
                }
            }
        }
    }

    /** Uses everything in core. */
    static final class UseAll {
        public static void main(String[] args) throws Exception {
            Path file = Files.createTempFile("octet", ".safetensors");
            try (Tensor t = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 2, 3); Tensor copy = t.transpose().copy();
                    Tensor half = Tensor.allocate(DType.F16, Shape.of(6)); CpuPool pool = new CpuPool(2)) {
                half.copyFrom(copy.toFloatArray());
                SafetensorsWriter.write(file, Map.of("t", t.transpose(), "half", half), Map.of("a", "b"));
                try (Safetensors st = Safetensors.open(file)) {
                    System.out.println(Arrays.toString(st.tensor("t").toFloatArray())
                            + Arrays.toString(st.tensor("half").toFloatArray()) + st.metadata());
                }
                int[] sum = new int[2];
                pool.run(2, i -> sum[i] = i + 1);
                CpuPool.shared().run(2, i -> sum[i] += Scratch.get(0, 64).byteSize() >= 64 ? 1 : 0);
                System.out.println(Arrays.toString(sum));
            } finally {
                Files.delete(file);
            }
            System.out.println(Octet.describe());
            System.out.println("bits " + CpuConfig.vectorBits() + CpuConfig.vectorBits());
        }
    }

    private static Result print(String... flags) throws Exception {
        Result r = ForkedJvm.run(Print.class, List.of(flags));
        assertEquals(0, r.exit(), r.err());
        return r;
    }

    @ParameterizedTest
    @ValueSource(ints = {128, 256, 512, 0})
    void bitsAreTaken(int bits) throws Exception {
        Result r = print(MODULE, "-Doctet.vector.bits=" + bits);
        assertTrue(r.out().startsWith(bits + " bits, octet.vector.bits=" + bits), r.out());
    }

    @ParameterizedTest
    @ValueSource(strings = {"64", "1024", "-128", "128 ", "", "auto", "0x80"})
    void otherBitsAreRefusedEachTime(String bits) throws Exception {
        Result r = print(MODULE, "-Doctet.vector.bits=" + bits);
        String refusal = "octet.vector.bits is '" + bits + "', it takes 0, 128, 256 or 512\n";
        assertEquals(refusal + refusal, r.out());
    }

    @Test
    void threadsAreTakenOrRefused() throws Exception {
        assertTrue(print(MODULE, "-Doctet.threads=1024").out().contains("\n1024 threads"));
        assertTrue(print(MODULE, "-Doctet.threads=1").out().contains("\n1 threads"));
        for (String bad : new String[] {"0", "1025", "-1", "two", "2.0", "", "99999999999"}) {
            assertTrue(print(MODULE, "-Doctet.threads=" + bad).out()
                    .contains("octet.threads is '" + bad + "', it takes 1 to 1024"), bad);
        }
    }

    @Test
    void coreWorksWithoutTheVectorModuleAndWarnsOnce() throws Exception {
        Result r = ForkedJvm.run(UseAll.class, List.of());
        assertEquals(0, r.exit(), r.err());
        String values = "[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]";
        assertTrue(r.out().startsWith(values + values + "{a=b}\n[2, 3]\n"), r.out());
        assertTrue(r.out().contains("none, scalar code (module jdk.incubator.vector is missing: " + REMEDY + ")"),
                r.out());
        assertTrue(r.out().endsWith("bits 00\n"), r.out());
        assertEquals(1, count(r.err(), "WARNING"), r.err());
        assertEquals(1, count(r.err(), REMEDY), r.err());
    }

    @Test
    void scalarCodeThatWasAskedForIsNoCliff() throws Exception {
        assertEquals("", print("-Doctet.vector.bits=0").err());
    }

    @Test
    void widthBeyondTheCpuWarnsOnce() throws Exception {
        Result r = print(MODULE, "-XX:MaxVectorSize=16", "-Doctet.vector.bits=512");
        assertTrue(r.out().startsWith("512 bits"), r.out());
        assertEquals(1, count(r.err(), "octet.vector.bits asks for wider vectors"), r.err());
        Result fits = print(MODULE, "-XX:MaxVectorSize=16");
        assertTrue(fits.out().startsWith("128 bits, the width that the JVM prefers"), fits.out());
        assertFalse(fits.err().contains("wider"), fits.err());
    }

    @ParameterizedTest
    @ValueSource(strings = {"-Xint", "-XX:TieredStopAtLevel=1"})
    void missingCompilerWarnsOnce(String flag) throws Exception {
        assertEquals(1, count(print(MODULE, flag).err(), "without its optimising compiler"));
        assertFalse(print(MODULE).err().contains("compiler"));
    }

    private static int count(String text, String part) {
        List<Integer> at = new ArrayList<>();
        for (int i = text.indexOf(part); i >= 0; i = text.indexOf(part, i + 1)) {
            at.add(i);
        }
        return at.size();
    }
}
