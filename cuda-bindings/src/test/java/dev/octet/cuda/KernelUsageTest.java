package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

/** What the compiler prints about a kernel, read. */
class KernelUsageTest {
    @Test
    void linesOfPtxas() {
        String log = """
                k.cu(3): warning #177-D: variable "x" was declared but never referenced
                ptxas info    : 0 bytes gmem
                ptxas info    : Compiling entry function 'gemm' for 'sm_90a'
                ptxas info    : Function properties for gemm
                ptxas         .     800 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
                ptxas info    : Used 168 registers, used 1 barriers, 800 bytes cumulative stack size, 256 bytes smem
                ptxas info    : Compile time = 5.018 ms
                ptxas info    : Compiling entry function 'fill' for 'sm_90a'
                ptxas info    : Function properties for fill
                    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
                ptxas info    : Used 8 registers, used 0 barriers, 368 bytes cmem[0]
                """;
        List<KernelUsage> found = KernelUsage.parse(log);
        assertEquals(List.of(new KernelUsage("gemm", 168, 800, 8, 12, 256), new KernelUsage("fill", 8, 0, 0, 0, 0)),
                found);
        assertTrue(found.get(0).spills() && !found.get(1).spills());
        assertEquals(List.of(), KernelUsage.parse(""));
    }
}
