package dev.octet.core.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.ForkedJvm;
import dev.octet.core.ForkedJvm.Result;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;

/** In a JVM of its own, where nothing was reported yet. */
class PerformanceCliffTest {
    /** Reports one cliff from several threads under a recording and prints the events. */
    static final class ReportOften {
        public static void main(String[] args) throws Exception {
            Path file = Files.createTempFile("octet", ".jfr");
            try (Recording recording = new Recording()) {
                recording.enable("dev.octet.PerformanceCliff");
                recording.start();
                System.out.println("before " + PerformanceCliff.GEMM_OPERAND_COPIED.wasReported());
                List<Thread> threads = new ArrayList<>();
                for (int i = 0; i < 8; i++) {
                    threads.add(Thread.ofPlatform().start(() -> {
                        for (int j = 0; j < 1000; j++) {
                            PerformanceCliff.GEMM_OPERAND_COPIED.report();
                        }
                    }));
                }
                for (Thread t : threads) {
                    t.join();
                }
                System.out.println("after " + PerformanceCliff.GEMM_OPERAND_COPIED.wasReported());
                recording.stop();
                recording.dump(file);
            }
            for (RecordedEvent e : RecordingFile.readAllEvents(file)) {
                System.out.println("event " + e.getEventType().getName() + " " + e.getString("cliff") + " "
                        + e.getString("remedy").equals(PerformanceCliff.GEMM_OPERAND_COPIED.remedy()) + " "
                        + (e.getStackTrace() != null));
            }
            Files.delete(file);
        }
    }

    @Test
    void isLoggedOnceAndRecordedOnce() throws Exception {
        Result r = ForkedJvm.run(ReportOften.class, List.of());
        assertEquals("before false\nafter true\nevent dev.octet.PerformanceCliff GEMM_OPERAND_COPIED true true\n",
                r.out(), r.err());
        String remedy = PerformanceCliff.GEMM_OPERAND_COPIED.remedy();
        assertTrue(r.err().contains("WARNING: " + remedy), r.err());
        assertEquals(r.err().indexOf(remedy), r.err().lastIndexOf(remedy));
    }

    @Test
    void everyCliffNamesARemedy() {
        for (PerformanceCliff cliff : PerformanceCliff.values()) {
            assertFalse(cliff.remedy().isBlank());
            assertTrue(cliff.remedy().contains(";"), cliff + " says what happened; and what helps");
        }
    }
}
