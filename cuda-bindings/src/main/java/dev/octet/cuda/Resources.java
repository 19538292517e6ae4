package dev.octet.cuda;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The books of what is open on a device. With the system property {@code octet.cuda.traceResources=true} they have the
 * place where each was opened.
 */
final class Resources {
    private static final boolean TRACE = Boolean.getBoolean("octet.cuda.traceResources");
    private static final StackTraceElement[] UNTRACED = {};
    private static final int LINES = 6;

    private final Map<Resource, StackTraceElement[]> open = Collections.synchronizedMap(new LinkedHashMap<>());

    void opened(Resource r) {
        open.put(r, TRACE ? new Throwable().getStackTrace() : UNTRACED);
    }

    void closed(Resource r) {
        open.remove(r);
    }

    List<String> describe() {
        List<String> lines = new ArrayList<>();
        synchronized (open) {
            open.forEach((r, stack) -> lines.add(r + place(stack)));
        }
        return lines;
    }

    private static String place(StackTraceElement[] stack) {
        StringBuilder out = new StringBuilder();
        int shown = 0;
        for (StackTraceElement e : stack) {
            String type = e.getClassName();
            if (!type.endsWith(".Resources") && !type.endsWith(".Resource") && shown++ < LINES) {
                out.append("\n    at ").append(e);
            }
        }
        return out.toString();
    }
}
