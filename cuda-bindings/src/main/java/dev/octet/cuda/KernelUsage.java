package dev.octet.cuda;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a kernel takes of a multiprocessor, as the compiler counted it.
 *
 * @param kernel its name
 * @param registers 32-bit registers of each thread
 * @param stackBytes bytes of local memory of each thread, for arrays that are indexed at run time and for spills
 * @param spillStoreBytes bytes of registers that each thread puts into local memory because it ran out of them
 * @param spillLoadBytes bytes that it takes back
 * @param sharedBytes bytes of shared memory of a block that are declared in the source
 */
public record KernelUsage(String kernel, int registers, int stackBytes, int spillStoreBytes, int spillLoadBytes,
        int sharedBytes) {
    private static final Pattern ENTRY = Pattern.compile("Compiling entry function '([^']+)'");
    private static final Pattern FUNCTION = Pattern.compile("Function properties for (\\S+)");
    private static final Pattern STACK = Pattern.compile(
            "(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
    private static final Pattern REGISTERS = Pattern.compile("Used (\\d+) registers");
    private static final Pattern SHARED = Pattern.compile("(\\d+) bytes smem");

    /**
     * Reads the lines that {@code ptxas -v} prints, by itself or within NVRTC's log.
     *
     * @param log the lines
     * @return one for each kernel, in the order of the log; none if the log has none
     */
    public static List<KernelUsage> parse(String log) {
        List<KernelUsage> found = new ArrayList<>();
        String kernel = "";
        boolean own = false; // whether a stack frame is the kernel's and not that of a function it calls
        int stack = 0;
        int stores = 0;
        int loads = 0;
        for (String line : log.lines().toList()) {
            Matcher m = ENTRY.matcher(line);
            if (m.find()) {
                kernel = m.group(1);
                stack = 0;
                stores = 0;
                loads = 0;
                continue;
            }
            m = FUNCTION.matcher(line);
            if (m.find()) {
                own = m.group(1).equals(kernel);
                continue;
            }
            m = STACK.matcher(line);
            if (m.find()) {
                stack = own ? Integer.parseInt(m.group(1)) : stack;
                stores += Integer.parseInt(m.group(2));
                loads += Integer.parseInt(m.group(3));
                continue;
            }
            m = REGISTERS.matcher(line);
            if (m.find()) {
                Matcher shared = SHARED.matcher(line);
                found.add(new KernelUsage(kernel, Integer.parseInt(m.group(1)), stack, stores, loads,
                        shared.find() ? Integer.parseInt(shared.group(1)) : 0));
            }
        }
        return found;
    }

    /** {@return whether registers were spilled} */
    public boolean spills() {
        return spillStoreBytes > 0 || spillLoadBytes > 0;
    }
}
