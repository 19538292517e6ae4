package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Whatever the system does with the request, memory holds what it held; only pages within it are asked for. */
class HugePagesTest {
    private static final long PAGE = 2 << 20;

    @Test
    void pagesWithinMemory() {
        long at = 7 * PAGE;
        long[][] cases = {{at, PAGE, at, PAGE}, {at, PAGE - 1, at, 0}, {at, 2 * PAGE + 1, at, 2 * PAGE},
                {at + 1, 2 * PAGE - 1, at + PAGE, PAGE}, {at + 1, 2 * PAGE - 2, at + PAGE, 0},
                {at - 1, PAGE + 1, at, PAGE}, {at - 64, 3 * PAGE, at, 2 * PAGE}, {at, 0, at, 0}};
        for (long[] c : cases) {
            String what = c[1] + " bytes at " + c[0];
            assertEquals(c[2], HugePages.begin(c[0]), what);
            assertEquals(c[3], HugePages.bytes(c[0], c[1]), what);
        }
        assertTrue(HugePages.bytes(at + 1, 64) <= 0, "memory that ends before a large page begins");
    }

    /** Linux's own account: flag {@code hg} on the whole pages, and a page of 2 MiB behind each. */
    @Test
    void linuxHasThePages() throws IOException {
        Path enabled = Path.of("/sys/kernel/mm/transparent_hugepage/enabled");
        assumeTrue(Files.isReadable(enabled) && !Files.readString(enabled).contains("[never]"), "no such pages here");
        try (Arena arena = Arena.ofConfined()) {
            // Memory before and behind it keeps its range apart from what others asked for.
            MemorySegment memory = arena.allocate(8 * PAGE + 12_288, 64).asSlice(4096, 8 * PAGE + 4096);
            memory.fill((byte) 1);
            HugePages.advise(memory);
            long begin = HugePages.begin(memory.address());
            long end = begin + HugePages.bytes(memory.address(), memory.byteSize());
            boolean advised = false;
            long huge = 0;
            for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
                if (line.matches("[0-9a-f]+-[0-9a-f]+ .*")) {
                    List<String> range = List.of(line.substring(0, line.indexOf(' ')).split("-"));
                    advised = Long.parseUnsignedLong(range.get(0), 16) == begin
                            && Long.parseUnsignedLong(range.get(1), 16) == end;
                } else if (advised && line.startsWith("AnonHugePages:")) {
                    huge = Long.parseLong(line.replaceAll("\\D", "")) * 1024;
                } else if (advised && line.startsWith("VmFlags:")) {
                    assertTrue(line.contains(" hg"), line);
                    assertTrue(huge > 0 || !makesThemAtOnce(), "no large page behind what was asked for");
                    return;
                }
            }
            throw new AssertionError("no range of its own for what was asked for");
        }
    }

    /** For memory that is there already, since Linux 6.1. */
    private static boolean makesThemAtOnce() {
        String[] version = System.getProperty("os.version").split("[^0-9]+");
        int major = Integer.parseInt(version[0]);
        return major > 6 || major == 6 && Integer.parseInt(version[1]) >= 1;
    }

    @Test
    void contentsStay() {
        try (Arena arena = Arena.ofConfined()) {
            for (long size : new long[] {0, 1, 4096, (2 << 20) - 1, 2 << 20, (9 << 20) + 4}) {
                MemorySegment memory = arena.allocate(size, 64);
                for (long at = 0; at + 4 <= size; at += 4) {
                    memory.set(ValueLayout.JAVA_INT, at, (int) at ^ 0x5A5A5A5A);
                }
                HugePages.advise(memory);
                HugePages.advise(memory);
                for (long at = 0; at + 4 <= size; at += 4) {
                    assertEquals((int) at ^ 0x5A5A5A5A, memory.get(ValueLayout.JAVA_INT, at), () -> size + " bytes");
                }
            }
        }
    }
}
