package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PhysicalCoresTest {
    @TempDir
    Path folder;

    /** Eight hardware threads on four cores, N and N+4 together. */
    @BeforeEach
    void describeEightThreads() throws IOException {
        for (int cpu = 0; cpu < 8; cpu++) {
            Path topology = Files.createDirectories(folder.resolve("cpu" + cpu + "/topology"));
            Files.writeString(topology.resolve("thread_siblings_list"), cpu % 4 + "," + (cpu % 4 + 4) + "\n");
        }
    }

    private int count(String allowed, int available) throws IOException {
        Path status = Files.writeString(folder.resolve("status"),
                "Name:\tjava\nCpus_allowed_list:\t" + allowed + "\nX:\t1\n");
        return PhysicalCores.count(folder, status, available);
    }

    @Test
    void siblingsCountOnce() throws IOException {
        assertEquals(4, count("0-7", 8));
        assertEquals(2, count("0-1,4-5", 4));
        assertEquals(1, count("3,7", 2));
        assertEquals(3, count("1,2,7", 3));
    }

    @Test
    void quotaLimits() throws IOException {
        assertEquals(2, count("0-7", 2));
    }

    @Test
    void whatIsUnknownFallsBackToHardwareThreads() throws IOException {
        assertEquals(6, count("20-25", 6));
        assertEquals(6, count("", 6));
        assertEquals(6, count("what", 6));
        assertEquals(6, PhysicalCores.count(folder, folder.resolve("none"), 6));
        int here = PhysicalCores.count();
        assertTrue(here >= 1 && here <= Runtime.getRuntime().availableProcessors());
    }
}
