package dev.octet.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.cpu.CpuConfig;
import dev.octet.core.spi.Component;
import java.util.List;
import org.junit.jupiter.api.Test;

class OctetTest {
    @Test
    void describesThisMachine() {
        Octet.Description d = Octet.describe();
        assertFalse(d.cpu().isBlank());
        assertEquals(CpuConfig.vectorBits(), d.vectorBits());
        assertEquals(CpuConfig.threads(), d.threads());
        assertTrue(d.jvm().contains(Runtime.version().toString()));
        assertEquals(List.of(), d.paths(), "core itself has no operation");
        String text = d.toString();
        for (String line : new String[] {"cpu      " + d.cpu(), "threads  " + d.threads(), "jvm      " + d.jvm(),
            "(" + d.vectorReason() + ")"}) {
            assertTrue(text.contains(line), text);
        }
    }

    @Test
    void pathsAreAligned() {
        String text = new Octet.Description("a cpu", 0, "no module", 2, "a jvm", List.of(
                new Component.Path("x.gemm", "cpu, 512-bit vectors", "fastest"),
                new Component.Path("longer.operation", "scalar", "only"))).toString();
        assertTrue(text.contains("none, scalar code (no module)"), text);
        assertTrue(text.contains("x.gemm            cpu, 512-bit vectors  fastest\n"
                + "longer.operation  scalar                only\n"), text);
    }

    @Test
    void aReasonThatRepeatsIsToldOnce() {
        String text = new Octet.Description("a cpu", 0, "no module", 2, "a jvm", List.of(
                new Component.Path("a", "cpu", "a long reason"), new Component.Path("b", "cpu", "a long reason"),
                new Component.Path("c", "cpu", "another"), new Component.Path("d", "cpu", "a long reason"))).toString();
        assertTrue(text.endsWith("a  cpu  a long reason\nb  cpu  as above\nc  cpu  another\nd  cpu  a long reason\n"),
                text);
    }
}
