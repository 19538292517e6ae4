package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.octet.cuda.driver.Compiler;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.logging.Level;
import java.util.logging.Logger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The cache of compiled kernels: what makes another key, what happens to damaged files, who may write at once. */
class KernelCacheTest {
    private static final KernelSource SOURCE = KernelSource.of("a.cu", "extern \"C\" __global__ void k() {}");

    /** Held, so that it is not forgotten: damaged files are the point here, and each would be a warning. */
    private static final Logger LOG = Logger.getLogger(KernelCache.class.getName());

    @TempDir
    Path folder;

    @BeforeAll
    static void quiet() {
        LOG.setLevel(Level.OFF);
    }

    @AfterAll
    static void loud() {
        LOG.setLevel(null);
    }

    /** Makes code of a source's text, and counts. */
    private static class Counting implements Compiler {
        final AtomicInteger compiled = new AtomicInteger();
        String version = "13.0";

        @Override
        public String version() {
            return version;
        }

        @Override
        public String file() {
            return "counting";
        }

        @Override
        public Result compile(KernelSource source, List<String> options) {
            compiled.incrementAndGet();
            return new Result((source.text() + options).getBytes(), "log");
        }
    }

    private final Counting counting = new Counting();

    private KernelCompiler compiler() {
        return new KernelCompiler(() -> counting, new KernelCache(folder.resolve("new/cache")));
    }

    @Test
    void compiledOnceForEachOfWhatItDependsOn() {
        KernelCompiler.Compiled first = compiler().compile(SOURCE, "sm_90a");
        assertFalse(first.cached());
        assertEquals("log", first.log());
        KernelCompiler.Compiled again = compiler().compile(SOURCE, "sm_90a");
        assertTrue(again.cached());
        assertArrayEquals(first.image(), again.image());
        assertEquals(1, counting.compiled.get());

        List<KernelSource> others = List.of(KernelSource.of("b.cu", SOURCE.text()),
                KernelSource.of("a.cu", SOURCE.text() + " "), SOURCE.withOptions("-DX=1"), SOURCE.withOptions("-DX=2"),
                SOURCE.withOptions("-DX=1", "-DY"), header("h", "1"), header("h", "2"), header("g", "1"));
        for (KernelSource s : others) {
            assertFalse(compiler().compile(s, "sm_90a").cached(), s.toString());
            assertTrue(compiler().compile(s, "sm_90a").cached(), s.toString());
        }
        assertFalse(compiler().compile(SOURCE, "sm_80").cached());
        counting.version = "13.1";
        assertFalse(compiler().compile(SOURCE, "sm_90a").cached());
        assertEquals(3 + others.size(), counting.compiled.get());
    }

    private static KernelSource header(String name, String text) {
        return SOURCE.withHeader(name, new java.io.ByteArrayInputStream(text.getBytes()));
    }

    @Test
    void textsThatJoinToTheSameBytesAreNotTheSame() {
        assertNotEquals(KernelCache.key(SOURCE, List.of("ab", "c"), "1"), KernelCache.key(SOURCE, List.of("a", "bc"),
                "1"));
        assertNotEquals(KernelCache.key(SOURCE, List.of("a"), "1"), KernelCache.key(SOURCE, List.of(), "1a"));
    }

    /** Two compilations that each wait for the other end only if they run at the same time. */
    @Test
    void severalAtATimeInTheOrderOfTheSources() {
        assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one processor compiles one after the other");
        CyclicBarrier together = new CyclicBarrier(2);
        Counting meeting = new Counting() {
            @Override
            public Result compile(KernelSource source, List<String> options) {
                try {
                    together.await(20, TimeUnit.SECONDS);
                } catch (Exception e) {
                    throw new IllegalStateException("nothing else was compiled meanwhile", e);
                }
                return super.compile(source, options);
            }
        };
        KernelCompiler c = new KernelCompiler(() -> meeting, new KernelCache(folder.resolve("new/cache")));
        List<KernelSource> sources = List.of(SOURCE.withOptions("-DX=1"),
                KernelSource.of("b.cu", "longer" + SOURCE.text()));
        List<KernelCompiler.Compiled> all = c.compileAll(sources, "sm_90a");
        for (int i = 0; i < 2; i++) {
            assertTrue(new String(all.get(i).image()).startsWith(sources.get(i).text()), "source " + i);
            assertFalse(all.get(i).cached());
        }
        assertTrue(c.compileAll(sources, "sm_90a").stream().allMatch(KernelCompiler.Compiled::cached));
        assertEquals(List.of(), c.compileAll(List.of(), "sm_90a"));
    }

    @Test
    void whatTwoThreadsWantIsCompiledOnce() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        Counting slow = new Counting() {
            @Override
            public Result compile(KernelSource source, List<String> options) {
                begun.countDown();
                try {
                    assertTrue(go.await(20, TimeUnit.SECONDS));
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
                return super.compile(source, options);
            }
        };
        KernelCompiler c = new KernelCompiler(() -> slow, new KernelCache(null));
        try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
            Future<KernelCompiler.Compiled> one = threads.submit(() -> c.compile(SOURCE, "sm_90a"));
            assertTrue(begun.await(20, TimeUnit.SECONDS));
            AtomicReference<Thread> second = new AtomicReference<>();
            Future<KernelCompiler.Compiled> other = threads.submit(() -> {
                second.set(Thread.currentThread());
                return c.compile(SOURCE, "sm_90a");
            });
            while (second.get() == null || second.get().getState() != Thread.State.WAITING) {
                Thread.onSpinWait();
            }
            go.countDown();
            assertSame(one.get(), other.get());
        }
        assertEquals(1, slow.compiled.get());
    }

    @Test
    void oneThatIsRefusedDoesNotKeepTheOthersFromTheCache() {
        Counting picky = new Counting() {
            @Override
            public Result compile(KernelSource source, List<String> options) {
                if (source.name().equals("bad.cu")) {
                    throw new KernelCompileException("compiling bad.cu", 6, "NVRTC_ERROR_COMPILATION", "no");
                }
                return super.compile(source, options);
            }
        };
        KernelCompiler c = new KernelCompiler(() -> picky, new KernelCache(folder.resolve("new/cache")));
        List<KernelSource> sources = List.of(KernelSource.of("bad.cu", "?"), SOURCE, SOURCE.withOptions("-DX=1"));
        assertThrows(KernelCompileException.class, () -> c.compileAll(sources, "sm_90a"));
        assertEquals(2, picky.compiled.get());
        assertTrue(c.compileAll(sources.subList(1, 3), "sm_90a").stream().allMatch(KernelCompiler.Compiled::cached));
    }

    @Test
    void aDamagedFileIsWrittenAgain() throws IOException {
        byte[] image = compiler().compile(SOURCE, "sm_90a").image();
        Path file = onlyFile();
        byte[] good = Files.readAllBytes(file);
        List<byte[]> damaged = new ArrayList<>();
        damaged.add(new byte[0]);
        damaged.add(Arrays.copyOf(good, 39));
        damaged.add(Arrays.copyOf(good, 40));
        damaged.add(Arrays.copyOf(good, good.length - 1));
        damaged.add(Arrays.copyOf(good, good.length + 1));
        for (int at : new int[] {0, 7, 8, 39, 40, good.length - 1}) {
            byte[] bad = good.clone();
            bad[at] ^= 4;
            damaged.add(bad);
        }
        // Machine code of no bytes under its own, right hash.
        byte[] empty = Arrays.copyOf(good, 40);
        System.arraycopy(HexFormat.of().parseHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), 0,
                empty, 8, 32);
        damaged.add(empty);
        int before = counting.compiled.get();
        for (byte[] bad : damaged) {
            Files.write(file, bad);
            KernelCompiler.Compiled c = compiler().compile(SOURCE, "sm_90a");
            assertFalse(c.cached());
            assertArrayEquals(image, c.image());
            assertArrayEquals(good, Files.readAllBytes(file));
        }
        assertEquals(before + damaged.size(), counting.compiled.get());
    }

    private Path onlyFile() throws IOException {
        try (Stream<Path> files = Files.list(folder.resolve("new/cache"))) {
            List<Path> all = files.toList();
            assertEquals(1, all.size(), all.toString());
            return all.get(0);
        }
    }

    @Test
    void aFolderThatCantBeWrittenCostsOnlyTime() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "not a folder");
        for (Path place : new Path[] {file, file.resolve("below")}) {
            KernelCompiler c = new KernelCompiler(() -> counting, new KernelCache(place));
            assertFalse(c.compile(SOURCE, "sm_90a").cached());
            assertFalse(c.compile(SOURCE, "sm_90a").cached());
        }
        KernelCompiler none = new KernelCompiler(() -> counting, new KernelCache(null));
        assertFalse(none.compile(SOURCE, "sm_90a").cached());
        assertFalse(none.compile(SOURCE, "sm_90a").cached());
        assertEquals(6, counting.compiled.get());
    }

    @Test
    void aFileThatCantBeReplacedLeavesNoUnfinishedOne() throws IOException {
        KernelCache cache = new KernelCache(folder);
        String key = KernelCache.key(SOURCE, List.of(), "1");
        Path taken = Files.createDirectories(folder.resolve(key + ".cubin/below")).getParent();
        cache.write(key, new byte[] {1, 2, 3});
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(List.of(taken), files.toList());
        }
    }

    @Test
    void aFolderWithoutWritePermissionCostsOnlyTime() throws IOException {
        Path locked = Files.createDirectory(folder.resolve("locked"));
        assertTrue(locked.toFile().setWritable(false));
        KernelCompiler c = new KernelCompiler(() -> counting, new KernelCache(locked));
        assertArrayEquals(c.compile(SOURCE, "sm_90a").image(), c.compile(SOURCE, "sm_90a").image());
        assertTrue(locked.toFile().setWritable(true));
    }

    @Test
    void manyWritersLeaveOneWholeFile() throws Exception {
        KernelCache cache = new KernelCache(folder.resolve("new/cache"));
        byte[] image = new byte[300_000];
        new Random(7).nextBytes(image);
        String key = KernelCache.key(SOURCE, List.of(), "1");
        try (ExecutorService threads = Executors.newFixedThreadPool(8)) {
            List<Callable<Integer>> work = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                work.add(() -> {
                    int seen = 0;
                    for (int round = 0; round < 6; round++) {
                        cache.write(key, image);
                        Optional<byte[]> read = cache.read(key);
                        seen += read.isPresent() && Arrays.equals(image, read.get()) ? 1 : 0;
                    }
                    return seen;
                });
            }
            for (Future<Integer> f : threads.invokeAll(work)) {
                assertEquals(6, f.get(), "a reader sees all of a file");
            }
        }
        assertTrue(onlyFile().getFileName().toString().endsWith(".cubin"), "no temporary file stays behind");
    }

    @Test
    void withoutACompilerTheReasonIsGiven() {
        KernelCompiler none = new KernelCompiler(() -> {
            throw new UnsatisfiedLinkError("no NVRTC: name it by a property");
        }, new KernelCache(null));
        assertEquals(Optional.of("no NVRTC: name it by a property"), none.unavailable());
        assertTrue(assertThrows(IllegalStateException.class, () -> none.compile(SOURCE, "sm_90a")).getMessage()
                .contains("name it by a property"));
        assertThrows(IllegalArgumentException.class, () -> compiler().compile(SOURCE, "90a"));
        assertThrows(IllegalArgumentException.class, () -> KernelSource.read("gone.cu", null));
    }
}
