package dev.octet.core.cpu;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import org.jspecify.annotations.Nullable;

/** The JFR event behind {@link PerformanceCliff}. */
@Name("dev.octet.PerformanceCliff")
@Label("Performance Cliff")
@Category("Octet")
@Description("An Octet operation runs much slower than it should")
@StackTrace
final class PerformanceCliffEvent extends Event {
    @Label("Cliff")
    @Nullable String cliff;

    @Label("Remedy")
    @Nullable String remedy;

    PerformanceCliffEvent() {}
}
