package dev.octet.core.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.ValueLayout;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What a library that is missing, strange, broken or in a bad place leads to: never an exception, always a reason. */
@EnabledOnOs(value = OS.LINUX, architectures = {"amd64", "x86_64"})
class NativeLibraryTest {
    private static final String FILE = "liboctet_some.so";
    private static final String RESOURCE = "META-INF/octet/linux-x86_64/" + FILE;
    private static final int ABI = 7;

    private final Map<String, String> before = new HashMap<>();
    @TempDir
    private Path folder;
    private Path library;

    @BeforeEach
    void build() throws Exception {
        property("octet.native", "true");
        property("octet.native.level", null);
        property("octet.native.path", "");
        Path sources = Files.createDirectories(folder.resolve("sources"));
        Files.writeString(sources.resolve("some.c"), "#include \"octet.h\"\nint32_t octet_abi(void) { return 7; }\n");
        String script = Path.of("src", "main", "native", "build.sh").toString();
        Process process = new ProcessBuilder("sh", script, "octet-some", sources.toString(), folder.toString())
                .redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), said);
        library = folder.resolve("native").resolve(RESOURCE);
        assumeTrue(Files.exists(library), said);
    }

    @AfterEach
    void restore() {
        before.forEach(NativeLibraryTest::set);
    }

    private void property(String name, String value) {
        before.putIfAbsent(name, System.getProperty(name));
        set(name, value);
    }

    private static void set(String name, String value) {
        if (value == null) {
            System.clearProperty(name);
        } else {
            System.setProperty(name, value);
        }
    }

    private NativeLibrary open(int abi) {
        return NativeLibrary.open(NativeLibraryTest.class, "some", abi);
    }

    private String why(int abi) {
        NativeLibrary l = open(abi);
        assertTrue(l.supported().isEmpty());
        FunctionDescriptor integer = FunctionDescriptor.of(ValueLayout.JAVA_INT);
        assertTrue(assertThrows(IllegalStateException.class, () -> l.function("octet_abi", integer)).getMessage()
                .contains(FILE));
        return l.unavailable().orElse("it was loaded");
    }

    private static void assertSays(String said, String... parts) {
        for (String part : parts) {
            assertTrue(said.contains(part), said + " lacks " + part);
        }
    }

    /** The library as a resource, as a class path with the library's jar has it. */
    private String fromClassPath() throws Exception {
        URL classes = NativeLibraryTest.class.getProtectionDomain().getCodeSource().getLocation();
        URL[] urls = {classes, folder.resolve("native").toUri().toURL()};
        try (URLClassLoader loader = new URLClassLoader(urls, ClassLoader.getPlatformClassLoader())) {
            Class<?> owner = loader.loadClass(BuildScriptTest.class.getName());
            return NativeLibrary.open(owner, "some", ABI).toString();
        }
    }

    private long leftBehind() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.filter(f -> f.getFileName().toString().startsWith("octet-")).count();
        }
    }

    @Test
    void aFolderOfThePathIsTakenAndSoIsTheBuildsOwn() {
        property("octet.native.path", folder.resolve("nothing here") + ":" + library.getParent());
        assertSays(open(ABI).toString(), FILE + " from " + library);
        property("octet.native.path", folder.resolve("native").toString());
        assertTrue(open(ABI).unavailable().isEmpty());
    }

    @Test
    void aResourceIsCopiedAndTheCopyIsGone() throws Exception {
        property("java.io.tmpdir", folder.toString());
        assertSays(fromClassPath(), FILE + " from " + RESOURCE);
        assertEquals(0, leftBehind());
    }

    @Test
    void withoutALibraryTheJarIsNamed() {
        property("octet.native.path", folder.resolve("nothing here").toString());
        assertSays(why(ABI), FILE, "octet.native.path", "classifier linux-x86_64", "octet-some");
    }

    @Test
    void anotherInterfaceIsRefused() {
        property("octet.native.path", library.getParent().toString());
        assertSays(why(ABI + 1), "interface 7", "need 8", "same version");
    }

    @Test
    void whatIsNoLibraryIsRefused() throws Exception {
        property("octet.native.path", library.getParent().toString());
        byte[] whole = Files.readAllBytes(library);
        for (byte[] content : List.of(new byte[0], new byte[1000], "#!/bin/sh\n".repeat(20).getBytes(
                StandardCharsets.US_ASCII))) {
            Files.delete(library); // a file that is mapped must not be written to
            Files.write(library, content);
            assertSays(why(ABI), library.toString(), "not a library", "again");
        }
        for (int length : new int[] {64, whole.length / 2, whole.length - 1}) {
            Files.delete(library);
            Files.write(library, Arrays.copyOf(whole, length));
            assertSays(why(ABI), library.toString(), "cut off", String.valueOf(length), "again");
        }
        byte[] other = whole.clone();
        other[18] = (byte) 183; // for 64-bit Arm
        Files.delete(library);
        Files.write(library, other);
        assertSays(why(ABI), library.toString(), "the system does not load", "again");
    }

    @Test
    void aLibraryOfSomebodyElseIsRefused() throws Exception {
        property("octet.native.path", library.getParent().toString());
        byte[] other = Files.readAllBytes(library);
        byte[] name = "octet_abi".getBytes(StandardCharsets.US_ASCII);
        for (int i = 0; i + name.length < other.length; i++) {
            if (Arrays.equals(other, i, i + name.length, name, 0, name.length)) {
                other[i] = 'x';
            }
        }
        Files.delete(library);
        Files.write(library, other);
        assertSays(why(ABI), "not a library of Octet");
    }

    @Test
    void whereNothingCanBeWrittenTheRemedyIsNamed() throws Exception {
        Path file = Files.createFile(folder.resolve("a file"));
        for (Path temporary : List.of(folder.resolve("not there"), file)) {
            property("java.io.tmpdir", temporary.toString());
            assertSays(fromClassPath(), "temporary files, " + temporary, "octet.native.path", "java.io.tmpdir");
        }
    }

    @Test
    void aLevelThatIsNotThereIsNamed() {
        property("octet.native.path", library.getParent().toString());
        property("octet.native.level", "avx3");
        assertSays(why(ABI), "octet.native.level is 'avx3'", "avx512_bf16");
    }

    @Test
    void theSwitchIsNamed() {
        property("octet.native", "false");
        assertSays(why(ABI), "octet.native=false");
    }

    @Test
    void severalAtOnceDoNotMeet() throws Exception {
        property("java.io.tmpdir", folder.toString());
        List<String> said = java.util.Collections.synchronizedList(new ArrayList<>());
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            threads.add(Thread.ofPlatform().start(() -> {
                try {
                    said.add(fromClassPath());
                } catch (Exception e) {
                    said.add(e.toString());
                }
            }));
        }
        for (Thread t : threads) {
            t.join();
        }
        assertEquals(8, said.size());
        assertFalse(said.stream().anyMatch(s -> !s.equals(FILE + " from " + RESOURCE)), said.toString());
        assertEquals(0, leftBehind());
    }
}
