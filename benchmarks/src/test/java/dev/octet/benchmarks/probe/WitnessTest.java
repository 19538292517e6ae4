package dev.octet.benchmarks.probe;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class WitnessTest {
    @BeforeAll
    static void loopsAreThere() {
        assumeTrue(Witness.isThere(), "no native loops for this processor");
    }

    @Test
    void everyByteIsRead() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment s = arena.allocate(2048, 64);
            long sum = 0;
            for (int i = 0; i < 256; i++) {
                s.setAtIndex(ValueLayout.JAVA_LONG, i, 1L << i % 48);
                sum += 1L << i % 48;
            }
            assertEquals(sum, WitnessLoops.read(s.address(), s.byteSize()));
        }
    }

    /** Each chain comes nearer to its limit 1, of one addend over one minus the factor. */
    @Test
    void stepsAreDone() {
        double[] lanes = new double[12];
        double sum = 0;
        for (int i = 0; i < 12; i++) {
            lanes[i] = i;
            for (int s = 0; s < 100; s++) {
                lanes[i] = 0.999 * lanes[i] + 1e-3;
            }
            sum += lanes[i];
        }
        assertEquals(sum * WitnessLoops.flopsOfStep() / 24, WitnessLoops.fma(100), 2);
    }

    @Test
    void burstsTakeTheirTimeAndGiveARate() {
        for (int threads : new int[] {1, 3}) {
            Witness witness = new Witness(threads);
            for (Witness.Kind kind : Witness.Kind.values()) {
                if (kind != Witness.Kind.DOT || DotProbe.isThere()) {
                    long start = System.nanoTime();
                    double rate = witness.burst(kind);
                    assertTrue(System.nanoTime() - start >= 2_000_000, kind::toString);
                    assertTrue(rate > 0.1 && rate < 1e6, () -> kind + " " + rate);
                }
            }
        }
    }
}
